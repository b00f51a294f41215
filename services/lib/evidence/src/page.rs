//! Many events of an audit trail as one value, for those that are old enough not to be looked at singly. Both hashes of
//! an event follow from the events before it: a page holds the first alone, and what remains is compressed.

use miniz_oxide::{deflate::compress_to_vec, inflate::decompress_to_vec_with_limit};

use crate::{AuditEvent, ChainHead, EvidenceError};

/// Most bytes of an opened page; one of 256 events has a tenth of a MiB, and a twentieth of this at the very most.
const OPEN: usize = 32 << 20;
/// How hard the compressor tries, of 10: more gives next to nothing.
const LEVEL: u8 = 8;

/// Events of one trail that follow each other, at least one. Their chain is verified: what does not verify is left as it
/// is, so that it can be told which event was changed.
///
/// # Errors
/// [`EvidenceError::Trail`] for events that do not make a chain, [`EvidenceError::Content`] for what has no JSON form.
pub fn pack_events(events: &[AuditEvent]) -> Result<Vec<u8>, EvidenceError> {
    let first = events.first().ok_or_else(|| EvidenceError::Trail("a page holds one event at least".into()))?;
    let mut head = ChainHead { seq: first.seq.saturating_sub(1), hash: first.prev.clone() };
    let mut text = json(&head)?;
    for event in events {
        let foreign = || (event.tenant != first.tenant).then(|| "it is of another tenant's trail".to_owned());
        if let Some(fault) = event.fault_after(&head)?.or_else(foreign) {
            return Err(EvidenceError::Trail(format!("event {} does not verify: {fault}", event.seq)));
        }
        head = event.head();
        text.push('\n');
        text += &AuditEvent { prev: String::new(), hash: String::new(), ..event.clone() }.line()?;
    }
    Ok(compress_to_vec(text.as_bytes(), LEVEL))
}

/// The events of a page, their hashes computed anew: a page that was changed no longer fits what follows it, which the
/// verification of the trail finds.
///
/// # Errors
/// [`EvidenceError::Content`] for what is no page.
pub fn unpack_events(page: &[u8]) -> Result<Vec<AuditEvent>, EvidenceError> {
    let content = |why: String| EvidenceError::Content(format!("a page of an audit trail: {why}"));
    let text = decompress_to_vec_with_limit(page, OPEN).map_err(|e| content(e.to_string()))?;
    let text = String::from_utf8(text).map_err(|e| content(e.to_string()))?;
    let mut lines = text.lines();
    let head = lines.next().ok_or_else(|| content("it is empty".into()))?;
    let mut head: ChainHead = serde_json::from_str(head).map_err(|e| content(e.to_string()))?;
    let mut events = Vec::new();
    for line in lines {
        let mut event: AuditEvent = serde_json::from_str(line).map_err(|e| content(e.to_string()))?;
        event.prev = head.hash;
        event.hash = event.computed()?;
        head = event.head();
        events.push(event);
    }
    Ok(events)
}

fn json(head: &ChainHead) -> Result<String, EvidenceError> {
    serde_json::to_string(head).map_err(|e| EvidenceError::Content(e.to_string()))
}

#[cfg(test)]
mod tests {
    use domain::{TenantId, Timestamp};
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::AuditDraft;

    /// Searches as a busy service puts them down: whom, which request and when differ in each.
    fn searches(after: &ChainHead, count: u64) -> Vec<AuditEvent> {
        let (tenant, mut head): (TenantId, _) = ("acme".parse().unwrap(), after.clone());
        let digits = |n: u64| hex::encode(Sha256::digest(n.to_le_bytes()));
        let events = (0..count).map(|n| {
            let draft = AuditDraft {
                time: Timestamp::from_millis(1_790_000_000_000 + i64::try_from(n * 31 + n * n % 17).unwrap()),
                actor: "key:3f8a1c".into(),
                action: "POST /v1/collections/{collection}/identify".into(),
                collection: Some("staff".parse().unwrap()),
                subjects: vec![digits(n)[..32].into()],
                more_subjects: 0,
                decisions: vec!["match".into()],
                outcome: "ok".into(),
                status: Some(200),
                reference: None,
                request_id: Some(digits(n + count)[..32].into()),
            };
            let event = AuditEvent::after(&head, &tenant, draft).unwrap();
            head = event.head();
            event
        });
        events.collect()
    }

    #[test]
    fn a_page_gives_back_every_byte_of_its_events_from_a_fifth_of_the_room() {
        let before = ChainHead { seq: 41, hash: "ab".repeat(32) };
        let events = searches(&before, 256);
        let page = pack_events(&events).unwrap();
        assert_eq!(unpack_events(&page).unwrap(), events);
        let single: usize = events.iter().map(|e| e.line().unwrap().len()).sum();
        assert!(page.len() * 5 < single, "{} of {single} bytes", page.len());
        // A part of it makes a page as well: what is left of one whose beginning was trimmed.
        assert_eq!(unpack_events(&pack_events(&events[200..]).unwrap()).unwrap(), events[200..]);
        assert!(pack_events(&[]).is_err());
    }

    #[test]
    fn what_does_not_verify_is_not_packed_and_the_event_is_named() {
        let whole = searches(&ChainHead::default(), 20);
        let changes: [fn(&mut Vec<AuditEvent>); 4] = [
            |e| e[7].outcome = "forbidden".into(),
            |e| drop(e.remove(7)),
            |e| e.swap(7, 8),
            |e| {
                e[7].outcome = "forbidden".into();
                e[7].hash = e[7].computed().unwrap();
                e.truncate(8);
                e.extend(searches(&ChainHead { seq: 8, hash: "0".repeat(64) }, 3));
            },
        ];
        for (change, named) in changes.into_iter().zip([8, 9, 9, 9]) {
            let mut events = whole.clone();
            change(&mut events);
            let Err(EvidenceError::Trail(why)) = pack_events(&events) else { panic!("packed") };
            assert!(why.contains(&format!("event {named} ")), "{why}");
        }
    }

    #[test]
    fn what_is_no_page_is_refused() {
        let bomb = compress_to_vec(&vec![b' '; OPEN + 1], 1);
        let headless = compress_to_vec(b"{\"seq\":1}", 1);
        for page in [&b""[..], b"no page", &bomb, &headless, &compress_to_vec(&[0xff, 0xfe], 1)] {
            assert!(matches!(unpack_events(page), Err(EvidenceError::Content(_))));
        }
    }
}
