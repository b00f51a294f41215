//! The server dies, forgets everything, or is silent: nothing acknowledged is lost, errors come in time, and all goes
//! on by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use domain::JobId;
use link::{Link, LinkOptions};
use parking_lot::Mutex;
use testkit::{FaultProxy, RedisServer};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};
use visavis_queue::{Abandoned, Engine, QueueError, RedisEngine, RedisOptions};

use crate::kit::{LANE, LONG, engine, engine_with, put, recovered, take_one};

const PRODUCERS: usize = 3;
const JOBS_EACH: usize = 150;
const CONSUMERS: usize = 3;

/// What became of each job, by its bytes.
#[derive(Default)]
struct Ledger {
    accepted: Mutex<BTreeSet<String>>,
    /// How often the engine said that it is done, and how often it could not tell.
    done: Mutex<BTreeMap<String, (u32, u32)>>,
}

async fn produce(engine: RedisEngine, ledger: Arc<Ledger>, who: usize) {
    for n in 0..JOBS_EACH {
        let job = format!("{who}-{n}");
        // A refused job may or may not be on the lane; another takes its turn.
        match put(&engine, job.clone()).await {
            Ok(()) => drop(ledger.accepted.lock().insert(job)),
            Err(QueueError::Unavailable(_)) => sleep(Duration::from_millis(50)).await,
            Err(other) => panic!("{other}"),
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn consume(engine: RedisEngine, ledger: Arc<Ledger>, who: usize) {
    let (name, idle) = (format!("consumer-{who}"), Duration::from_secs(2));
    loop {
        let mut entries = engine.reclaim(LANE, &name, Abandoned::silent(idle), 8).await.unwrap_or_default();
        if entries.is_empty() {
            entries = engine.read(LANE, &name, 8, Duration::from_millis(300)).await.unwrap_or_default();
        }
        if entries.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
        for entry in entries {
            let job = String::from_utf8(entry.bytes.to_vec()).unwrap();
            let outcome = engine.ack(LANE, &entry.receipt).await;
            let mut done = ledger.done.lock();
            let counts = done.entry(job).or_default();
            match outcome {
                Ok(true) => counts.0 += 1,
                Ok(false) => {}
                Err(_) => counts.1 += 1,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_loses_no_job_and_none_is_done_twice() {
    let mut server = RedisServer::start();
    let (engine, ledger) = (engine(&server.url()), Arc::new(Ledger::default()));
    let (mut producers, mut consumers) = (JoinSet::new(), JoinSet::new());
    for who in 0..PRODUCERS {
        producers.spawn(produce(engine.clone(), Arc::clone(&ledger), who));
    }
    for who in 0..CONSUMERS {
        consumers.spawn(consume(engine.clone(), Arc::clone(&ledger), who));
    }
    let killer = spawn_blocking(move || {
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(400));
            server.kill();
            std::thread::sleep(Duration::from_millis(300));
            server.restart();
        }
        server
    });
    let server = killer.await.unwrap();
    timeout(LONG, producers.join_all()).await.expect("every producer goes on");
    let emptied = async {
        loop {
            let depth = engine.depth(LANE).await;
            if depth.is_ok_and(|d| d.waiting + d.in_flight == 0) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, emptied).await.expect("the lane is worked off");
    consumers.shutdown().await;
    let (accepted, done) = (ledger.accepted.lock(), ledger.done.lock());
    assert!(accepted.len() > PRODUCERS * JOBS_EACH / 2, "only {} were accepted", accepted.len());
    for job in accepted.iter() {
        let (surely, perhaps) = done.get(job).copied().unwrap_or_default();
        assert!(surely + perhaps >= 1, "job {job} was accepted and never done");
        assert!(surely <= 1, "job {job} was done {surely} times");
    }
    drop(server);
}

#[tokio::test]
async fn a_lane_survives_its_server() {
    let mut server = RedisServer::start();
    let e = engine(&server.url());
    put(&e, "held").await.unwrap();
    put(&e, "waiting").await.unwrap();
    let held = take_one(&e, "one").await;
    server.restart();
    recovered(&e).await;
    let depth = e.depth(LANE).await.unwrap();
    assert_eq!((depth.waiting, depth.in_flight), (1, 1));
    let taken = e.reclaim(LANE, "two", Abandoned::silent(Duration::ZERO), 9).await.unwrap();
    assert_eq!((&taken[0].bytes[..], taken[0].receipt.deliveries), (&b"held"[..], 2));
    assert!(!e.ack(LANE, &held.receipt).await.unwrap(), "taken over");
    assert_eq!(&take_one(&e, "one").await.bytes[..], b"waiting");
}

#[tokio::test]
async fn a_server_that_lost_everything_is_used_on() {
    let server = RedisServer::start();
    let e = engine(&server.url());
    let mut replies = e.open_replies().await.unwrap();
    e.reply(replies.address(), Bytes::from_static(b"first")).await.unwrap();
    assert_eq!(replies.next().await.unwrap(), &b"first"[..]);
    put(&e, "lost").await.unwrap();
    let held = take_one(&e, "one").await;
    let waiting = {
        let e = e.clone();
        tokio::spawn(async move { e.read(LANE, "one", 1, LONG).await.unwrap() })
    };
    sleep(Duration::from_millis(200)).await;
    assert!(server.command(&["FLUSHALL"]).starts_with("+OK"));
    assert!(!e.ack(LANE, &held.receipt).await.unwrap(), "what is lost is not acknowledged");
    assert_eq!(e.depth(LANE).await.unwrap().in_flight, 0);
    put(&e, "after").await.unwrap();
    let got = timeout(LONG / 2, waiting).await.expect("the reader goes on").unwrap();
    assert_eq!(&got[0].bytes[..], b"after");
    e.reply(replies.address(), Bytes::from_static(b"second")).await.unwrap();
    let reply = timeout(LONG / 2, replies.next()).await.expect("the reply stream goes on");
    assert_eq!(reply.unwrap(), &b"second"[..]);
}

#[tokio::test]
async fn a_reply_sent_after_an_outage_comes_soon() {
    let mut server = RedisServer::start();
    let e = engine(&server.url());
    let mut replies = e.open_replies().await.unwrap();
    server.kill();
    // Long enough for many attempts.
    sleep(Duration::from_secs(2)).await;
    server.restart();
    recovered(&e).await;
    e.reply(replies.address(), Bytes::from_static(b"late")).await.unwrap();
    let mut errors = 0;
    let reply = loop {
        match timeout(LONG / 2, replies.next()).await.expect("it comes") {
            Ok(reply) => break reply,
            Err(_) => errors += 1,
        }
    };
    assert_eq!(reply, &b"late"[..]);
    assert!((1..=2).contains(&errors), "the outage is told {errors} times");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_network_is_an_error_in_time_and_heals() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address());
    let link = LinkOptions {
        connect_timeout: Duration::from_millis(500),
        response_timeout: Duration::from_secs(1),
        ..LinkOptions::new(server.url_through(proxy.address()))
    };
    let e = engine_with(link, RedisOptions::default());
    // Fills the pool: all of its connections go silent at once.
    let all: Vec<_> = (0..16).map(|_| tokio::spawn(check(e.clone()))).collect();
    for one in all {
        one.await.unwrap().1.unwrap();
    }
    put(&e, "before").await.unwrap();
    let reader = {
        let e = e.clone();
        tokio::spawn(async move {
            loop {
                match e.read(LANE, "one", 9, LONG).await {
                    Ok(entries) => return entries,
                    Err(_) => sleep(Duration::from_millis(100)).await,
                }
            }
        })
    };
    assert_eq!(&timeout(LONG, reader).await.unwrap().unwrap()[0].bytes[..], b"before");
    proxy.hang();
    for _ in 0..3 {
        let (took, outcome) = check(e.clone()).await;
        assert!(matches!(outcome, Err(QueueError::Unavailable(_))), "{outcome:?}");
        // Connect and response timeout, and time for a busy machine.
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    proxy.heal();
    let began = Instant::now();
    recovered(&e).await;
    put(&e, "after").await.unwrap();
    assert_eq!(&e.read(LANE, "two", 9, LONG).await.unwrap()[0].bytes[..], b"after");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

async fn check(engine: RedisEngine) -> (Duration, Result<(), QueueError>) {
    let began = Instant::now();
    let outcome = engine.check().await;
    (began.elapsed(), outcome)
}

/// The server hands an entry over, and the answer is lost on the way: the entry is in the hands of a consumer that lives
/// and does not know of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_whose_delivery_is_lost_on_the_way_is_delivered_again_at_once() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address());
    let options = LinkOptions::new(server.url());
    let link = LinkOptions { prefix: format!("vv:{}", JobId::generate()), ..options };
    let direct = RedisEngine::new(Link::new(link.clone()).unwrap(), RedisOptions::default());
    let through = LinkOptions { url: server.url_through(proxy.address()), ..link };
    let e = RedisEngine::new(Link::new(through).unwrap(), RedisOptions::default());
    put(&direct, "known").await.unwrap();
    let known = take_one(&e, "one").await;
    let lost = async |reader: &tokio::task::JoinHandle<_>| {
        // Until it waits at the server, which it does for a second at a time.
        let waits = |l: &str| l.contains("cmd=xreadgroup") && l.contains("flags=b");
        while !server.command(&["CLIENT", "LIST"]).lines().any(waits) {
            sleep(Duration::from_millis(5)).await;
        }
        proxy.hang();
        put(&direct, "lost").await.unwrap();
        let began = Instant::now();
        while direct.depth(LANE).await.unwrap().in_flight < 2 {
            if began.elapsed() > Duration::from_secs(2) {
                return false;
            }
            sleep(Duration::from_millis(5)).await;
        }
        !reader.is_finished()
    };
    let reader = loop {
        let e = e.clone();
        let reader = tokio::spawn(async move { e.read(LANE, "one", 9, LONG).await });
        if lost(&reader).await {
            break reader;
        }
        // Its second was just over.
        proxy.heal();
        for entry in reader.await.unwrap().unwrap() {
            direct.ack(LANE, &entry.receipt).await.unwrap();
        }
    };
    proxy.cut();
    assert!(reader.await.unwrap().is_err(), "the answer is gone");
    proxy.heal();
    let again = timeout(LONG / 2, e.read(LANE, "one", 9, LONG)).await.expect("not when it has been idle").unwrap();
    assert_eq!((again.len(), &again[0].bytes[..], again[0].receipt.deliveries), (1, &b"lost"[..], 1));
    assert!(e.ack(LANE, &again[0].receipt).await.unwrap());
    assert!(e.ack(LANE, &known.receipt).await.unwrap(), "what it had stays its own");
    assert!(e.read(LANE, "one", 9, Duration::from_secs(3)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_server_that_is_away_is_an_error_at_once() {
    let mut server = RedisServer::start();
    let e = engine(&server.url());
    put(&e, "a").await.unwrap();
    server.kill();
    let began = Instant::now();
    assert!(matches!(put(&e, "b").await, Err(QueueError::Unavailable(_))));
    assert!(matches!(e.check().await, Err(QueueError::Unavailable(_))));
    assert!(matches!(e.read(LANE, "one", 1, LONG).await, Err(QueueError::Unavailable(_))));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_a_thread_of_its_own_drops_goes_back_and_a_drain_waits_for_it() {
    let server = RedisServer::start();
    let e = engine(&server.url());
    put(&e, "a").await.unwrap();
    let held = take_one(&e, "one").await;
    let dropped = {
        let e = e.clone();
        std::thread::spawn(move || e.release_dropped(LANE, &held.receipt))
    };
    spawn_blocking(|| dropped.join().unwrap()).await.unwrap();
    assert!(e.leave(LANE, "one").await.unwrap(), "nothing is in its hands any more");
    assert_eq!(take_one(&e, "two").await.receipt.deliveries, 2);
}
