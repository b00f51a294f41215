//! Every way to tamper with a trail, and that each is found.

use super::*;
use crate::AuditDraft;

fn draft(n: u64) -> AuditDraft {
    AuditDraft {
        time: Timestamp::from_millis(1_700_000_000_000 + i64::try_from(n).unwrap()),
        actor: "key:k1".into(),
        action: "POST /v1/collections/{collection}/identify".into(),
        collection: Some("staff".parse().unwrap()),
        subjects: vec![format!("{n:032x}")],
        more_subjects: n % 2,
        decisions: vec!["match".into()],
        outcome: "ok".into(),
        status: Some(200),
        reference: None,
        request_id: Some(format!("r-{n}")),
    }
}

/// An export of `n` events after `head`, whose first `trimmed` were trimmed; and its keys.
fn export(n: u64, trimmed: u64) -> (Vec<String>, Jwks, ChainHead) {
    let key = SigningKey::generate().unwrap().0;
    let tenant: TenantId = "acme".parse().unwrap();
    let (mut head, mut lines) = (ChainHead::default(), Vec::new());
    for i in 0..n {
        let event = AuditEvent::after(&head, &tenant, draft(i)).unwrap();
        head = event.head();
        if event.seq > trimmed {
            lines.push(event.line().unwrap());
        } else if event.seq == trimmed {
            let anchor = signed(&head, &tenant).as_anchor(&key).unwrap();
            lines.push(anchor_line(&anchor));
        }
    }
    lines.push(head_line(&signed(&head, &tenant).as_head(&key).unwrap()));
    (lines, Jwks { keys: vec![key.public()] }, head)
}

fn signed(head: &ChainHead, tenant: &TenantId) -> SignedHead {
    let time = Timestamp::from_millis(1_800_000_000_000);
    SignedHead { tenant: tenant.clone(), seq: head.seq, hash: head.hash.clone(), time }
}

fn check(lines: &[String], keys: Option<&Jwks>, head: Option<&ChainHead>) -> Result<Checked, EvidenceError> {
    verify_trail(lines.iter().map(String::as_str), Expected { keys, head })
}

#[test]
fn a_whole_trail_is_accepted_from_its_beginning_and_from_an_anchor() {
    let (lines, keys, head) = export(5, 0);
    let found = check(&lines, Some(&keys), Some(&head)).unwrap();
    assert_eq!((found.events, found.after, &found.head), (5, 0, &head));
    assert!(found.signed && found.noted);
    let (lines, keys, head) = export(9, 4);
    let found = check(&lines, Some(&keys), Some(&head)).unwrap();
    assert_eq!((found.events, found.after), (5, 4));
    assert_eq!(found.tenant.unwrap().as_str(), "acme");
    let (empty, keys, head) = export(0, 0);
    assert_eq!(check(&empty, Some(&keys), Some(&head)).unwrap().events, 0);
}

#[test]
fn a_change_of_any_byte_of_any_line_is_found() {
    let (lines, keys, _) = export(3, 0);
    for (i, line) in lines.iter().enumerate() {
        for at in 0..line.len() {
            let mut bytes = line.clone().into_bytes();
            bytes[at] = if bytes[at] == b'7' { b'8' } else { b'7' };
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let mut changed = lines.clone();
            changed[i] = text;
            assert!(check(&changed, Some(&keys), None).is_err(), "line {i}, byte {at}: {}", changed[i]);
        }
    }
    // Space that changes nothing of what JSON says.
    let mut spaced = lines.clone();
    spaced[1] = spaced[1].replacen(':', ": ", 1);
    assert!(check(&spaced, Some(&keys), None).unwrap_err().to_string().starts_with("line 2:"));
}

#[test]
fn removed_repeated_and_reordered_lines_are_found() {
    let (lines, keys, _) = export(6, 0);
    for i in 0..lines.len() {
        let mut shorter = lines.clone();
        shorter.remove(i);
        assert!(check(&shorter, Some(&keys), None).is_err(), "without line {i}");
        let mut longer = lines.clone();
        longer.insert(i, lines[i].clone());
        assert!(check(&longer, Some(&keys), None).is_err(), "line {i} twice");
        if i > 0 {
            let mut other = lines.clone();
            other.swap(i - 1, i);
            assert!(check(&other, Some(&keys), None).is_err(), "lines {i} and the one before");
        }
    }
}

#[test]
fn a_chain_made_anew_is_found_by_the_signature_or_by_a_noted_head() {
    let (lines, keys, head) = export(4, 0);
    let (forged, other_keys, _) = export(3, 0);
    // Whoever has no key can take the old head or sign with another key.
    let stitched = [&forged[..3], &lines[4..]].concat();
    assert!(check(&stitched, Some(&keys), None).is_err());
    assert!(check(&forged, Some(&keys), None).unwrap_err().to_string().contains("not in the key set"));
    assert!(check(&forged, None, Some(&head)).unwrap_err().to_string().contains("ends with event 3"));
    assert!(check(&forged, Some(&other_keys), Some(&head)).is_err());
}

#[test]
fn a_beginning_that_was_cut_off_needs_its_anchor() {
    let (lines, keys, _) = export(6, 0);
    assert!(check(&lines[2..], Some(&keys), None).unwrap_err().to_string().contains("event 3 stands where event 1"));
    let (anchored, keys, head) = export(6, 2);
    assert!(check(&anchored[1..], Some(&keys), None).is_err(), "without its anchor");
    let early = ChainHead { seq: 1, ..head };
    assert!(check(&anchored, Some(&keys), Some(&early)).unwrap_err().to_string().contains("was trimmed"));
    let other = export(6, 2).0;
    let forged = [&other[..1], &anchored[1..]].concat();
    assert!(check(&forged, Some(&keys), None).is_err(), "an anchor that somebody else signed");
}

#[test]
fn heads_are_read_from_text() {
    let head = ChainHead { seq: 7, hash: "ab".repeat(32) };
    assert_eq!(format!("{}:{}", head.seq, head.hash).parse(), Ok(head));
    for bad in ["", "7", "7:ab", "x:y", &format!("-1:{}", "ab".repeat(32)), &format!("7:{}", "AB".repeat(32))] {
        assert!(bad.parse::<ChainHead>().is_err(), "{bad}");
    }
}
