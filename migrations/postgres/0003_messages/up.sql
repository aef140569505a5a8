-- The head of every channel that ever had a message; heads outlive their messages.
create table channels (
    app_id text collate "C" not null,
    channel text collate "C" not null,
    epoch text not null,
    serial bigint not null,
    time bigint not null,
    primary key (app_id, channel)
);

-- Messages lie by how long they live, and within that by when their time is over, so that what is over is dropped whole.
-- The tables below these five are made ahead, or when a message needs one; each has the primary key (app_id, channel, serial).
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
    data text not null
) partition by range ((expires_at - time));

create table messages_days partition of messages for values from (minvalue) to (172800000) partition by range (expires_at);
create table messages_weeks partition of messages for values from (172800000) to (691200000) partition by range (expires_at);
create table messages_months partition of messages for values from (691200000) to (2764800000) partition by range (expires_at);
create table messages_years partition of messages for values from (2764800000) to (31708800000) partition by range (expires_at);
create table messages_decades partition of messages for values from (31708800000) to (maxvalue) partition by range (expires_at);

create index messages_by_time on messages (app_id, channel, time, serial);
create index messages_by_id on messages (app_id, channel, id, serial);
