drop table removed_apps;
drop table rules;
drop table api_keys;
drop table apps;
