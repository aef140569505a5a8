drop table partitions;
drop table workers;
