//! A server without room: callers are told to come back, and workers can still finish what makes room.

use bytes::Bytes;
use testkit::{RedisOptions as ServerOptions, RedisServer};
use visavis_queue::{Attempt, Engine, QueueError};

use crate::kit::{LANE, engine, put, take_one};

#[tokio::test]
async fn a_full_server_sheds_load_and_is_worked_off() {
    let arguments = ["--maxmemory", "24mb"].map(String::from).to_vec();
    let server = RedisServer::start_with(ServerOptions { arguments, ..ServerOptions::default() });
    let e = engine(&server.url());
    let mut replies = e.open_replies().await.unwrap();
    let picture = Bytes::from(vec![7; 512 << 10]);
    let mut accepted = 0;
    let refused = loop {
        match put(&e, picture.clone()).await {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 100, "the bound of the server is never met");
    };
    assert!(matches!(refused, QueueError::Overloaded { retry_after } if !retry_after.is_zero()), "{refused:?}");
    e.check().await.expect("full lanes are no outage");
    // Everything that ends a job still works; only then is there room again.
    let released = take_one(&e, "one").await;
    assert!(e.release(LANE, &released.receipt, Attempt::Counts).await.unwrap());
    let requeued = take_one(&e, "one").await;
    assert!(e.touch(LANE, &requeued.receipt).await.unwrap());
    assert!(e.requeue(LANE, &requeued.receipt).await.unwrap());
    let buried = take_one(&e, "one").await;
    assert!(e.bury(LANE, &buried.receipt, "why").await.unwrap());
    for _ in 1..accepted {
        let held = take_one(&e, "one").await;
        assert_eq!(held.bytes.len(), picture.len());
        e.reply(replies.address(), Bytes::from_static(b"done")).await.unwrap();
        assert_eq!(replies.next().await.unwrap(), &b"done"[..]);
        assert!(e.ack(LANE, &held.receipt).await.unwrap());
    }
    put(&e, picture).await.expect("there is room again");
}
