//! An older worker beside a newer gateway: fields it does not know change nothing, and a kind it does not know is left
//! to a newer worker. The rules are ADR 23's.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{JobId, Lane, Timestamp};
use queue::{Engine, Limit, Queue, RedisEngine, RedisOptions, Replies, SealedEngine};
use testkit::{Cluster, ClusterOptions, Person};
use wire::v1::{DetectRequest, Envelope, Image, Reply, envelope::Request, reply::Outcome};

use crate::{ALONE, inside};

const LIMIT: Limit = Limit { entries: 64, wait: Duration::from_secs(60) };
/// Field 500 of the envelope, three bytes: something that came with a newer version.
const NEWER_FIELD: [u8; 6] = [0xa2, 0x1f, 3, 1, 2, 3];

/// What a newer gateway puts on the lane.
fn job(id: &JobId, replies: &Replies, (request, lasting): (Option<Request>, Duration)) -> Bytes {
    let now = Timestamp::now();
    let envelope = Envelope {
        job_id: id.to_string(),
        tenant: "default".to_owned(),
        created_ms: now.as_millis(),
        deadline_ms: now.plus(lasting).as_millis(),
        reply_to: replies.address().to_owned(),
        request,
        ..Envelope::default()
    };
    [&wire::encode_envelope(&envelope)[..], &NEWER_FIELD].concat().into()
}

fn detect() -> Option<Request> {
    let images = vec![Image { data: Person::Astronaut.photo() }];
    Some(Request::Detect(DetectRequest { images, max_faces: 0 }))
}

fn code(reply: &Reply) -> &str {
    match &reply.outcome {
        Some(Outcome::Problem(problem)) => &problem.code,
        _ => "",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_fields_change_nothing_and_newer_kinds_are_left_to_newer_workers() {
    let _alone = ALONE.lock().await;
    let cluster = Cluster::start(ClusterOptions { gateways: 1, workers: 1, nginx: false, ..ClusterOptions::default() });
    let engine = RedisEngine::new(inside::link(&cluster), RedisOptions::default());
    let engine = Arc::new(SealedEngine::new(Arc::new(engine), &inside::keyring()).expect("a key"));
    let mut replies = Queue::new(Arc::clone(&engine) as Arc<dyn Engine>).open_replies().await.expect("replies");
    let [unknown, known, patient] = [(); 3].map(|()| JobId::generate());

    let waits = (None, Duration::from_secs(2));
    engine.append(Lane::Interactive, job(&unknown, &replies, waits), LIMIT).await.expect("room");
    let in_time = (detect(), Duration::from_secs(30));
    engine.append(Lane::Interactive, job(&known, &replies, in_time), LIMIT).await.expect("room");

    // The neighbour first, although it came later: what is unknown holds nobody up.
    let first = replies.next().await.expect("a reply");
    assert_eq!((first.job_id.as_str(), code(&first)), (known.as_str(), ""));
    let Some(Outcome::Detect(found)) = first.outcome else { panic!("no faces but {:?}", first.outcome) };
    assert_eq!(found.items[0].faces.len(), 1);
    let second = replies.next().await.expect("a reply");
    assert_eq!((second.job_id.as_str(), code(&second)), (unknown.as_str(), "deadline_exceeded"));

    // A newer worker comes: it reads the very bytes that were put there, whatever rounds they have made.
    let waits = (None, Duration::from_secs(60));
    let bytes = job(&patient, &replies, waits);
    engine.append(Lane::Interactive, bytes.clone(), LIMIT).await.expect("room");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let taken = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let entries = engine.read(Lane::Interactive, "newer", 1, Duration::from_secs(1)).await.expect("a read");
            if let Some(entry) = entries.into_iter().next() {
                return entry;
            }
        }
    });
    let taken = taken.await.expect("the newer worker gets it");
    assert_eq!(taken.bytes, bytes);
    assert!(engine.ack(Lane::Interactive, &taken.receipt).await.expect("acknowledged"));
    assert!(engine.dead_letters(Lane::Interactive, 10).await.expect("a look").is_empty());
    assert!(cluster.worker(0).output().contains("left to a newer worker"));
}
