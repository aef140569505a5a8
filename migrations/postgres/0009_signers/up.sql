-- Keys of a tenant's own, by which client tokens of an app may be signed: one public key, or where a set of them is.
create table signers (
    id text collate "C" not null primary key,
    app_id text collate "C" not null references apps (id) on delete cascade,
    name text not null,
    issuer text not null,
    audience text not null,
    pem text,
    kid text,
    jwks_url text,
    cap text not null,
    created_at bigint not null
);

create index signers_by_app on signers (app_id, id);
