//! The sealed engine: what the server holds shows nothing of a job, and what does not open is kept, not done.
#![expect(clippy::unwrap_used, reason = "a failed expectation fails the test")]

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{JobId, Lane, Timestamp};
use link::{Link, LinkOptions};
use seal::Keyring;
use testkit::RedisServer;
use visavis_queue::{ConsumerOptions, Engine, Queue, RedisEngine, RedisOptions, SealedEngine, describe};
use wire::v1::{DetectRequest, Envelope, Image, Problem, Reply, WorkerPresence, envelope::Request, reply::Outcome};

const A: &str = "aa0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const B: &str = "bb0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const PICTURE: &[u8] = b"zq-picture-of-somebody, a long way from random";
const LANE: Lane = Lane::Interactive;

fn queue(server: &RedisServer, keys: &str) -> Queue {
    let engine = RedisEngine::new(Link::new(LinkOptions::new(server.url())).unwrap(), RedisOptions::default());
    let sealed = SealedEngine::new(Arc::new(engine) as Arc<dyn Engine>, &Keyring::parse(keys).unwrap());
    Queue::new(Arc::new(sealed.unwrap()))
}

fn job(reply_to: &str) -> Envelope {
    let now = Timestamp::now();
    let images = vec![Image { data: Bytes::from_static(PICTURE) }];
    Envelope {
        job_id: JobId::generate().to_string(),
        tenant: "zq-tenant".into(),
        created_ms: now.as_millis(),
        deadline_ms: now.plus(Duration::from_secs(60)).as_millis(),
        reply_to: reply_to.into(),
        request: Some(Request::Detect(DetectRequest { images, max_faces: 0 })),
        ..Default::default()
    }
}

/// Whether any file of the server shows this.
fn shown(dir: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return shown(&path, needle);
        }
        std::fs::read(path).is_ok_and(|b| b.windows(needle.len()).any(|w| w == needle))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_files_show_no_picture_no_reply_and_no_word_of_a_member() {
    let server = RedisServer::start();
    let queue = queue(&server, A);
    let mut replies = queue.open_replies().await.unwrap();
    let presence = WorkerPresence { name: "w1".into(), inbox: "zq-inbox".into(), ..WorkerPresence::default() };
    queue.announce(&presence, Duration::from_secs(60)).await.unwrap();
    for _ in 0..3 {
        queue.submit(LANE, &job(replies.address())).await.unwrap();
    }
    let consumer = queue.consumer(LANE, ConsumerOptions::default());
    let mut taken = consumer.next(2).await.unwrap();
    let answered = taken.pop().expect("a job");
    let reply = Reply {
        job_id: answered.envelope.job_id.clone(),
        outcome: Some(Outcome::Problem(Problem { detail: "zq-reply".into(), ..Problem::default() })),
        ..Reply::default()
    };
    answered.settle(&reply).await.unwrap();
    for delivery in taken {
        delivery.bury("for a look").await.unwrap();
    }
    let _ = (server.command(&["SAVE"]), server.command(&["BGREWRITEAOF"]));
    for secret in [PICTURE, b"zq-tenant", b"zq-reply", b"zq-inbox"] {
        assert!(!shown(server.data_dir(), secret), "{}", String::from_utf8_lossy(secret));
    }
    assert!(shown(server.data_dir(), b"for a look"), "the search finds what is not sealed");
    assert_eq!(replies.next().await.unwrap(), reply);
    assert_eq!(queue.workers().await.unwrap(), [presence]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_under_a_key_that_is_not_there_is_kept_until_it_is() {
    let server = RedisServer::start();
    let (theirs, ours) = (queue(&server, A), queue(&server, B));
    let envelope = job("");
    theirs.submit(LANE, &envelope).await.unwrap();
    // It is put aside, not done.
    let consumer = ours.consumer(LANE, ConsumerOptions::default());
    let looked = tokio::time::timeout(Duration::from_millis(500), consumer.next(1)).await;
    assert!(!looked.is_ok_and(|found| found.is_ok_and(|d| !d.is_empty())));
    let letter = ours.dead_letters(LANE, 9).await.unwrap().pop().expect("a dead letter");
    assert!(describe(&letter).is_none() && letter.reason.contains("unreadable"), "{}", letter.reason);
    // With both keys it can be read and done.
    let both = queue(&server, &format!("{B}\n{A}"));
    let letter = both.dead_letter(LANE, &letter.id).await.unwrap().expect("it is there");
    assert_eq!(describe(&letter).map(|d| d.job_id), Some(envelope.job_id.clone()));
    assert!(both.retry_dead_letter(LANE, &letter.id).await.unwrap());
    let delivery = both.consumer(LANE, ConsumerOptions::default()).next(1).await.unwrap().pop().expect("the job");
    assert_eq!((&delivery.envelope.job_id, &delivery.envelope.request), (&envelope.job_id, &envelope.request));
    delivery.acknowledge().await.unwrap();
}
