-- The workers that are alive: whose lease has not ended by this database's clock, in milliseconds.
create table workers (
    id text collate "C" not null primary key,
    lease_until bigint not null
);

-- The partitions of the queue. One is free if it has no owner, or one that is not among the workers.
create table partitions (
    id integer not null primary key,
    owner text collate "C",
    -- How often it has changed hands.
    generation bigint not null
);
