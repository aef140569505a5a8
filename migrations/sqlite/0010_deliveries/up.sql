-- Since when an app keeps a trace of deliveries; null where it keeps none, as all do unless their owner says otherwise.
alter table apps add column traced_since integer;
