//! The same callers as in `hostile`, in front of nginx as it is deployed: what it lets through is a gateway's matter,
//! what it does not ends there. An honest caller is served through it meanwhile, its memory stays where it was, and its
//! log says nothing that a caller has chosen.

use std::{
    fs,
    sync::{Arc, OnceLock},
};

use testkit::{Client, Http, Nginx, NginxOptions, TestApp, memory_of};
use tokio::{sync::Mutex, task::JoinSet};

use crate::{
    floods::{self, Attacked, SILENCE},
    frames::{GOAWAY, kinds},
    raw::{Raw, Rest},
    smuggling::{never_two, smuggling},
};

/// One at a time: each looks at the memory of nginx.
static ALONE: Mutex<()> = Mutex::const_new(());
/// Most memory that an attack may add, in all processes of nginx together.
const MEMORY: u64 = 64 << 20;

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

fn attacked() -> Attacked {
    let (app, nginx) = nginx();
    let client = Client::new(nginx.address(), &app.certificate(), &app.admin_key(), Http::Any);
    Attacked { client, raw, memory: [resident, resident], most: MEMORY }
}

/// Whether nginx has ended the connection, or said that it will.
fn ended(rest: &Rest) -> bool {
    rest.closed || kinds(&rest.bytes).contains(&GOAWAY)
}

#[tokio::test]
async fn nginx_refuses_long_heads_and_never_sees_two_requests_in_one() {
    let (_alone, attacked) = (ALONE.lock().await, Arc::new(attacked()));
    let long = "zz-chosen".repeat(1 << 17);
    let many: String = (0..20_000).map(|n| format!("X-zz-chosen-{n}: y\r\n")).collect();
    let heads = [
        format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Long: {long}\r\n\r\n"),
        format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"),
        "\x16\x03\x01zz-chosen\r\n\r\n".to_owned(),
        "zz-chosen\r\n\r\n".to_owned(),
    ];
    attacked
        .under(async {
            for head in heads {
                let rest = attacked.sent(head.as_bytes()).await;
                let statuses = rest.statuses();
                assert!(rest.closed && statuses.iter().all(|s| [400, 414, 431].contains(s)), "{statuses:?}");
            }
            // Together: most of the time is the silence after an answer.
            let mut all = JoinSet::new();
            for shape in smuggling() {
                let attacked = Arc::clone(&attacked);
                all.spawn(async move {
                    let rest = attacked.sent(shape.as_bytes()).await;
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
    let (_alone, attacked) = (ALONE.lock().await, attacked());
    assert!(ended(&attacked.flood(floods::resets()).await), "resets");
    assert!(ended(&attacked.flood(floods::endless_head()).await), "22 MB of one head");
    // Of these it reads any number, until its time for a head is over; they cost it nothing but reading.
    drop(attacked.flood(floods::empty_continuations()).await);
    for frames in floods::control() {
        attacked.unread(&frames).await;
    }
}

#[tokio::test]
async fn many_connections_to_nginx_cost_little_and_take_nobodys_place() {
    let (_alone, attacked) = (ALONE.lock().await, attacked());
    let (_, nginx) = nginx();
    attacked
        .under(async {
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
