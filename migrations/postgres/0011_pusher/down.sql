alter table apps drop column pusher;
