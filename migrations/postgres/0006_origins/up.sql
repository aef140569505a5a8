-- The web pages that may use an app, as a JSON list; any, unless its owner says otherwise.
alter table apps add column origins text not null default '["*"]';
