//! Callers that send next to nothing: each is closed in its time, and nobody else waits for them meanwhile.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use testkit::{Cluster, ClusterOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    task::JoinSet,
};

/// As configured: the gateway's for a body, what both of them take for a head or a handshake, and time to notice.
const BODY: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(60);
/// Slow callers of each kind.
const EACH: usize = 20;

/// Connects and says nothing; how long that was put up with.
async fn silent(to: SocketAddr) -> Duration {
    let began = Instant::now();
    let mut stream = TcpStream::connect(to).await.expect("a connection");
    drop(tokio::time::timeout(PATIENCE, stream.read(&mut [0; 64])).await);
    began.elapsed()
}

/// Speaks TLS, says this much and no more.
async fn stops_after(to: SocketAddr, said: Arc<str>) -> Duration {
    let began = Instant::now();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-no_ign_eof", "-connect", &to.to_string()]).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("openssl");
    let mut input = child.stdin.take().expect("its input");
    // On a machine so busy that the handshake took too long, the connection is closed already: that is in time as well.
    drop(input.write_all(said.as_bytes()).await);
    drop(input.flush().await);
    drop(tokio::time::timeout(PATIENCE, child.wait()).await);
    drop(input);
    began.elapsed()
}

/// `cargo test -p visavis-tests --test cluster -- --ignored --nocapture slow_callers`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "half a minute"]
async fn slow_callers_are_closed_in_time_and_hold_nobody_up() {
    if std::process::Command::new("openssl").arg("version").output().is_err() {
        eprintln!("SKIPPED: no openssl command");
        return;
    }
    let limit = ("VISAVIS__GATEWAY__BODY_TIMEOUT_MS".to_owned(), BODY.as_millis().to_string());
    let cluster = Cluster::start(ClusterOptions {
        gateways: 1,
        workers: 0,
        gateway_environment: vec![limit],
        ..ClusterOptions::default()
    });
    let head: Arc<str> = "POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nX-Slow".into();
    let key = cluster.gateway(0).admin_key();
    let image = "Content-Type: image/png\r\nContent-Length: 99999";
    let body =
        format!("POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n{image}\r\n\r\nbytes");
    let body: Arc<str> = body.into();
    let mut all = JoinSet::new();
    for (what, to) in [("nginx", cluster.address()), ("gateway", cluster.gateway(0).address())] {
        for _ in 0..EACH {
            all.spawn(async move { (what, "silence", silent(to).await) });
            all.spawn(async move { (what, "a handshake and silence", stops_after(to, "".into()).await) });
            let (head, body) = (Arc::clone(&head), Arc::clone(&body));
            all.spawn(async move { (what, "half a head", stops_after(to, head).await) });
            all.spawn(async move { (what, "half a body", stops_after(to, body).await) });
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let client = cluster.client();
    for _ in 0..20 {
        let began = Instant::now();
        drop(client.get("/v1/collections").await.expect(200));
        assert!(began.elapsed() < Duration::from_secs(2), "held up for {:?}", began.elapsed());
    }
    let mut longest = std::collections::BTreeMap::new();
    for (what, how, took) in all.join_all().await {
        let most = longest.entry((what, how)).or_insert(Duration::ZERO);
        *most = took.max(*most);
    }
    for ((what, how), took) in &longest {
        println!("{what}, {how}: closed after {took:.1?} at most");
        assert!(*took < PATIENCE, "{what} puts up with {how}");
    }
}
