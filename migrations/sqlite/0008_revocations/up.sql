-- The last number of what is numbered without holes.
create table revisions (
    name text not null primary key,
    number integer not null
) strict;

insert into revisions (name, number) values ('revocations', 0);

-- What was cut off and still matters. The owner is an app, or a tenant where all of it is suspended.
create table revocations (
    revision integer not null primary key,
    kind text not null,
    owner_id text not null,
    subject text not null,
    revoked_at integer not null,
    expires_at integer not null
) strict;

create unique index revocations_by_subject on revocations (owner_id, kind, subject);
create index revocations_by_end on revocations (expires_at);

alter table tenants add column suspended integer not null default 0;
