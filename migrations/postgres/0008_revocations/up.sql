-- The last number of what is numbered without holes. Whoever takes the next one locks the row until it commits, so that numbers appear in their order.
create table revisions (
    name text collate "C" not null primary key,
    number bigint not null
);

insert into revisions (name, number) values ('revocations', 0);

-- What was cut off and still matters. The owner is an app, or a tenant where all of it is suspended.
create table revocations (
    revision bigint not null primary key,
    kind text collate "C" not null,
    owner_id text collate "C" not null,
    subject text collate "C" not null,
    revoked_at bigint not null,
    expires_at bigint not null
);

create unique index revocations_by_subject on revocations (owner_id, kind, subject);
create index revocations_by_end on revocations (expires_at);

alter table tenants add column suspended boolean not null default false;
