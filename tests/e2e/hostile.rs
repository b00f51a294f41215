//! Callers who speak HTTP to do harm: heads that do not end, messages that two readers would take differently, streams
//! reset as soon as they are opened, floods of frames that cost nothing to send. Each is refused or closed, others are
//! served meanwhile, and memory stays where it was. All of it against a service of its own on the loopback interface.

use std::time::{Duration, Instant};

use testkit::{AppOptions, TestApp, forget_peak};
use tokio::{sync::Mutex, task::JoinSet};

use crate::{
    floods::{self, Attacked, SERVED_WITHIN, SILENCE},
    frames::{DATA, END_HEADERS, GOAWAY, HEADERS, RST_STREAM, SETTINGS, frame, get, kinds},
    raw::Raw,
    smuggling::{never_two, smuggling},
};

/// One at a time: each looks at the memory of the service.
static ALONE: Mutex<()> = Mutex::const_new(());
/// Connections that the service of these tests takes.
const CONNECTIONS: usize = 64;
/// Most memory that an attack may add, as far as this process's allocator lets it be seen.
const MEMORY: u64 = 96 << 20;

fn service() -> &'static TestApp {
    static SERVICE: std::sync::OnceLock<TestApp> = std::sync::OnceLock::new();
    SERVICE.get_or_init(|| {
        let most = ("VISAVIS__GATEWAY__MAX_CONNECTIONS".to_owned(), CONNECTIONS.to_string());
        TestApp::start_with(AppOptions { environment: vec![most], ..AppOptions::default() })
    })
}

fn raw(protocol: &str) -> Raw {
    Raw::new(service().address(), &service().certificate(), protocol)
}

fn resident() -> u64 {
    service().memory().map_or(0, |m| m.resident)
}

fn attacked() -> Attacked {
    let before = || {
        forget_peak(service().pid());
        resident()
    };
    let peak = || service().memory().map_or(0, |m| m.peak);
    Attacked { client: service().client(), raw, memory: [before, peak], most: MEMORY }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let (_alone, attacked) = (ALONE.lock().await, attacked());
    let long = "a".repeat(1 << 20);
    let many: String = (0..2_000).map(|n| format!("X-{n}: y\r\n")).collect();
    let line = format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let value = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Long: {long}\r\n\r\n");
    let fields = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    attacked
        .under(async {
            for message in [line, value, fields] {
                let rest = attacked.sent(message.as_bytes()).await;
                assert!(rest.closed, "the connection stays open");
                let statuses = rest.statuses();
                assert!(statuses.iter().all(|s| [400, 414, 431].contains(s)), "{statuses:?}");
            }
        })
        .await;
}

/// Where one reader sees one request and another sees two, the second has been smuggled past the first.
#[tokio::test]
async fn a_message_of_two_lengths_is_never_taken_for_two_requests() {
    let (_alone, attacked) = (ALONE.lock().await, attacked());
    attacked
        .under(async {
            for shape in smuggling() {
                let rest = attacked.sent(shape.as_bytes()).await;
                never_two(&shape, &rest);
            }
        })
        .await;
}

#[tokio::test]
async fn garbage_is_answered_with_a_close() {
    let (_alone, attacked) = (ALONE.lock().await, attacked());
    attacked
        .under(async {
            for garbage in [
                &b"\x16\x03\x01\x02\x00\x01\x00"[..],
                b"\0\0\0\0\r\n\r\n",
                b"GET\r\n\r\n",
                b"G\xff /\xff HTTP/9.9\r\n\r\n",
            ] {
                let rest = attacked.sent(garbage).await;
                assert!(rest.closed || !rest.statuses().is_empty(), "nothing happens after {garbage:?}");
                assert!(rest.statuses().iter().all(|s| (400..600).contains(s)));
            }
            // Plain text where TLS is expected.
            let plain = tokio::net::TcpStream::connect(service().address()).await.expect("a connection");
            plain.writable().await.expect("it is open");
            drop(plain.try_write(b"GET / HTTP/1.1\r\n\r\n"));
        })
        .await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (_alone, attacked) = (ALONE.lock().await, attacked());
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let all: String = (0..60).map(|n| one(if n % 2 == 0 { "/livez" } else { "/nowhere" })).collect();
    let rest = attacked.under(attacked.sent(all.as_bytes())).await;
    let expected: Vec<u16> = (0..60).map(|n| if n % 2 == 0 { 200 } else { 404 }).collect();
    assert_eq!(rest.statuses(), expected);
}

