//! Rules about bytes: what every engine owes the facade.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{JobId, Lane};
use tokio::time::{sleep, timeout};
use visavis_queue::{Abandoned, Attempt, Engine, Limit, Member, QueueError, Rate};

use crate::kit::{LANE, LONG, ROOMY, put, take, take_one, texts};

type Any = Arc<dyn Engine>;

/// Entries waiting and in flight.
async fn counts(e: &Any) -> (usize, usize) {
    let depth = e.depth(LANE).await.unwrap();
    (depth.waiting, depth.in_flight)
}

pub async fn entries_come_oldest_first_and_at_most_max(e: Any) {
    for bytes in [b"a", b"b", b"c"] {
        put(&e, bytes).await;
    }
    let first = take(&e, "one", 2).await;
    assert_eq!(texts(&first), ["a", "b"]);
    assert_eq!(first.iter().map(|entry| entry.receipt.deliveries).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(texts(&take(&e, "two", 9).await), ["c"]);
    assert!(take(&e, "one", 9).await.is_empty());
}

pub async fn a_waiting_reader_wakes_for_an_entry(e: Any) {
    let readers: Vec<_> = ["one", "two"]
        .map(|name| {
            let e = Arc::clone(&e);
            tokio::spawn(async move { e.read(LANE, name, 1, LONG).await.unwrap() })
        })
        .into();
    tokio::task::yield_now().await;
    put(&e, b"a").await;
    put(&e, b"b").await;
    let mut got = Vec::new();
    for reader in readers {
        got.extend(
            texts(&timeout(LONG / 2, reader).await.expect("woken long before its wait ends").unwrap()).concat().chars(),
        );
    }
    got.sort_unstable();
    assert_eq!(got, ['a', 'b']);
}

pub async fn an_empty_lane_answers_after_the_wait(e: Any) {
    let read = e.read(LANE, "one", 1, Duration::from_millis(20));
    assert!(timeout(LONG, read).await.expect("the wait ends").unwrap().is_empty());
}

pub async fn lanes_do_not_mix(e: Any) {
    put(&e, b"a").await;
    for other in [Lane::Bulk, Lane::Train] {
        assert!(e.read(other, "one", 1, Duration::ZERO).await.unwrap().is_empty());
        assert_eq!(e.depth(other).await.unwrap().waiting, 0);
    }
    let held = take_one(&e, "one").await;
    assert!(!e.ack(Lane::Bulk, &held.receipt).await.unwrap());
    assert!(e.ack(LANE, &held.receipt).await.unwrap());
}

pub async fn a_released_entry_is_available_at_once(e: Any) {
    put(&e, b"a").await;
    let first = take_one(&e, "one").await;
    assert!(e.release(LANE, &first.receipt, Attempt::Counts).await.unwrap());
    let second = take_one(&e, "two").await;
    assert_eq!(second.receipt.deliveries, 2, "a failed delivery counts");
    assert!(e.release(LANE, &second.receipt, Attempt::Forgiven).await.unwrap());
    assert_eq!(take_one(&e, "one").await.receipt.deliveries, 2, "a forgiven one does not");
}

pub async fn a_waiting_reader_wakes_for_a_released_entry(e: Any) {
    put(&e, b"a").await;
    let held = take_one(&e, "one").await;
    let waiting = {
        let e = Arc::clone(&e);
        tokio::spawn(async move { e.read(LANE, "two", 1, LONG).await.unwrap() })
    };
    tokio::task::yield_now().await;
    e.release_dropped(LANE, &held.receipt);
    let got = timeout(LONG / 2, waiting).await.expect("woken").unwrap();
    assert_eq!(texts(&got), ["a"]);
}

pub async fn a_void_receipt_changes_nothing(e: Any) {
    put(&e, b"a").await;
    let old = take_one(&e, "one").await.receipt;
    e.release(LANE, &old, Attempt::Counts).await.unwrap();
    let new = take_one(&e, "one").await.receipt;
    assert!(!e.ack(LANE, &old).await.unwrap());
    assert!(!e.touch(LANE, &old).await.unwrap());
    assert!(!e.release(LANE, &old, Attempt::Counts).await.unwrap());
    assert!(!e.bury(LANE, &old, "old").await.unwrap());
    e.release_dropped(LANE, &old);
    assert_eq!(counts(&e).await, (0, 1));
    assert!(e.ack(LANE, &new).await.unwrap());
    assert!(!e.ack(LANE, &new).await.unwrap(), "settled once");
    assert_eq!(counts(&e).await, (0, 0));
}

pub async fn only_silent_entries_are_reclaimed(e: Any) {
    let idle = Duration::from_millis(1500);
    for bytes in [b"a", b"b", b"c"] {
        put(&e, bytes).await;
    }
    let held = take(&e, "dead", 3).await;
    sleep(idle).await;
    assert!(e.touch(LANE, &held[1].receipt).await.unwrap());
    let first = e.reclaim(LANE, "heir", Abandoned::silent(idle), 1).await.unwrap();
    assert_eq!((texts(&first), first[0].receipt.deliveries), (vec!["a"], 2));
    assert_eq!(texts(&e.reclaim(LANE, "heir", Abandoned::silent(idle), 9).await.unwrap()), ["c"]);
    assert!(
        e.reclaim(LANE, "heir", Abandoned::silent(idle), 9).await.unwrap().is_empty(),
        "taken over, hence not silent"
    );
    assert!(!e.ack(LANE, &held[0].receipt).await.unwrap(), "the dead consumer's receipt is void");
}

pub async fn entries_of_consumers_that_are_gone_are_reclaimed_sooner(e: Any) {
    let gone_idle = Duration::from_millis(300);
    for (who, bytes) in [("gone", &b"a"[..]), ("lives", b"b"), ("gone", b"c")] {
        e.append(LANE, Bytes::from_static(bytes), ROOMY).await.unwrap();
        take_one(&e, who).await;
    }
    assert_eq!(e.holders(LANE).await.unwrap(), ["gone", "lives"]);
    assert!(e.holders(Lane::Bulk).await.unwrap().is_empty());
    let names = ["gone".to_owned(), "never was".to_owned()];
    let abandoned = Abandoned { idle: LONG, gone: &names, gone_idle };
    assert!(e.reclaim(LANE, "heir", abandoned, 9).await.unwrap().is_empty(), "taken a moment ago");
    sleep(gone_idle + Duration::from_millis(20)).await;
    let first = e.reclaim(LANE, "heir", abandoned, 1).await.unwrap();
    assert_eq!((texts(&first), first[0].receipt.deliveries), (vec!["a"], 2));
    let second = e.reclaim(LANE, "heir", abandoned, 9).await.unwrap();
    assert_eq!(texts(&second), ["c"]);
    assert!(e.ack(LANE, &second[0].receipt).await.unwrap());
    assert_eq!(e.holders(LANE).await.unwrap(), ["heir", "lives"]);
}

pub async fn dead_letters_keep_payload_reason_and_count(e: Any) {
    put(&e, b"a").await;
    let a = take_one(&e, "one").await;
    e.release(LANE, &a.receipt, Attempt::Counts).await.unwrap();
    for reason in ["first", "second"] {
        let entry = take_one(&e, "one").await;
        assert!(e.bury(LANE, &entry.receipt, reason).await.unwrap());
        put(&e, b"b").await;
    }
    let last = take_one(&e, "one").await;
    e.ack(LANE, &last.receipt).await.unwrap();
    let dead = e.dead_letters(LANE, 9).await.unwrap();
    let told: Vec<_> = dead.iter().map(|d| (&d.bytes[..], d.reason.as_str(), d.deliveries)).collect();
    assert_eq!(told, [(&b"b"[..], "second", 1), (b"a", "first", 2)]);
    assert_eq!(e.dead_letters(LANE, 1).await.unwrap()[0].reason, "second");
    assert_eq!(counts(&e).await, (0, 0), "neither waiting nor in flight");
    assert_eq!(e.depth(LANE).await.unwrap().dead, 2);
}

pub async fn a_dead_letter_can_be_retried_or_dropped(e: Any) {
    put(&e, b"a").await;
    put(&e, b"b").await;
    for entry in take(&e, "one", 2).await {
        e.bury(LANE, &entry.receipt, "why").await.unwrap();
    }
    let dead = e.dead_letters(LANE, 9).await.unwrap();
    assert!(e.retry_dead_letter(LANE, &dead[0].id, None).await.unwrap());
    assert!(!e.retry_dead_letter(LANE, &dead[0].id, None).await.unwrap());
    assert!(e.drop_dead_letter(LANE, &dead[1].id).await.unwrap());
    assert!(!e.drop_dead_letter(LANE, &dead[1].id).await.unwrap());
    assert!(e.dead_letters(LANE, 9).await.unwrap().is_empty());
    let again = take_one(&e, "one").await;
    assert_eq!((&again.bytes[..], again.receipt.deliveries), (&b"b"[..], 1));
}

pub async fn depth_tells_waiting_in_flight_and_age(e: Any) {
    put(&e, b"a").await;
    let pause = Duration::from_millis(30);
    sleep(pause).await;
    put(&e, b"b").await;
    let depth = e.depth(LANE).await.unwrap();
    assert_eq!((depth.waiting, depth.in_flight), (2, 0));
    assert!(depth.oldest_age >= pause, "{depth:?}");
    let a = take_one(&e, "one").await;
    assert!(a.age >= pause);
    let depth = e.depth(LANE).await.unwrap();
    assert_eq!((depth.waiting, depth.in_flight), (1, 1));
    let before = e.depth(LANE).await.unwrap().taken;
    e.ack(LANE, &a.receipt).await.unwrap();
    take_one(&e, "one").await;
    assert_eq!(counts(&e).await, (0, 1));
    assert_eq!(e.depth(LANE).await.unwrap().taken, before + 1);
}

pub async fn a_lane_is_bounded_and_loses_nothing(e: Any) {
    let limit = Limit { entries: 2, ..ROOMY };
    let append = |bytes| e.append(LANE, Bytes::from_static(bytes), limit);
    append(b"a").await.unwrap();
    append(b"b").await.unwrap();
    let refused = append(b"c").await.unwrap_err();
    assert!(matches!(refused, QueueError::Overloaded { retry_after } if retry_after > Duration::ZERO), "{refused:?}");
    let held = take_one(&e, "one").await;
    append(b"d").await.unwrap();
    // Giving back always succeeds, whatever the bound.
    assert!(e.release(LANE, &held.receipt, Attempt::Counts).await.unwrap());
    let mut all = take(&e, "one", 9).await;
    all.sort_by(|x, y| x.bytes.cmp(&y.bytes));
    assert_eq!(texts(&all), ["a", "b", "d"]);
}

pub async fn a_lane_refuses_what_would_wait_too_long(e: Any) {
    put(&e, b"a").await;
    sleep(Duration::from_millis(50)).await;
    let limit = Limit { wait: Duration::from_millis(20), ..ROOMY };
    let refused = e.append(LANE, Bytes::from_static(b"b"), limit).await.unwrap_err();
    assert!(matches!(refused, QueueError::Overloaded { .. }), "{refused:?}");
    e.append(LANE, Bytes::from_static(b"b"), Limit { wait: LONG, ..limit }).await.unwrap();
}

pub async fn replies_reach_their_own_stream_only(e: Any) {
    let (mut one, mut two) = (e.open_replies().await.unwrap(), e.open_replies().await.unwrap());
    assert_ne!(one.address(), two.address());
    e.reply(two.address(), Bytes::from_static(b"2")).await.unwrap();
    e.reply(one.address(), Bytes::from_static(b"1a")).await.unwrap();
    e.reply(one.address(), Bytes::from_static(b"1b")).await.unwrap();
    assert_eq!([one.next().await.unwrap(), one.next().await.unwrap()], [&b"1a"[..], b"1b"]);
    assert_eq!(two.next().await.unwrap(), &b"2"[..]);
    let gone = two.address().to_owned();
    drop(two);
    e.reply(&gone, Bytes::from_static(b"3")).await.expect("a reply nobody waits for is no error");
    assert!(timeout(Duration::from_millis(20), one.next()).await.is_err(), "nothing else came");
}

pub async fn a_cancellation_marks_that_job_only(e: Any) {
    let jobs = [JobId::generate(), JobId::generate(), JobId::generate()];
    e.cancel(&jobs[1]).await.unwrap();
    e.cancel(&jobs[1]).await.unwrap();
    let ids: Vec<&str> = jobs.iter().map(JobId::as_str).collect();
    assert_eq!(e.cancelled(&ids).await.unwrap(), [false, true, false]);
    assert!(e.cancelled(&[]).await.unwrap().is_empty());
}

pub async fn a_consumer_that_holds_entries_cannot_leave(e: Any) {
    put(&e, b"a").await;
    let held = take_one(&e, "one").await;
    assert!(!e.leave(LANE, "one").await.unwrap());
    let taken = e.reclaim(LANE, "two", Abandoned::silent(Duration::ZERO), 9).await.unwrap();
    assert_eq!(texts(&taken), ["a"], "its entry is still there");
    assert!(!e.ack(LANE, &held.receipt).await.unwrap());
    assert!(e.leave(LANE, "one").await.unwrap());
}

pub async fn a_requeued_entry_lets_others_go_first(e: Any) {
    put(&e, b"slice").await;
    put(&e, b"other").await;
    let first = take_one(&e, "one").await;
    assert!(e.requeue(LANE, &first.receipt).await.unwrap());
    assert!(!e.requeue(LANE, &first.receipt).await.unwrap(), "the receipt is void");
    assert_eq!(texts(&take(&e, "one", 1).await), ["other"]);
    let again = take_one(&e, "one").await;
    assert_eq!((&again.bytes[..], again.receipt.deliveries), (&b"slice"[..], 1));
}

pub async fn a_dead_letter_can_be_retried_with_other_bytes(e: Any) {
    put(&e, b"old").await;
    let entry = take_one(&e, "one").await;
    e.bury(LANE, &entry.receipt, "why").await.unwrap();
    let id = e.dead_letters(LANE, 1).await.unwrap()[0].id.clone();
    assert!(e.retry_dead_letter(LANE, &id, Some(Bytes::from_static(b"new"))).await.unwrap());
    assert_eq!(texts(&take(&e, "one", 1).await), ["new"]);
}

pub async fn members_live_as_long_as_their_lease(e: Any) {
    let member = |name: &str, note: &'static [u8]| Member { name: name.into(), note: Bytes::from_static(note) };
    let (short, long) = (Duration::from_millis(1500), Duration::from_secs(60));
    e.join(&member("b", b"old"), short).await.unwrap();
    e.join(&member("a", b"1"), long).await.unwrap();
    e.join(&member("b", b"2"), short).await.unwrap();
    assert_eq!(e.members().await.unwrap(), [member("a", b"1"), member("b", b"2")]);
    sleep(short).await;
    assert_eq!(e.members().await.unwrap(), [member("a", b"1")]);
    e.part("a").await.unwrap();
    e.part("nobody").await.unwrap();
    assert!(e.members().await.unwrap().is_empty());
}

pub async fn an_allowance_is_spent_and_comes_back(e: Any) {
    let rate = Rate { per_second: 2.0, burst: 3 };
    for left in [2, 1, 0] {
        let spent = e.spend("anna", 1, rate).await.unwrap();
        assert!(spent.allowed && spent.remaining <= left + 1, "{spent:?}");
    }
    let spent = e.spend("anna", 3, rate).await.unwrap();
    assert!(!spent.allowed && spent.retry_after > Duration::from_millis(500), "{spent:?}");
    assert!(e.spend("bert", 3, rate).await.unwrap().allowed, "another's allowance");
    sleep(spent.retry_after + Duration::from_millis(20)).await;
    assert!(e.spend("anna", 3, rate).await.unwrap().allowed);
}

pub async fn a_read_that_is_dropped_loses_nothing(e: Any) {
    for n in 0..20u64 {
        let read = timeout(Duration::from_millis(n % 4), e.read(LANE, "one", 9, LONG));
        let (dropped, ()) = tokio::join!(read, put(&e, b"a"));
        let entry = match dropped {
            Ok(got) => got.unwrap().remove(0),
            // Whatever became of the read, the entry is there for another at once and does not count as delivered.
            Err(_) => e.read(LANE, "two", 1, LONG).await.unwrap().remove(0),
        };
        assert_eq!(entry.receipt.deliveries, 1);
        assert!(e.ack(LANE, &entry.receipt).await.unwrap());
    }
}
