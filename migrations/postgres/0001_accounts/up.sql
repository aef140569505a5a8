create table tenants (
    id text collate "C" not null primary key,
    name text not null,
    plan text not null,
    created_at bigint not null
);

create table users (
    id text collate "C" not null primary key,
    email text not null unique,
    password_hash text not null,
    created_at bigint not null
);

create table memberships (
    tenant_id text collate "C" not null references tenants (id) on delete cascade,
    user_id text collate "C" not null references users (id) on delete cascade,
    role text not null,
    primary key (tenant_id, user_id)
);

create index memberships_by_user on memberships (user_id, tenant_id);

create table login_sessions (
    id text collate "C" not null primary key,
    user_id text collate "C" not null references users (id) on delete cascade,
    token_hash text not null unique,
    created_at bigint not null,
    expires_at bigint not null
);

create index login_sessions_by_user on login_sessions (user_id);
