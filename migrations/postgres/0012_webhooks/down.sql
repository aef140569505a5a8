drop table webhook_backlog;
drop table told_members;
drop table told_channels;
drop table webhooks;
