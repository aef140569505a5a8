alter table apps drop column traced_since;
