create table apps (
    id text collate "C" not null primary key,
    tenant_id text collate "C" not null references tenants (id),
    name text not null,
    enabled boolean not null,
    epoch text not null,
    created_at bigint not null
);

create index apps_by_tenant on apps (tenant_id, id);

create table api_keys (
    id text collate "C" not null primary key,
    app_id text collate "C" not null references apps (id) on delete cascade,
    name text not null,
    cap text not null,
    secret bytea not null,
    previous_secret bytea,
    previous_until bigint,
    expires_at bigint,
    created_at bigint not null
);

create index api_keys_by_app on api_keys (app_id, id);

create table rules (
    app_id text collate "C" not null references apps (id) on delete cascade,
    namespace text collate "C" not null,
    rule text not null,
    primary key (app_id, namespace)
);

-- Apps that are gone, whose messages are still to be removed in slices.
create table removed_apps (
    id text collate "C" not null primary key
);
