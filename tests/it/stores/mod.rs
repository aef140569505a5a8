//! Contracts of the ports, and every engine that is held to them.

#![expect(clippy::unwrap_used, reason = "contracts are test code, though no test attribute stands on them")]

/// Makes one test of each fact for the engine inside a process, and one for Redis.
macro_rules! hold_a_node_to {
    ($one_node:expr; $($fact:ident)+) => {
        mod on_one_node {
            $(#[tokio::test]
            async fn $fact() {
                super::$fact(&$one_node).await;
            })+
        }

        mod on_redis {
            $(#[tokio::test]
            async fn $fact() {
                let server = crate::harness::redis::server().await;
                super::$fact(&*super::shared::node(&server.url(), "a")).await;
            })+
        }
    };
}

mod accounts;
mod apps;
mod backlogs;
mod bus;
mod deliveries;
mod directory;
mod engines;
mod keys;
mod limits;
mod messages;
mod migrations;
mod occupancy;
mod partitions;
mod postgres;
mod presence;
mod probes;
mod queue;
mod rabbitmq;
mod redis;
mod revocations;
mod rules;
mod samples;
mod signers;
mod sqlite;
mod told;
mod webhooks;

/// Makes one test of each fact for each SQL engine.
macro_rules! hold_sql_engines_to {
    ($($name:ident = $subject:path: $($fact:ident)+;)+) => {
        mod on_sqlite {
            $(mod $name {
                use $subject as facts;
                $(#[tokio::test]
                async fn $fact() {
                    facts::$fact(&crate::stores::engines::sqlite().await.store).await;
                })+
            })+
        }

        mod on_postgres {
            $(mod $name {
                use $subject as facts;
                $(#[tokio::test]
                async fn $fact() {
                    facts::$fact(&crate::stores::engines::postgres().await.store).await;
                })+
            })+
        }
    };
}

hold_sql_engines_to! {
    accounts = crate::stores::accounts:
        a_sign_up_can_be_read_back
        a_taken_address_leaves_nothing_behind
        a_new_password_ends_all_other_sessions
        a_session_ends_at_its_time
        the_newest_sessions_are_listed
        a_session_is_ended_only_by_its_user
        a_stranger_has_no_role;
    apps = crate::stores::apps:
        an_app_can_be_read_back_and_changed
        a_change_of_one_thing_leaves_the_others
        switches_turned_at_the_same_time_do_not_undo_each_other
        a_tenant_has_so_many_apps_however_many_come_at_once
        apps_are_listed_by_id_page_by_page
        an_id_can_be_taken_only_once
        only_its_tenant_removes_an_app
        keys_and_rules_go_with_their_app;
    keys = crate::stores::keys:
        a_key_can_be_read_back
        a_rotation_is_kept
        rotations_at_the_same_time_follow_one_another
        an_app_has_so_many_keys_however_many_come_at_once
        keys_are_listed_by_id_page_by_page
        another_app_neither_sees_nor_revokes_a_key;
    signers = crate::stores::signers:
        a_signer_can_be_read_back
        signers_are_listed_by_id_page_by_page
        an_app_has_so_many_signers_however_many_come_at_once
        another_app_neither_sees_nor_removes_a_signer
        signers_go_with_their_app;
    webhooks = crate::stores::webhooks:
        a_webhook_can_be_read_back_and_changed
        webhooks_are_listed_by_id_page_by_page_and_so_are_the_apps_that_have_some
        an_app_has_so_many_webhooks_however_many_come_at_once
        another_app_neither_sees_nor_changes_nor_removes_a_webhook
        webhooks_go_with_their_app;
    told = crate::stores::told:
        a_change_is_made_once_however_many_see_it
        what_was_told_is_read_back_listed_and_forgotten
        what_waits_is_handed_out_in_order_until_it_is_settled;
    rules = crate::stores::rules:
        a_rule_replaces_what_was_there
        an_app_has_so_many_rules_and_one_of_them_can_be_replaced
        rules_belong_to_their_app;
    append = crate::stores::messages::append:
        serials_count_from_one_in_every_channel
        a_message_comes_back_as_it_went_in
        an_app_that_is_gone_takes_nothing
        time_never_goes_back_within_a_channel
        a_batch_of_a_thousand_is_one_append
        appends_at_the_same_time_share_no_serial;
    idempotency = crate::stores::messages::idempotency:
        a_repeated_key_has_the_first_place
        a_key_repeated_within_a_batch_has_the_first_place
        another_message_under_a_key_takes_no_serial
        a_key_is_free_again_after_its_window
        a_key_belongs_to_its_channel_and_app
        a_redelivered_message_without_a_key_has_its_first_place
        a_redelivered_message_with_a_key_has_its_first_place
        repeats_at_the_same_time_take_one_serial;
    pages = crate::stores::messages::pages:
        a_channel_without_messages_stands_at_its_apps_epoch
        heads_come_in_the_order_asked_for
        pages_ascend_after_a_serial
        pages_descend_from_a_serial_and_from_the_head
        a_page_ends_at_its_bytes
        a_message_larger_than_a_page_comes_alone
        retention_hides_what_is_older
        only_the_last_messages_are_shown
        a_message_is_found_by_its_id_with_the_floor_of_what_is_visible;
    partitions = crate::stores::partitions:
        their_number_and_the_prefix_are_fixed_once;
    revocations = crate::stores::revocations:
        revocations_are_numbered_and_read_back_after_a_number
        a_token_keeps_its_number_and_a_client_gets_a_new_one
        a_key_goes_with_its_revocation_and_a_foreign_one_is_not_there
        a_signer_goes_with_its_revocation
        an_app_that_is_disabled_or_removed_is_revoked_along_with_it
        a_tenant_is_suspended_until_that_is_lifted
        no_row_is_missed_by_who_reads_on_while_others_revoke;
    probes = crate::stores::probes:
        a_probe_can_be_repeated;
    sweeps = crate::stores::messages::sweeps:
        a_sweep_removes_what_is_over_and_nothing_else
        heads_outlive_their_messages
        a_hole_is_never_shown
        holes_are_passed_over_page_by_page
        a_removed_app_is_unreadable_at_once_and_swept_in_slices;
}
