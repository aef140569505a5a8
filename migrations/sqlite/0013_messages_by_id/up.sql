-- SQLite finds messages by their ids as it is; Postgres needed another index.
select 1;
