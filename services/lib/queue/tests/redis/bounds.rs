//! What a lane, its dead letters and a reply stream may hold, and that nothing stays behind on the server.

use std::time::Duration;

use bytes::Bytes;
use link::LinkOptions;
use testkit::RedisServer;
use tokio::time::{sleep, timeout};
use visavis_queue::{Abandoned, Engine, QueueError, RedisEngine, RedisOptions};

use crate::kit::{LANE, LONG, engine_with, put, take_one};

fn bounded(server: &RedisServer, options: RedisOptions) -> RedisEngine {
    engine_with(LinkOptions::new(server.url()), options)
}

fn bytes(n: usize) -> Bytes {
    vec![0; n].into()
}

fn keys(server: &RedisServer) -> String {
    server.command(&["KEYS", "*"])
}

#[tokio::test]
async fn pictures_on_a_lane_are_bounded_in_bytes_and_leave_nothing_behind() {
    let server = RedisServer::start();
    let e = bounded(&server, RedisOptions { lane_bytes: 100, ..Default::default() });
    assert_eq!(put(&e, bytes(101)).await, Err(QueueError::TooLarge { bytes: 101 }));
    put(&e, bytes(60)).await.unwrap();
    assert!(matches!(put(&e, bytes(41)).await, Err(QueueError::Overloaded { .. })));
    let held = take_one(&e, "one").await;
    assert!(matches!(put(&e, bytes(41)).await, Err(QueueError::Overloaded { .. })), "still held");
    assert!(e.ack(LANE, &held.receipt).await.unwrap());
    put(&e, bytes(100)).await.unwrap();
    let held = take_one(&e, "one").await;
    assert!(e.ack(LANE, &held.receipt).await.unwrap());
    let left = keys(&server);
    assert!(left.starts_with("*1\r\n") && left.contains("jobs"), "only the empty lane is left: {left}");
}

#[tokio::test]
async fn dead_letters_are_bounded_in_number_and_age_with_their_pictures() {
    let server = RedisServer::start();
    let ttl = Duration::from_secs(3);
    let e = bounded(&server, RedisOptions { dead_letter_capacity: 2, dead_letter_ttl: ttl, ..Default::default() });
    for n in 1..=3 {
        put(&e, bytes(n)).await.unwrap();
        let held = take_one(&e, "one").await;
        assert!(e.bury(LANE, &held.receipt, "why").await.unwrap());
    }
    let letters = e.dead_letters(LANE, 9).await.unwrap();
    assert_eq!(letters.iter().map(|d| d.bytes.len()).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(e.dead_letter(LANE, &letters[1].id).await.unwrap().unwrap().bytes.len(), 2);
    assert_eq!(keys(&server).matches("body:").count(), 2, "the picture of the oldest is gone");
    sleep(ttl).await;
    assert_eq!(keys(&server).matches("body:").count(), 0, "so are the others, looked at or not");
    assert!(e.dead_letters(LANE, 9).await.unwrap().is_empty());
    assert!(!e.retry_dead_letter(LANE, &letters[0].id, None).await.unwrap());
}

#[tokio::test]
async fn what_is_no_id_of_a_dead_letter_is_not_there() {
    let server = RedisServer::start();
    let e = bounded(&server, RedisOptions::default());
    let id = visavis_queue::EntryId::new("no id");
    assert!(e.dead_letter(LANE, &id).await.unwrap().is_none());
    assert!(!e.drop_dead_letter(LANE, &id).await.unwrap());
    assert!(!e.retry_dead_letter(LANE, &id, None).await.unwrap());
}

#[tokio::test]
async fn a_reply_stream_goes_with_its_reader() {
    let server = RedisServer::start();
    let e = bounded(&server, RedisOptions { reply_ttl: Duration::from_secs(2), ..Default::default() });
    let mut replies = e.open_replies().await.unwrap();
    let address = replies.address().to_owned();
    e.reply(&address, bytes(1)).await.unwrap();
    assert_eq!(replies.next().await.unwrap().len(), 1);
    drop(replies);
    // A late reply makes the stream once more, for a short time.
    e.reply(&address, bytes(2)).await.unwrap();
    let gone = async {
        while keys(&server).contains("replies") {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, gone).await.expect("it expires");
}

#[tokio::test]
async fn a_reply_goes_to_reply_streams_only() {
    let server = RedisServer::start();
    let e = bounded(&server, RedisOptions::default());
    e.reply("precious", bytes(1)).await.expect("dropped without a word");
    assert_eq!(keys(&server), "*0\r\n");
}

#[tokio::test]
async fn a_consumer_that_was_not_seen_for_long_is_forgotten_unless_it_holds_something() {
    let server = RedisServer::start();
    let e = bounded(&server, RedisOptions { forget_consumer: Duration::from_millis(300), ..Default::default() });
    put(&e, "a").await.unwrap();
    let held = take_one(&e, "holds").await;
    assert!(e.read(LANE, "lazy", 1, Duration::ZERO).await.unwrap().is_empty());
    sleep(Duration::from_millis(500)).await;
    assert!(e.reclaim(LANE, "looks", Abandoned::silent(LONG), 9).await.unwrap().is_empty());
    let jobs = keys(&server).lines().find(|k| k.ends_with(":jobs")).unwrap().to_owned();
    let names = server.command(&["XINFO", "CONSUMERS", &jobs, "workers"]);
    assert!(names.contains("holds") && !names.contains("lazy"), "{names}");
    assert!(e.ack(LANE, &held.receipt).await.unwrap(), "its hold is good");
}
