-- What is stored is looked for by its id alone: with the channel in front, a table that Postgres has not analyzed yet was searched along the whole channel.
drop index messages_by_id;
create index messages_by_id on messages (id);
