//! The audit trail over both engines: one chain however many append at once, trimmed with an anchor; and signing keys.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use domain::{TenantId, Timestamp};
use evidence::{AuditDraft, ChainHead, Expected, SignedHead, SigningKey, anchor_line, head_line, verify_trail};
use tokio::task::JoinSet;
use visavis_store::{
    Audit, Commit, PAGE_EVENTS, Page, RedisStoreOptions, Schema, SigningKeys, Space, StoreError, check,
    tapped::{Tap, Tapped},
};

use crate::common::{self, fixture::*};

on_both_engines!(
    gateways_that_append_at_once_make_one_chain,
    a_trimmed_trail_can_still_be_verified,
    a_packed_trail_reads_as_before,
    pages_lose_what_is_too_old_event_by_event,
    packing_trimming_and_reading_at_once_lose_nothing,
    what_moves_under_ones_eyes_is_neither_damage_nor_a_gap,
    an_event_that_was_changed_is_not_packed,
    keys_are_made_once_and_a_former_one_still_verifies,
);

fn draft(text: &str, time: Timestamp) -> AuditDraft {
    AuditDraft {
        time,
        actor: "key:k".into(),
        action: text.into(),
        collection: None,
        subjects: vec![],
        more_subjects: 0,
        decisions: vec![],
        outcome: "ok".into(),
        status: None,
        reference: None,
        request_id: None,
    }
}

/// Signs the end of what is trimmed.
fn anchoring(tenant: &TenantId, key: &SigningKey) -> impl Fn(&ChainHead) -> Result<String, StoreError> + Copy {
    move |head| {
        let signed = SignedHead { tenant: tenant.clone(), seq: head.seq, hash: head.hash.clone(), time: NOW };
        Ok(signed.as_anchor(key).unwrap())
    }
}

/// The whole trail as a file.
async fn export(f: &Fixture) -> Vec<String> {
    let (audit, keys) = (Audit::new(f.store.clone(), &f.tenant), SigningKeys::new(f.store.clone()));
    let head = audit.head().await.unwrap();
    let mut lines: Vec<String> = audit.anchor().await.unwrap().iter().map(|signed| anchor_line(signed)).collect();
    let mut after = 0;
    loop {
        let (page, more) = audit.lines(after, 100).await.unwrap();
        after = page.last().map_or(after, |(seq, _)| *seq);
        lines.extend(page.iter().map(|(_, line)| String::from_utf8(line.to_vec()).unwrap()));
        if !more {
            break;
        }
    }
    let head = SignedHead { tenant: f.tenant.clone(), seq: head.seq, hash: head.hash, time: NOW };
    lines.push(head_line(&head.as_head(&keys.current().await.unwrap()).unwrap()));
    lines
}

