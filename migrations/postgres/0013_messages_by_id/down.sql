drop index messages_by_id;
create index messages_by_id on messages (app_id, channel, id, serial);
