//! Who may do what at the server: a user with the least permissions, one without, a wrong password, encryption.

use std::time::Duration;

use bytes::Bytes;
use domain::JobId;
use link::LinkOptions;
use testkit::{Product, RedisOptions as ServerOptions, RedisServer};
use visavis_queue::{Abandoned, Attempt, Engine, Member, QueueError, Rate, RedisEngine, RedisOptions};

use crate::kit::{LANE, LONG, engine, engine_with, put, take_one};

/// All that the queue needs; `config|get` only spares a warning at the start.
const PERMISSIONS: &str = "+ping +info +time +evalsha +script|load +get +set +mget +exists +del +strlen +incrby \
    +pexpire +persist +xadd +xack +xdel +xlen +xrange +xrevrange +xread +xreadgroup +xtrim +xpending +xclaim +xautoclaim \
    +xinfo|groups +xinfo|stream +xinfo|consumers +xgroup|create +xgroup|delconsumer +zadd +zrem +zrange \
    +zrangebyscore +hset +hget +hdel";

fn with_user(server: &RedisServer, permissions: &str) -> LinkOptions {
    let mut command = vec!["ACL", "SETUSER", "visavis", "reset", "on", ">s3cret", "~vv:*"];
    command.extend(permissions.split_ascii_whitespace());
    let answer = server.command(&command);
    assert!(answer.starts_with("+OK"), "{answer}");
    LinkOptions::new(server.url().replace("redis://", "redis://visavis:s3cret@"))
}

async fn everything(e: &RedisEngine) -> Result<(), QueueError> {
    e.check().await?;
    e.check_server().await?;
    let mut replies = e.open_replies().await?;
    for n in 0..6 {
        put(e, format!("{n}")).await?;
    }
    let first = e.read(LANE, "one", 1, LONG).await?.remove(0);
    e.touch(LANE, &first.receipt).await?;
    e.release(LANE, &first.receipt, Attempt::Counts).await?;
    let second = take_one(e, "one").await;
    e.requeue(LANE, &second.receipt).await?;
    for retry in [true, false] {
        let third = take_one(e, "one").await;
        e.bury(LANE, &third.receipt, "why").await?;
        let letter = e.dead_letters(LANE, 1).await?.remove(0);
        match retry {
            true => e.retry_dead_letter(LANE, &letter.id, Some(Bytes::from_static(b"new"))).await?,
            false => e.drop_dead_letter(LANE, &letter.id).await?,
        };
    }
    let fourth = take_one(e, "one").await;
    e.reply(replies.address(), Bytes::from_static(b"done")).await?;
    replies.next().await?;
    e.ack(LANE, &fourth.receipt).await?;
    take_one(e, "one").await;
    e.reclaim(LANE, "two", Abandoned::silent(Duration::ZERO), 9).await?;
    e.holders(LANE).await?;
    e.leave(LANE, "one").await?;
    e.depth(LANE).await?;
    let job = JobId::generate();
    e.cancel(&job).await?;
    e.cancelled(&[job.as_str()]).await?;
    e.join(&Member { name: "a".into(), note: Bytes::new() }, LONG).await?;
    e.join(&Member { name: "b".into(), note: Bytes::new() }, Duration::ZERO).await?;
    assert_eq!(e.members().await?.len(), 1);
    e.part("a").await?;
    e.spend("anna", 1, Rate { per_second: 1.0, burst: 1 }).await?;
    Ok(())
}

#[tokio::test]
async fn a_user_with_the_documented_permissions_can_do_everything() {
    let redis = RedisServer::redis_or_skip(ServerOptions::default());
    for server in [Some(RedisServer::start()), redis].into_iter().flatten() {
        let e = engine_with(
            with_user(&server, PERMISSIONS),
            RedisOptions { forget_consumer: Duration::ZERO, ..Default::default() },
        );
        everything(&e).await.unwrap();
        let report = e.check_server().await.unwrap();
        assert!(report.errors.is_empty(), "{report:?}");
        assert!(report.warnings.iter().any(|w| w.contains("does not tell")), "no CONFIG: {report:?}");
    }
}

#[tokio::test]
async fn a_missing_permission_and_a_wrong_password_are_told_plainly() {
    let server = RedisServer::start();
    let e = engine_with(with_user(&server, "+ping"), RedisOptions::default());
    for outcome in [e.check().await, put(&e, "a").await, e.cancelled(&["a"]).await.map(drop)] {
        assert!(matches!(&outcome, Err(QueueError::Refused(why)) if why.contains("permission")), "{outcome:?}");
    }
    let wrong = LinkOptions { url: server.url().replace("redis://", "redis://visavis:wr0ng@"), ..LinkOptions::new("") };
    let e = engine_with(wrong, RedisOptions::default());
    for outcome in [e.check().await, e.read(LANE, "one", 1, LONG).await.map(drop)] {
        let text = format!("{outcome:?}");
        assert!(matches!(outcome, Err(QueueError::Refused(_))), "{text}");
        assert!(!text.contains("wr0ng"), "{text}");
    }
    let locked = ServerOptions { user: Some(("admin".into(), "s3cret".into())), ..ServerOptions::default() };
    let locked = RedisServer::start_with(locked);
    let e = engine(&locked.url().replace("admin:s3cret@", ""));
    let outcome = e.check().await;
    assert!(matches!(outcome, Err(QueueError::Refused(_))), "no login at all: {outcome:?}");
    engine(&locked.url()).check().await.expect("with user and password");
}

#[tokio::test]
async fn encryption_trusts_the_given_authority_alone() {
    let options = ServerOptions { tls: true, product: Product::Redis, ..ServerOptions::default() };
    let Some(server) = RedisServer::redis_or_skip(options) else { return };
    let trusting = LinkOptions { tls_ca: Some(server.ca()), ..LinkOptions::new(server.url()) };
    let e = engine_with(trusting.clone(), RedisOptions::default());
    everything(&e).await.unwrap();
    let outcome = engine(&server.url()).check().await;
    assert!(matches!(&outcome, Err(QueueError::Unavailable(why)) if why.contains("certificate")), "{outcome:?}");
    let no_file = LinkOptions { tls_ca: Some("/nonexistent/ca.pem".into()), ..trusting };
    let error = link::Link::new(no_file).expect_err("refused before any connection");
    assert!(error.to_string().contains("ca.pem"), "{error}");
}

#[tokio::test]
async fn a_server_that_asks_for_certificates_lets_in_who_has_one() {
    let options = ServerOptions { tls: true, client_certificates: true, product: Product::Redis, ..Default::default() };
    let Some(server) = RedisServer::redis_or_skip(options) else { return };
    let without = LinkOptions { tls_ca: Some(server.ca()), ..LinkOptions::new(server.url()) };
    let with = LinkOptions { tls_identity: Some(server.client_identity()), ..without.clone() };
    everything(&engine_with(with, RedisOptions::default())).await.unwrap();
    let outcome = engine_with(without, RedisOptions::default()).check().await;
    assert!(matches!(&outcome, Err(QueueError::Unavailable(_))), "{outcome:?}");
}
