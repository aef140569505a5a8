-- The head of every channel that ever had a message; heads outlive their messages.
create table channels (
    app_id text not null,
    channel text not null,
    epoch text not null,
    serial integer not null,
    time integer not null,
    primary key (app_id, channel)
) strict;

create table messages (
    app_id text not null,
    channel text not null,
    serial integer not null,
    id text not null,
    time integer not null,
    name text,
    client text,
    headers text,
    -- Only of messages with an idempotency key.
    fingerprint blob,
    expires_at integer not null,
    data text not null,
    primary key (app_id, channel, serial)
) strict;

create index messages_by_time on messages (app_id, channel, time, serial);
create index messages_by_id on messages (app_id, channel, id, serial);
create index messages_by_expiry on messages (expires_at);
