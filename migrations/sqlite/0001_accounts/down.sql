drop table login_sessions;
drop table memberships;
drop table users;
drop table tenants;
