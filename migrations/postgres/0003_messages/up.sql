-- The head of every channel that ever had a message; heads outlive their messages.
create table channels (
    app_id text collate "C" not null,
    channel text collate "C" not null,
    epoch text not null,
    serial bigint not null,
    time bigint not null,
    -- The highest serial that was removed: what is left below it is not shown either.
    swept bigint not null,
    primary key (app_id, channel)
);

create table messages (
    app_id text collate "C" not null,
    channel text collate "C" not null,
    serial bigint not null,
    id text collate "C" not null,
    time bigint not null,
    name text,
    client text,
    headers text,
    -- Only of messages with an idempotency key.
    fingerprint bytea,
    expires_at bigint not null,
    data text not null,
    primary key (app_id, channel, serial)
);

create index messages_by_time on messages (app_id, channel, time, serial);
create index messages_by_key on messages (app_id, channel, id, serial) where fingerprint is not null;
create index messages_by_expiry on messages (expires_at);
