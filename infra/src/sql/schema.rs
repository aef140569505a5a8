//! The tables, as both sets of migrations make them.

diesel::table! {
    tenants (id) {
        id -> Text,
        name -> Text,
        plan -> Text,
        created_at -> BigInt,
        suspended -> Bool,
    }
}

diesel::table! {
    users (id) {
        id -> Text,
        email -> Text,
        password_hash -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    memberships (tenant_id, user_id) {
        tenant_id -> Text,
        user_id -> Text,
        role -> Text,
    }
}

diesel::table! {
    login_sessions (id) {
        id -> Text,
        user_id -> Text,
        token_hash -> Text,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    apps (id) {
        id -> Text,
        tenant_id -> Text,
        name -> Text,
        enabled -> Bool,
        epoch -> Text,
        created_at -> BigInt,
        origins -> Text,
        traced_since -> Nullable<BigInt>,
        pusher -> Nullable<Text>,
    }
}

diesel::table! {
    api_keys (id) {
        id -> Text,
        app_id -> Text,
        name -> Text,
        cap -> Text,
        secret -> Binary,
        previous_secret -> Nullable<Binary>,
        previous_until -> Nullable<BigInt>,
        expires_at -> Nullable<BigInt>,
        created_at -> BigInt,
    }
}

diesel::table! {
    rules (app_id, namespace) {
        app_id -> Text,
        namespace -> Text,
        rule -> Text,
    }
}

diesel::table! {
    signers (id) {
        id -> Text,
        app_id -> Text,
        name -> Text,
        issuer -> Text,
        audience -> Text,
        pem -> Nullable<Text>,
        kid -> Nullable<Text>,
        jwks_url -> Nullable<Text>,
        cap -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    removed_apps (id) {
        id -> Text,
    }
}

diesel::table! {
    channels (app_id, channel) {
        app_id -> Text,
        channel -> Text,
        epoch -> Text,
        serial -> BigInt,
        time -> BigInt,
    }
}

diesel::table! {
    messages (app_id, channel, serial) {
        app_id -> Text,
        channel -> Text,
        serial -> BigInt,
        id -> Text,
        time -> BigInt,
        name -> Nullable<Text>,
        client -> Nullable<Text>,
        headers -> Nullable<Text>,
        fingerprint -> Nullable<Binary>,
        expires_at -> BigInt,
        data -> Text,
    }
}

diesel::table! {
    workers (id) {
        id -> Text,
        lease_until -> BigInt,
    }
}

diesel::table! {
    partitions (id) {
        id -> Integer,
        owner -> Nullable<Text>,
        generation -> BigInt,
    }
}

diesel::table! {
    settings (name) {
        name -> Text,
        value -> Text,
    }
}

diesel::table! {
    revisions (name) {
        name -> Text,
        number -> BigInt,
    }
}

diesel::table! {
    revocations (revision) {
        revision -> BigInt,
        kind -> Text,
        owner_id -> Text,
        subject -> Text,
        revoked_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    webhooks (id) {
        id -> Text,
        app_id -> Text,
        url -> Text,
        format -> Text,
        events -> Text,
        enabled -> Bool,
        created_at -> BigInt,
    }
}

diesel::table! {
    told_channels (app_id, channel) {
        app_id -> Text,
        channel -> Text,
        subscribers -> BigInt,
    }
}

diesel::table! {
    told_members (app_id, channel, client) {
        app_id -> Text,
        channel -> Text,
        client -> Text,
    }
}

diesel::table! {
    webhook_backlog (id) {
        id -> BigInt,
        queue -> Text,
        body -> Text,
    }
}

diesel::allow_tables_to_appear_in_same_query!(apps, channels);
diesel::allow_tables_to_appear_in_same_query!(tenants, memberships);
diesel::allow_tables_to_appear_in_same_query!(users, login_sessions);
