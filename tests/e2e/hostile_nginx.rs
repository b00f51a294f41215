//! The same callers as in `hostile`, in front of nginx as it is deployed: what it lets through is a gateway's matter,
//! what it does not ends there. An honest caller is served through it meanwhile, its memory stays where it was, and its
//! log says nothing that a caller has chosen.

use std::{
    fs,
    sync::OnceLock,
    time::{Duration, Instant},
};

use testkit::{Client, Http, Nginx, NginxOptions, TestApp, memory_of};
use tokio::{sync::Mutex, task::JoinSet};

use crate::{
    frames::{
        CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, field, frame, get, kinds,
        preface,
    },
    raw::{Raw, Rest, Wire},
    smuggling::{never_two, smuggling},
};

/// One at a time: each looks at the memory of nginx.
static ALONE: Mutex<()> = Mutex::const_new(());
/// An honest caller's answer takes at most this long meanwhile. Generous: tests run beside others.
const SERVED_WITHIN: Duration = Duration::from_secs(5);
/// Most memory that an attack may add, in all processes of nginx together.
const MEMORY: u64 = 64 << 20;
/// A silence after which no more is expected.
const SILENCE: Duration = Duration::from_millis(700);

fn nginx() -> &'static (TestApp, Nginx) {
    static BOTH: OnceLock<(TestApp, Nginx)> = OnceLock::new();
    BOTH.get_or_init(|| {
        let app = TestApp::start();
        let certificate = app.certificate();
        let nginx = Nginx::start(&NginxOptions {
            key: certificate.with_file_name("key.pem"),
            gateway_ca: certificate.clone(),
            certificate,
            gateways: vec![app.address()],
            variables: Vec::new(),
        });
        (app, nginx)
    })
}

fn raw(protocol: &str) -> Raw {
    let (app, nginx) = nginx();
    Raw::new(nginx.address(), &app.certificate(), protocol)
}

/// Resident memory of nginx and its workers.
fn resident() -> u64 {
    let master = nginx().1.pid();
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
    let workers = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    workers.chain([master]).filter_map(memory_of).map(|m| m.resident).sum()
}

/// Runs an attack. Meanwhile an honest caller is served, and afterwards nginx holds little more than before.
async fn under<T>(attack: impl Future<Output = T>) -> T {
    let (app, nginx) = nginx();
    let client = Client::new(nginx.address(), &app.certificate(), &app.admin_key(), Http::Any);
    drop(client.get("/v1/collections").await.expect(200));
    let before = resident();
    let honest = async {
        loop {
            let began = Instant::now();
            drop(client.get("/v1/collections").await.expect(200));
            assert!(began.elapsed() < SERVED_WITHIN, "an honest caller waited {:?}", began.elapsed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let done = tokio::select! {
        done = attack => done,
        () = honest => unreachable!("it goes on for ever"),
    };
    drop(client.get("/v1/collections").await.expect(200));
    let after = resident();
    assert!(after < before + MEMORY, "from {} MiB to {} MiB", before >> 20, after >> 20);
    done
}

async fn sent(message: &[u8]) -> Rest {
    let mut wire = raw("http/1.1").connect().await;
    wire.send(message).await;
    wire.rest(SILENCE).await
}

async fn http2() -> Wire {
    let mut wire = raw("h2").connect().await;
    assert!(wire.send(&preface()).await, "the preface is taken");
    wire
}

/// Sends until the other side closes or there is no more. Whether it closed.
async fn flood(wire: &mut Wire, pieces: impl Iterator<Item = Vec<u8>>) -> bool {
    for piece in pieces {
        if !wire.send(&piece).await {
            return true;
        }
    }
    let rest = wire.rest(SILENCE).await;
    rest.closed || kinds(&rest.bytes).contains(&GOAWAY)
}

#[tokio::test]
async fn nginx_refuses_long_heads_and_never_sees_two_requests_in_one() {
    let _alone = ALONE.lock().await;
    let long = "zz-chosen".repeat(1 << 17);
    let many: String = (0..20_000).map(|n| format!("X-zz-chosen-{n}: y\r\n")).collect();
    let heads = [
        format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Long: {long}\r\n\r\n"),
        format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"),
        "\x16\x03\x01zz-chosen\r\n\r\n".to_owned(),
        "zz-chosen\r\n\r\n".to_owned(),
    ];
    under(async {
        for head in heads {
            let rest = sent(head.as_bytes()).await;
            let statuses = rest.statuses();
            assert!(rest.closed && statuses.iter().all(|s| [400, 414, 431].contains(s)), "{statuses:?}");
        }
        // Together: most of the time is the silence after an answer.
        let mut all = JoinSet::new();
        for shape in smuggling() {
            all.spawn(async move {
                let rest = sent(shape.as_bytes()).await;
                (shape, rest)
            });
        }
        for (shape, rest) in all.join_all().await {
            never_two(&shape, &rest);
        }
    })
    .await;
    let output = nginx().1.output();
    for chosen in ["zz-chosen", "smuggled"] {
        assert!(!output.contains(chosen), "{chosen} is in the log");
    }
}

#[tokio::test]
async fn nginx_ends_floods_of_frames_and_holds_nobody_up() {
    let _alone = ALONE.lock().await;
    let block = get("/v1/collections");
    let resets = |first: u32| -> Vec<u8> {
        let streams = (first..first + 100).map(|n| 2 * n + 1);
        let both = |id| [frame(HEADERS, END_HEADERS | END_STREAM, id, &block), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])];
        streams.flat_map(both).flatten().collect()
    };
    let piece: Vec<u8> = (0..100).flat_map(|n| field(&format!("x-{n}"), &"v".repeat(100))).collect();
    let begun = || std::iter::once(frame(HEADERS, END_STREAM, 1, &get("/livez")));
    let endless = begun().chain((0..2_000).map(|_| frame(CONTINUATION, 0, 1, &piece)));
    let empty = begun().chain((0..200).map(|_| frame(CONTINUATION, 0, 1, &[]).repeat(1_000)));
    assert!(under(async { flood(&mut http2().await, (0..300).map(|n| resets(n * 100))).await }).await, "resets");
    assert!(under(async { flood(&mut http2().await, endless).await }).await, "22 MB of one head");
    // Of these it reads any number, until its time for a head is over; they cost it nothing but reading.
    under(async { flood(&mut http2().await, empty).await }).await;
    let changes = frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]).repeat(1_000);
    for one in [frame(PING, 0, 0, &[7; 8]).repeat(1_000), changes] {
        let mut wire = http2().await;
        under(async {
            for _ in 0..50 {
                // Whether it is read, held up or ended is nginx's choice; a caller held up for long is let go.
                let sent = tokio::time::timeout(Duration::from_secs(2), wire.send(&one)).await;
                if !matches!(sent, Ok(true)) {
                    break;
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn many_connections_to_nginx_cost_little_and_take_nobodys_place() {
    let _alone = ALONE.lock().await;
    let (_, nginx) = nginx();
    under(async {
        let (idle, mut held) = (raw("http/1.1"), Vec::new());
        for _ in 0..400 {
            held.push(idle.connect().await);
        }
        // As many heads that do not end: they are not requests yet, so they take no place of one.
        for wire in &mut held {
            assert!(wire.send(b"GET /v1/collections HTTP/1.1\r\nHost: localhost\r\nX-Slow").await);
        }
        tokio::time::sleep(SILENCE).await;
    })
    .await;
    assert!(nginx.requests().iter().all(|r| r["status"] != 429), "an honest caller was told to go away");
}