async fn gateways_that_append_at_once_make_one_chain(f: Fixture) {
    let mut gateways = JoinSet::new();
    for gateway in 0..4 {
        let audit = Audit::new(f.store.clone(), &f.tenant);
        gateways.spawn(async move {
            let mut known = None;
            for batch in 0..20 {
                let name = |i| draft(&format!("{gateway}/{batch}/{i}"), NOW);
                audit.append(&[name(0), name(1), name(2)], &mut known).await.unwrap();
            }
        });
    }
    gateways.join_all().await;
    let checked = verified(&f).await;
    assert_eq!((checked.events, checked.tenant.as_ref()), (240, Some(&f.tenant)));
    // Each gateway's events are there, in its order.
    let (events, _) = Audit::new(f.store.clone(), &f.tenant).events(0, 1000).await.unwrap();
    for gateway in 0..4 {
        let mine = events.iter().filter(|e| e.action.starts_with(&format!("{gateway}/"))).map(|e| e.action.clone());
        let wanted = (0..20).flat_map(|b| (0..3).map(move |i| format!("{gateway}/{b}/{i}")));
        assert_eq!(mine.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
    }
    assert_eq!(Audit::tenants(&*f.store).await.unwrap(), std::slice::from_ref(&f.tenant));
}

async fn a_trimmed_trail_can_still_be_verified(f: Fixture) {
    let (audit, keys) = (Audit::new(f.store.clone(), &f.tenant), SigningKeys::new(f.store.clone()));
    let mut known = None;
    for day in 0..6 {
        audit.append(&[draft("x", NOW.plus(DAY * day))], &mut known).await.unwrap();
    }
    let key = keys.current().await.unwrap();
    let sign = anchoring(&f.tenant, &key);
    assert_eq!(audit.trim(NOW, sign).await.unwrap(), 0, "nothing is that old");
    assert_eq!(audit.anchor().await.unwrap(), None);
    assert_eq!(audit.trim(NOW.plus(DAY * 4), sign).await.unwrap(), 4);
    assert_eq!(audit.trim(NOW.plus(DAY * 4), sign).await.unwrap(), 0);
    let (lines, public) = (export(&f).await, keys.public().await.unwrap());
    let check =
        |lines: &[String]| verify_trail(lines.iter().map(String::as_str), Expected { keys: Some(&public), head: None });
    let checked = check(&lines).unwrap();
    assert_eq!((checked.after, checked.events), (4, 2));
    assert!(check(&lines[1..]).is_err(), "without the anchor");
    // The trail goes on where it was.
    audit.append(&[draft("y", NOW.plus(DAY * 9))], &mut None).await.unwrap();
    assert_eq!(check(&export(&f).await).unwrap().head.seq, 7);
}

const MINUTE: Duration = Duration::from_secs(60);

/// So many events, one a minute, in commits of a hundred.
async fn fill(audit: &Audit, events: u32) {
    let drafts: Vec<_> = (0..events).map(|i| draft(&format!("x{i}"), NOW.plus(MINUTE * i))).collect();
    for batch in drafts.chunks(100) {
        audit.append(batch, &mut None).await.unwrap();
    }
}

/// Packs until there is nothing to pack; how many were.
async fn pack(audit: &Audit, until: Timestamp) -> usize {
    let mut all = 0;
    loop {
        match audit.pack(until).await.unwrap() {
            0 => return all,
            some => all += some,
        }
    }
}

async fn verified(f: &Fixture) -> evidence::Checked {
    let keys = SigningKeys::new(f.store.clone()).public().await.unwrap();
    let lines = export(f).await;
    verify_trail(lines.iter().map(String::as_str), Expected { keys: Some(&keys), head: None }).unwrap()
}

async fn a_packed_trail_reads_as_before(f: Fixture) {
    let audit = Audit::new(f.store.clone(), &f.tenant);
    fill(&audit, 3 * 256).await;
    let before = export(&f).await;
    assert_eq!(pack(&audit, NOW).await, 0, "nothing is that old");
    assert_eq!(pack(&audit, NOW.plus(MINUTE * 255)).await, 0, "the last event of the first page is not");
    assert_eq!(check(&*f.store).await.unwrap().least, 0, "an older program may still come back");
    assert_eq!(pack(&audit, NOW.plus(MINUTE * 300)).await, PAGE_EVENTS);
    assert_eq!(check(&*f.store).await.unwrap(), Schema { version: 2, least: 2 });
    assert_eq!(pack(&audit, NOW.plus(DAY)).await, PAGE_EVENTS, "the last event stays single");
    let after = export(&f).await;
    // The signature at the end is drawn anew; every event is the same to the byte.
    assert_eq!(after[..3 * 256], before[..3 * 256]);
    for (from, limit) in [(0, 1), (0, 1000), (100, 10), (250, 10), (255, 5), (256, 5), (510, 5), (512, 300), (767, 5)] {
        let (events, more) = audit.events(from, limit).await.unwrap();
        let seqs: Vec<u64> = events.iter().map(|e| e.seq).collect();
        assert!(!seqs.is_empty() && seqs.len() <= limit, "{from} {limit}");
        assert_eq!(seqs, (from + 1..=from + seqs.len() as u64).collect::<Vec<_>>(), "{from} {limit}");
        assert_eq!(more, seqs.last() != Some(&768), "{from} {limit}");
    }
    assert_eq!(audit.events(768, 5).await.unwrap(), (vec![], false));
    audit.append(&[draft("y", NOW.plus(DAY))], &mut None).await.unwrap();
    assert_eq!(pack(&audit, NOW.plus(DAY * 2)).await, PAGE_EVENTS);
    assert_eq!(verified(&f).await.events, 769);
}

async fn pages_lose_what_is_too_old_event_by_event(f: Fixture) {
    let audit = Audit::new(f.store.clone(), &f.tenant);
    fill(&audit, 600).await;
    assert_eq!(pack(&audit, NOW.plus(DAY)).await, 2 * PAGE_EVENTS);
    let key = SigningKeys::new(f.store.clone()).current().await.unwrap();
    let sign = anchoring(&f.tenant, &key);
    let mut left = 600;
    for (until, trimmed) in [(0, vec![0]), (100, vec![100, 0]), (256, vec![156, 0]), (520, vec![256, 8, 0])] {
        for events in trimmed {
            assert_eq!(audit.trim(NOW.plus(MINUTE * until), sign).await.unwrap(), events, "until {until}");
            left -= events as u64;
            let checked = verified(&f).await;
            assert_eq!((checked.after, checked.events), (600 - left, left), "until {until}");
        }
    }
    assert_eq!(audit.events(0, 1).await.unwrap().0[0].action, "x520");
}

async fn packing_trimming_and_reading_at_once_lose_nothing(f: Fixture) {
    let audit = Audit::new(f.store.clone(), &f.tenant);
    fill(&audit, 1500).await;
    let key = Arc::new(SigningKeys::new(f.store.clone()).current().await.unwrap());
    let mut work = JoinSet::new();
    for gateway in 0..6 {
        let (audit, key, tenant) = (audit.clone(), key.clone(), f.tenant.clone());
        work.spawn(async move {
            let sign = anchoring(&tenant, &key);
            for turn in 0..30 {
                match gateway {
                    0 => _ = audit.trim(NOW.plus(MINUTE * turn * 10), sign).await.unwrap(),
                    1..4 => _ = audit.pack(NOW.plus(DAY * 9)).await.unwrap(),
                    // What was not trimmed is read without a gap, whatever moves meanwhile.
                    _ => {
                        let (mut after, mut more) = (600, true);
                        while more {
                            let (events, further) = audit.events(after, 50).await.unwrap();
                            for event in &events {
                                assert_eq!(event.seq, after + 1);
                                after = event.seq;
                            }
                            more = further;
                        }
                        assert_eq!(after, 1500);
                    }
                }
            }
        });
    }
    work.join_all().await;
    pack(&audit, NOW.plus(DAY * 9)).await;
    let checked = verified(&f).await;
    assert_eq!(checked.head.seq, 1500);
    assert_eq!(checked.after + checked.events, 1500);
    assert!(checked.after <= 290, "{}", checked.after);
}

/// Another gateway that packs while one looks at single events, some of which are gone before they are read: the embedded
/// engine gives those that are there.
struct Overtaking {
    other: Audit,
    done: AtomicBool,
}

#[async_trait]
impl Tap for Overtaking {
    async fn scanned(&self, _: &Space, prefix: &str, page: &mut Page) {
        if prefix == "event/" && !self.done.swap(true, Ordering::SeqCst) {
            assert_eq!(self.other.pack(NOW.plus(DAY * 9)).await.unwrap(), PAGE_EVENTS);
            page.records.drain(10..30);
        }
    }
}

async fn what_moves_under_ones_eyes_is_neither_damage_nor_a_gap(f: Fixture) {
    let audit = Audit::new(f.store.clone(), &f.tenant);
    fill(&audit, 1_000).await;
    let overtaken = || {
        let tap = Overtaking { other: audit.clone(), done: AtomicBool::new(false) };
        Audit::new(Tapped::new(f.store.clone(), tap), &f.tenant)
    };
    assert_eq!(overtaken().pack(NOW.plus(DAY * 9)).await.unwrap(), 0, "the other was quicker");
    let (reader, mut after, mut more) = (overtaken(), 0, true);
    while more {
        let (events, further) = reader.events(after, 50).await.unwrap();
        for event in events {
            assert_eq!(event.seq, after + 1);
            after = event.seq;
        }
        more = further;
    }
    assert_eq!(after, 1_000);
    assert_eq!(verified(&f).await.head.seq, 1_000);
}

async fn an_event_that_was_changed_is_not_packed(f: Fixture) {
    let audit = Audit::new(f.store.clone(), &f.tenant);
    fill(&audit, 300).await;
    let (space, key) = (Space::audit(&f.tenant), format!("event/{:020}", 17));
    let line = f.store.get(&space, &key).await.unwrap().unwrap().value;
    let changed = String::from_utf8(line.to_vec()).unwrap().replace("key:k", "key:j");
    f.store.commit(&space, Commit::new().put(&*key, changed.clone())).await.unwrap();
    let refused = audit.pack(NOW.plus(DAY)).await.unwrap_err().to_string();
    assert!(refused.contains("event 17"), "{refused}");
    // It is still told which one it was.
    let lines = export(&f).await;
    assert_eq!(lines[16], changed);
    let fault = verify_trail(lines.iter().map(String::as_str), Expected::default()).unwrap_err().to_string();
    assert!(fault.starts_with("line 17:"), "{fault}");
}

async fn keys_are_made_once_and_a_former_one_still_verifies(f: Fixture) {
    let keys = SigningKeys::new(f.store.clone());
    let mut first = JoinSet::new();
    for _ in 0..8 {
        let keys = keys.clone();
        first.spawn(async move { keys.current().await.unwrap().public().kid });
    }
    let made: std::collections::BTreeSet<String> = first.join_all().await.into_iter().collect();
    assert_eq!(made.len(), 1, "gateways that start at once agree");
    let old = keys.current().await.unwrap().sign(evidence::RECEIPT, &"old").unwrap();
    let fresh = keys.rotate().await.unwrap();
    assert_eq!(keys.current().await.unwrap().public(), fresh);
    let public = keys.public().await.unwrap();
    assert_eq!(public.keys.len(), 2);
    assert_eq!(public.open::<String>(evidence::RECEIPT, &old).unwrap(), "old");
}

/// Memory is what an operator of a shared server pays for a trail that is kept for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_packed_event_costs_a_shared_server_a_tenth() {
    let prefix = common::prefix();
    let store = common::open(&common::ALWAYS.url(), &prefix, RedisStoreOptions::default()).await.unwrap();
    let f = on(None, Arc::new(store)).await;
    let audit = Audit::new(f.store.clone(), &f.tenant);
    let memory = || -> u64 {
        let of = |name: &str| -> u64 {
            let key = format!("{prefix}:s:{{audit/{}}}:{name}", f.tenant);
            let reply = common::ALWAYS.command(&["MEMORY", "USAGE", &key, "SAMPLES", "0"]);
            reply.trim().trim_start_matches(':').parse().unwrap()
        };
        ["v", "k", "f"].into_iter().map(of).sum()
    };
    let events = 2 * 4096 + 1;
    fill(&audit, events).await;
    let single = memory();
    let began = Instant::now();
    assert_eq!(pack(&audit, NOW.plus(DAY * 9)).await, 2 * 4096);
    let (page, packed) = (began.elapsed() / 32, memory());
    println!("{} bytes an event, {} in a page", single / u64::from(events), packed / u64::from(events));
    println!("a page was made in {page:?}");
    assert!(packed * 10 < single, "{packed} of {single} bytes for {events} events");
}
