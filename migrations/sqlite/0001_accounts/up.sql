create table tenants (
    id text not null primary key,
    name text not null,
    plan text not null,
    created_at integer not null
) strict;

create table users (
    id text not null primary key,
    email text not null unique,
    password_hash text not null,
    created_at integer not null
) strict;

create table memberships (
    tenant_id text not null references tenants (id) on delete cascade,
    user_id text not null references users (id) on delete cascade,
    role text not null,
    primary key (tenant_id, user_id)
) strict;

create index memberships_by_user on memberships (user_id, tenant_id);

create table login_sessions (
    id text not null primary key,
    user_id text not null references users (id) on delete cascade,
    token_hash text not null unique,
    created_at integer not null,
    expires_at integer not null
) strict;

create index login_sessions_by_user on login_sessions (user_id);
