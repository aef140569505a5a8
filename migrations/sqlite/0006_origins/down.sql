alter table apps drop column origins;
