-- Where apps have events sent; `events` is a list in JSON.
create table webhooks (
    id text not null primary key,
    app_id text not null references apps (id) on delete cascade,
    url text not null,
    format text not null,
    events text not null,
    enabled integer not null,
    created_at integer not null
) strict;

create index webhooks_by_app on webhooks (app_id, id);

-- Channels that webhooks were told to be occupied, with the number of subscribers that was told last.
create table told_channels (
    app_id text not null references apps (id) on delete cascade,
    channel text not null,
    subscribers integer not null,
    primary key (app_id, channel)
) strict;

-- Members that webhooks were told to be there.
create table told_members (
    app_id text not null references apps (id) on delete cascade,
    channel text not null,
    client text not null,
    primary key (app_id, channel, client)
) strict;

-- What waits for webhooks where no RabbitMQ keeps it: notes, and what is to be told.
create table webhook_backlog (
    id integer not null primary key autoincrement,
    queue text not null,
    body text not null
) strict;

create index webhook_backlog_by_queue on webhook_backlog (queue, id);
