drop table messages;
drop table channels;
