-- The same tables as in Postgres; a file has one process, which owns everything.
create table workers (
    id text not null primary key,
    lease_until integer not null
) strict;

create table partitions (
    id integer not null primary key,
    owner text,
    generation integer not null
) strict;
