//! Searches beside changes: never a row deleted before the search began, never one missing that was there throughout.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use visavis_gallery::{FlatIndex, Index, Query, Row};

use crate::common::*;

/// Wide, so that the rows lie in several blocks.
const DIM: usize = 512;
const STABLE: u32 = 500;
const ROUNDS: u32 = 1_000;

/// Raised when dropped, by a panic too.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn searches_beside_changes_see_every_acknowledged_change() {
    let index = FlatIndex::new(contract(1));
    let put = |subject: u16, face: u32| {
        let t = template(1, u64::from(face), DIM);
        index.upsert(&[Row { key: key(subject, face), template: &t, subject: entry(subject, &[]) }]).unwrap();
    };
    (0..STABLE).for_each(|face| put(u16::try_from(face).unwrap(), face));
    // Faces from STABLE on come and go. `enrolled` and `erased` count acknowledged changes, `erasing` those begun.
    let (enrolled, erasing, erased) = (AtomicU32::new(STABLE), AtomicU32::new(STABLE), AtomicU32::new(STABLE));
    let (done, searches) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|s| {
        s.spawn(|| {
            for face in STABLE..STABLE + ROUNDS {
                // Keeps searches under way until the last change; a failed reader lets the rest run out.
                while searches.load(Ordering::SeqCst) < face - STABLE && !done.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                put(u16::try_from(face).unwrap(), face);
                enrolled.store(face + 1, Ordering::SeqCst);
                // A few stay enrolled at any time.
                if face >= STABLE + 8 {
                    erasing.store(face - 7, Ordering::SeqCst);
                    index.delete(&[key(u16::try_from(face - 8).unwrap(), face - 8)]);
                    erased.store(face - 7, Ordering::SeqCst);
                    index.erase_barrier();
                }
            }
            done.store(true, Ordering::SeqCst);
        });
        for reader in 0..3u32 {
            let (index, enrolled, erasing, erased) = (&index, &enrolled, &erasing, &erased);
            let (done, searches) = (&done, &searches);
            s.spawn(move || {
                let _end = Ends(done);
                let mut n = reader;
                while !done.load(Ordering::SeqCst) {
                    n += 1;
                    let lately = erased.load(Ordering::SeqCst);
                    // One that was there throughout, one just erased, one enrolled and perhaps about to go.
                    let (there, gone, newest) = (n % STABLE, lately - 1, enrolled.load(Ordering::SeqCst) - 1);
                    for (face, expect) in
                        [(there, Some(true)), (gone, (gone >= STABLE).then_some(false)), (newest, None)]
                    {
                        let probe = direction(u64::from(face), DIM);
                        let hits =
                            index.search(&Query { min_score: Some(0.98), ..Query::new(&probe, 2) }).unwrap().hits;
                        let found = hits.iter().any(|h| h.face_id == face_id(face));
                        searches.fetch_add(1, Ordering::SeqCst);
                        for hit in &hits {
                            let face: u16 = hit.face_id.as_str()[1..].parse().unwrap();
                            assert_eq!(hit.subject.id, subject_id(face), "a hit names its own subject");
                        }
                        match expect {
                            Some(expect) => assert_eq!(found, expect, "face {face}"),
                            // Acknowledged before the search: missing only if erased meanwhile.
                            None => assert!(found || erasing.load(Ordering::SeqCst) > face),
                        }
                    }
                }
            });
        }
    });
    assert_eq!(index.len(), STABLE as usize + 8);
    let hits = Arc::new(index.search(&Query::new(&direction(0, DIM), 1)).unwrap());
    assert_eq!(hits.hits[0].face_id, face_id(0));
}
