-- What an app lets Pusher's clients do, as JSON; null where nobody ever said: then they are not served.
alter table apps add column pusher text;