#[tokio::test]
async fn streams_reset_as_soon_as_they_are_opened_end_the_connection() {
    let _alone = ALONE.lock().await;
    assert!(attacked().flood(floods::resets()).await.closed, "30 000 resets were put up with");
}

#[tokio::test]
async fn a_head_in_endless_continuations_ends_the_connection() {
    let _alone = ALONE.lock().await;
    assert!(attacked().flood(floods::endless_head()).await.closed, "22 MB of one head were put up with");
    let empty = attacked().flood(floods::empty_continuations()).await;
    assert!(empty.closed, "200 000 empty continuations were put up with");
}

#[tokio::test]
async fn floods_of_control_frames_hold_nobody_up() {
    let _alone = ALONE.lock().await;
    for frames in floods::control() {
        attacked().unread(&frames).await;
    }
}

#[tokio::test]
async fn streams_beyond_the_limit_and_frames_out_of_place_are_refused() {
    let (_alone, attacked) = (ALONE.lock().await, attacked());
    let open = |n: u32| frame(HEADERS, END_HEADERS, 2 * n + 1, &get("/v1/detect"));
    let mut wire = attacked.http2().await;
    attacked
        .under(async {
            wire.send(&(0..1_000).flat_map(open).collect::<Vec<_>>()).await;
            let told = kinds(&wire.rest(SILENCE).await.bytes);
            assert!(told.contains(&RST_STREAM) || told.contains(&GOAWAY), "1 000 streams were opened: {told:?}");
        })
        .await;
    let oversized = frame(DATA, 0, 1, &vec![0; 1 << 20]);
    for odd in [
        frame(DATA, 0, 1, b"no stream"),
        oversized,
        frame(SETTINGS, 0, 3, &[]),
        frame(HEADERS, END_HEADERS, 2, &get("/")),
    ] {
        let mut wire = attacked.http2().await;
        let closed = attacked
            .under(async {
                wire.send(&odd).await;
                let rest = wire.rest(Duration::from_secs(3)).await;
                rest.closed || kinds(&rest.bytes).contains(&GOAWAY)
            })
            .await;
        assert!(closed, "a frame of kind {} was put up with", odd[3]);
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_those_that_are_there_served() {
    let _alone = ALONE.lock().await;
    let client = service().client();
    drop(client.get("/livez").await.expect(200));
    let idle = raw("http/1.1");
    let mut held = Vec::new();
    for _ in 0..2 * CONNECTIONS {
        held.extend(idle.try_connect().await.ok());
    }
    assert!(held.len() < CONNECTIONS, "{} connections at once", held.len());
    assert!(held.len() > CONNECTIONS / 2, "only {} connections", held.len());
    drop(client.get("/v1/collections").await.expect(200));
    let told = service().metric("visavis_requests_refused_total", "reason=\"connections\"").await;
    assert!(told >= 1.0, "the operator is not told");
    drop(held);
    // Their places are free once the server has seen them go.
    let began = Instant::now();
    while idle.try_connect().await.is_err() {
        assert!(began.elapsed() < SERVED_WITHIN, "the places stay taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// `cargo test -p visavis-tests --test e2e -- --ignored --nocapture two_thousand`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "half a minute"]
async fn two_thousand_idle_connections_cost_little_and_are_closed_in_time() {
    let app = TestApp::start();
    let (before, client) = (app.memory().expect("memory").resident, app.client());
    let raw = Raw::new(app.address(), &app.certificate(), "h2");
    let (mut all, mut held) = (JoinSet::new(), Vec::new());
    for _ in 0..2_000 {
        let raw = raw.clone();
        all.spawn(async move { raw.try_connect().await });
        // So many handshakes at a time.
        if all.len() >= 50 {
            held.extend(all.join_next().await);
        }
    }
    while let Some(done) = all.join_next().await {
        held.push(done);
    }
    let began = Instant::now();
    drop(client.get("/v1/collections").await.expect(200));
    let (took, after) = (began.elapsed(), app.memory().expect("memory").resident);
    let open = app.metric("visavis_connections", "").await;
    println!("{open} connections: {} KiB each; answered in {took:.1?}", after.saturating_sub(before) / 1024 / 2_000);
    assert!(open > 1_900.0 && took < SERVED_WITHIN && after.saturating_sub(before) / 2_000 < 100 << 10);
    let began = Instant::now();
    while app.metric("visavis_connections", "").await > 10.0 {
        assert!(began.elapsed() < Duration::from_secs(40), "idle connections stay");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!("closed after {:.1?}", began.elapsed());
    drop(held);
}
