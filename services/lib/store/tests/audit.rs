//! The audit trail over both engines: one chain however many append at once, trimmed with an anchor; and signing keys.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::fixture::*;
use domain::Timestamp;
use evidence::{AuditDraft, Expected, SignedHead, anchor_line, head_line, verify_trail};
use tokio::task::JoinSet;
use visavis_store::{Audit, SigningKeys};

on_both_engines!(
    gateways_that_append_at_once_make_one_chain,
    a_trimmed_trail_can_still_be_verified,
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
    let keys = SigningKeys::new(f.store.clone()).public().await.unwrap();
    let lines = export(&f).await;
    let checked = verify_trail(lines.iter().map(String::as_str), Expected { keys: Some(&keys), head: None }).unwrap();
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
    let sign = |head: &evidence::ChainHead| {
        let signed = SignedHead { tenant: f.tenant.clone(), seq: head.seq, hash: head.hash.clone(), time: NOW };
        Ok(signed.as_anchor(&key).unwrap())
    };
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
