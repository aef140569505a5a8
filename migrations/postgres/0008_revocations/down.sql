alter table tenants drop column suspended;
drop table revocations;
drop table revisions;
