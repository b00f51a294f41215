//! The admin server over a real socket.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use visavis_runtime::Readiness;
use visavis_runtime::admin::{AdminError, AdminServer};

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn probes_follow_readiness_and_metrics_tell_of_the_process() {
    let (registry, readiness, stop) = (prometheus::Registry::new(), Readiness::new(), CancellationToken::new());
    let counter = prometheus::IntCounter::new("visavis_test_total", "A metric of some role").unwrap();
    registry.register(Box::new(counter.clone())).unwrap();
    let server = AdminServer::bind("127.0.0.1:0".parse().unwrap(), registry, readiness.clone()).await.unwrap();
    let address = server.local_addr();
    assert_ne!(address.port(), 0);
    let serving = tokio::spawn(server.serve(stop.clone()));

    let models = readiness.condition("models");
    models.unmet("warming 3 of 8 buckets");
    assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
    let verbose = get(address, "/readyz?verbose").await;
    assert!(verbose.contains("application/json") && verbose.contains("warming 3 of 8 buckets"), "{verbose}");
    models.met();
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
    readiness.drain();
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));

    counter.inc();
    let metrics = get(address, "/metrics").await;
    assert!(metrics.contains("visavis_test_total 1"), "{metrics}");
    if cfg!(target_os = "linux") {
        let resident = metrics.lines().find_map(|l| l.strip_prefix("process_resident_memory_bytes ")).unwrap();
        assert!(resident.parse::<f64>().unwrap() > 1e6, "{resident}");
        assert!(metrics.contains("process_cpu_seconds_total") && metrics.contains("process_threads"));
    }
    assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404"));

    stop.cancel();
    serving.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "the port is free after the shutdown");
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = AdminServer::bind(address, prometheus::Registry::new(), Readiness::new()).await.unwrap_err();
    assert!(matches!(error, AdminError::Bind { .. }) && error.to_string().contains(&address.to_string()), "{error}");
}
