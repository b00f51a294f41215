//! Bounds of the memory engine that no other engine shares: bytes, age and number of what it keeps.

use std::time::Duration;

use bytes::Bytes;
use domain::{Lane, Timestamp};
use tokio::time::advance;
use visavis_queue::{ConsumerOptions, Engine, Limit, MemoryEngine, MemoryOptions, Queue, QueueError};
use wire::v1::Envelope;

const LANE: Lane = Lane::Bulk;
const ROOMY: Limit = Limit { entries: 100, wait: Duration::MAX };

fn bytes(n: usize) -> Bytes {
    vec![0; n].into()
}

#[tokio::test]
async fn pictures_on_a_lane_are_bounded_in_bytes() {
    let engine = MemoryEngine::new(MemoryOptions { lane_bytes: 100, ..Default::default() });
    assert_eq!(engine.append(LANE, bytes(101), ROOMY).await, Err(QueueError::TooLarge { bytes: 101 }));
    engine.append(LANE, bytes(60), ROOMY).await.unwrap();
    assert!(matches!(engine.append(LANE, bytes(41), ROOMY).await, Err(QueueError::Overloaded { .. })));
    let held = engine.read(LANE, "one", 1, Duration::ZERO).await.unwrap().remove(0);
    assert!(matches!(engine.append(LANE, bytes(41), ROOMY).await, Err(QueueError::Overloaded { .. })), "still held");
    assert!(engine.ack(LANE, &held.receipt).await.unwrap());
    engine.append(LANE, bytes(100), ROOMY).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_bounded_in_number_and_age() {
    let options = MemoryOptions { dead_letter_capacity: 2, ..Default::default() };
    let engine = MemoryEngine::new(options);
    for n in 1..=3 {
        engine.append(LANE, bytes(n), ROOMY).await.unwrap();
        let held = engine.read(LANE, "one", 1, Duration::ZERO).await.unwrap().remove(0);
        engine.bury(LANE, &held.receipt, "why").await.unwrap();
    }
    let sizes: Vec<_> = engine.dead_letters(LANE, 9).await.unwrap().iter().map(|d| d.bytes.len()).collect();
    assert_eq!(sizes, [3, 2]);
    advance(options.dead_letter_ttl).await;
    assert!(engine.dead_letters(LANE, 9).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn unread_replies_are_bounded_in_number_and_age() {
    let options = MemoryOptions { reply_capacity: 2, ..Default::default() };
    let engine = MemoryEngine::new(options);
    let mut replies = engine.open_replies().await.unwrap();
    let address = replies.address().to_owned();
    for n in 1..=3 {
        engine.reply(&address, bytes(n)).await.unwrap();
    }
    assert_eq!(replies.next().await.unwrap().len(), 2);
    advance(options.reply_ttl).await;
    engine.reply(&address, bytes(4)).await.unwrap();
    assert_eq!(replies.next().await.unwrap().len(), 4, "the third reply was too old");
}

#[tokio::test]
async fn the_options_bound_reaches_the_facade() {
    let queue = Queue::memory(MemoryOptions { lane_capacity: 1, ..Default::default() });
    let job = Envelope {
        job_id: "j1".into(),
        tenant: "default".into(),
        deadline_ms: Timestamp::now().plus(Duration::from_secs(60)).as_millis(),
        ..Default::default()
    };
    queue.submit(LANE, &job).await.unwrap();
    assert!(matches!(queue.submit(LANE, &job).await, Err(QueueError::Overloaded { .. })));
    let consumer = queue.consumer(LANE, ConsumerOptions::default());
    let got = consumer.next(8).await.unwrap();
    assert_eq!(got.len(), 1);
    queue.submit(LANE, &job).await.expect("a job in a worker's hands takes no room");
}
