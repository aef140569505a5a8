create table apps (
    id text not null primary key,
    tenant_id text not null references tenants (id),
    name text not null,
    enabled integer not null,
    epoch text not null,
    created_at integer not null
) strict;

create index apps_by_tenant on apps (tenant_id, id);

create table api_keys (
    id text not null primary key,
    app_id text not null references apps (id) on delete cascade,
    name text not null,
    cap text not null,
    secret blob not null,
    previous_secret blob,
    previous_until integer,
    expires_at integer,
    created_at integer not null
) strict;

create index api_keys_by_app on api_keys (app_id, id);

create table rules (
    app_id text not null references apps (id) on delete cascade,
    namespace text not null,
    rule text not null,
    primary key (app_id, namespace)
) strict;

-- Apps that are gone, whose messages are still to be removed in slices.
create table removed_apps (
    id text not null primary key
) strict;
