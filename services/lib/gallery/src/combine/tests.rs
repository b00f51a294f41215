//! Who waits goes together; who comes alone goes at once; nobody is lost.

use std::sync::mpsc;

use super::*;
use crate::{Query, directory::Directory, kernels::Kernel};

fn probe(limit: usize) -> Arc<Probe> {
    Arc::new(Probe::new(&Query::new(&[1.0], limit), &Directory::default(), Kernel::best()))
}

/// An answer that tells whose it is.
fn answers(probes: &[Arc<Probe>]) -> Answers {
    let hits = |p: &Arc<Probe>| Hits { hits: vec![], compared_rows: p.wanted.limit, compared_subjects: 0, exact: true };
    Ok(probes.iter().map(hits).collect())
}

fn whose(answers: Answers) -> Vec<usize> {
    answers.unwrap().iter().map(|h| h.compared_rows).collect()
}

#[test]
fn searches_that_come_during_a_pass_share_the_next() {
    let combiner = Combiner::default();
    let (begun, has_begun) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    std::thread::scope(|s| {
        let combiner = &combiner;
        let first = s.spawn(move || {
            combiner.run(vec![probe(1)], |probes| {
                begun.send(()).unwrap();
                may_go.recv().unwrap();
                answers(&probes)
            })
        });
        has_begun.recv().unwrap();
        let (sizes, seen) = mpsc::channel();
        let later: Vec<_> = (2..7)
            .map(|n| {
                let sizes = sizes.clone();
                s.spawn(move || {
                    combiner.run(vec![probe(n), probe(10 * n)], |probes| {
                        sizes.send(probes.len()).unwrap();
                        answers(&probes)
                    })
                })
            })
            .collect();
        while combiner.state.lock().waiting.len() < 5 {
            std::thread::yield_now();
        }
        go.send(()).unwrap();
        assert_eq!(whose(first.join().unwrap()), [1]);
        for (n, thread) in (2..7).zip(later) {
            assert_eq!(whose(thread.join().unwrap()), [n, 10 * n]);
        }
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), [10], "one pass for all who waited");
    });
    assert!(!combiner.state.lock().busy);
    assert_eq!(whose(combiner.run(vec![probe(8)], |probes| answers(&probes))), [8], "alone, at once");
}

#[test]
fn a_pass_that_fails_fails_for_all_and_holds_up_nobody() {
    let combiner = Combiner::default();
    let failed = combiner.run(vec![probe(1)], |_| Err(Failed::Closed));
    assert_eq!(failed.unwrap_err(), Failed::Closed);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        combiner.run(vec![probe(1)], |_| panic!("on purpose"))
    }));
    assert!(panicked.is_err());
    assert_eq!(whose(combiner.run(vec![probe(2)], |probes| answers(&probes))), [2]);
}

#[test]
fn a_pass_has_no_more_than_so_many_probes() {
    let combiner = Combiner::default();
    std::thread::scope(|s| {
        for n in 0..8 {
            let combiner = &combiner;
            s.spawn(move || {
                for _ in 0..100 {
                    let probes: Vec<_> = (0..20).map(|i| probe(100 * n + i)).collect();
                    let found = combiner.run(probes, |probes| {
                        assert!(probes.len() <= MOST_PROBES);
                        answers(&probes)
                    });
                    assert_eq!(whose(found), (100 * n..100 * n + 20).collect::<Vec<_>>());
                }
            });
        }
    });
}
