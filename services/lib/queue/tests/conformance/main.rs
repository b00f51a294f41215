//! The rules of the job protocol, one test function each, over any engine. A further engine adds one line at the end.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed expectation fails the test")]

mod engine_rules;
mod kit;
mod protocol_rules;
mod servers;
mod stress;

/// Runs every rule on a fresh engine. Time is tokio's, paused where `start_paused` is given.
macro_rules! conformance {
    ($engine:ident, $make:expr, $paused:literal) => {
        mod $engine {
            conformance!(@rules $make, $paused, engine_rules:
                entries_come_oldest_first_and_at_most_max
                a_waiting_reader_wakes_for_an_entry
                an_empty_lane_answers_after_the_wait
                lanes_do_not_mix
                a_released_entry_is_available_at_once
                a_waiting_reader_wakes_for_a_released_entry
                a_void_receipt_changes_nothing
                only_silent_entries_are_reclaimed
                entries_of_consumers_that_are_gone_are_reclaimed_sooner
                dead_letters_keep_payload_reason_and_count
                a_dead_letter_can_be_retried_or_dropped
                depth_tells_waiting_in_flight_and_age
                a_lane_is_bounded_and_loses_nothing
                a_lane_refuses_what_would_wait_too_long
                replies_reach_their_own_stream_only
                a_cancellation_marks_that_job_only
                a_consumer_that_holds_entries_cannot_leave
                a_requeued_entry_lets_others_go_first
                a_dead_letter_can_be_retried_with_other_bytes
                members_live_as_long_as_their_lease
                an_allowance_is_spent_and_comes_back
                a_read_that_is_dropped_loses_nothing
            );
            conformance!(@rules $make, $paused, protocol_rules:
                a_job_travels_and_its_reply_comes_back
                an_unreadable_entry_does_not_block_a_read
                an_unreadable_entry_does_not_block_a_reclaim
                past_the_deadline_a_job_is_answered_not_delivered
                a_cancelled_job_is_neither_delivered_nor_answered
                cancellation_is_seen_while_a_job_is_held
                a_job_released_by_draining_is_not_counted
                a_dropped_delivery_returns
                after_three_deliveries_a_job_is_a_dead_letter
                a_dead_consumers_job_is_taken_over
                a_dead_workers_job_is_taken_over_when_its_lease_ends
                a_living_workers_job_is_not_taken_over
                whoever_is_out_of_touch_takes_nothing_over
                a_heartbeat_keeps_a_long_job
                an_answer_after_a_takeover_is_not_sent
                an_unreadable_reply_is_skipped
                a_job_that_cannot_be_done_in_time_is_refused
                consumers_have_names_of_their_own
            );
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn every_job_is_answered_exactly_once() {
                let Some(engine) = $make else { return };
                let patience = if $paused { crate::stress::SHORT } else { crate::stress::LONGER };
                crate::stress::every_job_is_answered_exactly_once(engine, patience).await;
            }
        }
    };
    (@rules $make:expr, $paused:literal, $module:ident: $($rule:ident)*) => {
        $(
            #[tokio::test(start_paused = $paused)]
            async fn $rule() {
                let Some(engine) = $make else { return };
                crate::$module::$rule(engine).await;
            }
        )*
    };
}

conformance!(memory, crate::kit::memory(), true);
conformance!(valkey, crate::servers::valkey(), false);
conformance!(cluster, crate::servers::cluster(), false);
conformance!(redis, crate::servers::redis(), false);
conformance!(sealed_memory, crate::kit::sealed(crate::kit::memory()), true);
conformance!(sealed_valkey, crate::kit::sealed(crate::servers::valkey()), false);
