//! The exporter against a receiver over HTTP: what arrives, what is repeated, what is given up and counted.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{net::SocketAddr, time::Duration};

use prometheus::{Registry, TextEncoder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use visavis_trace::{ExportOptions, Exporter, Joint, Kind, Tracer, otlp::ExportTraceServiceRequest};

/// A receiver that answers with these statuses in turn, and with 200 from then on; what it got.
async fn receiver(statuses: &'static [u16]) -> (SocketAddr, mpsc::Receiver<ExportTraceServiceRequest>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, (got, all)) = (listener.local_addr().unwrap(), mpsc::channel(16));
    tokio::spawn(async move {
        let mut statuses = statuses.iter();
        // One connection after the other: this client repeats on the one it has.
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Some(body) = request(&mut stream).await {
                let status = statuses.next().copied().unwrap_or(200);
                got.send(ExportTraceServiceRequest::from_bytes(&body).unwrap()).await.unwrap();
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    (address, all)
}

/// The body of the next request.
async fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length: usize = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok()).unwrap();
            if bytes.len() >= end + 4 + length {
                return Some(bytes.split_off(end + 4));
            }
        }
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&buffer[..n]),
            _ => return None,
        }
    }
}

fn start(address: SocketAddr) -> (Tracer, Exporter, Registry) {
    let options = ExportOptions {
        endpoint: format!("http://{address}/"),
        ca_file: None,
        share: 1.0,
        process: vec![("service.name", "test".into())],
    };
    let registry = Registry::new();
    let (tracer, exporter) = Exporter::new(&options, &registry).unwrap();
    (tracer, exporter, registry)
}

fn counted(registry: &Registry, outcome: &str) -> String {
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let name = format!("visavis_trace_spans_total{{outcome=\"{outcome}\"}} ");
    text.lines().find_map(|l| l.strip_prefix(&name)).unwrap_or("missing").to_owned()
}

async fn next(all: &mut mpsc::Receiver<ExportTraceServiceRequest>) -> ExportTraceServiceRequest {
    timeout(Duration::from_secs(10), all.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_batch_arrives_with_its_links_and_the_rest_when_the_process_ends() {
    let (address, mut all) = receiver(&[]).await;
    let (tracer, exporter, registry) = start(address);
    let stop = CancellationToken::new();
    let running = tokio::spawn(exporter.run(stop.clone()));
    let mut job = tracer.root("job embed", Kind::Consumer, None);
    job.set("visavis.job_id", "j1");
    job.fail("no_face");
    let asked = job.handle().context().unwrap();
    drop(Joint::begin("batch", "embedder", [job.handle()].into_iter()));
    drop(job);
    stop.cancel();
    timeout(Duration::from_secs(10), running).await.unwrap().unwrap();
    let request = next(&mut all).await;
    let [of] = &request.resource_spans[..] else { panic!("{request:?}") };
    assert_eq!(of.resource.as_ref().unwrap().attributes[0].key, "service.name");
    let [share, batch, job] = &of.scope_spans[0].spans[..] else { panic!("{request:?}") };
    assert_eq!(job.span_id, share.parent_span_id);
    assert!(asked.to_string().contains(&hex(&job.span_id)) && asked.to_string().contains(&hex(&job.trace_id)));
    assert_eq!((&batch.links[0].span_id, &batch.links[0].trace_id), (&job.span_id, &job.trace_id));
    assert_eq!((&share.links[0].span_id, &share.links[0].trace_id), (&batch.span_id, &batch.trace_id));
    let status = job.status.as_ref().unwrap();
    assert_eq!((status.code, status.message.as_str(), batch.status.is_none()), (2, "no_face", true));
    assert!(job.end_time_unix_nano >= job.start_time_unix_nano && job.start_time_unix_nano > 1_600_000_000_000_000_000);
    assert_eq!(counted(&registry, "sent"), "3");
}

#[tokio::test]
async fn what_may_be_repeated_is_and_what_may_not_is_given_up() {
    let (address, mut all) = receiver(&[503, 429, 200, 400]).await;
    let (tracer, exporter, registry) = start(address);
    let stop = CancellationToken::new();
    let running = tokio::spawn(exporter.run(stop.clone()));
    drop(tracer.root("one", Kind::Internal, None));
    let (first, second, third) = (next(&mut all).await, next(&mut all).await, next(&mut all).await);
    assert!(first == second && second == third, "the same again");
    drop(tracer.root("two", Kind::Internal, None));
    assert_ne!(next(&mut all).await, third);
    drop(tracer.root("three", Kind::Internal, None));
    stop.cancel();
    timeout(Duration::from_secs(10), running).await.unwrap().unwrap();
    assert_eq!((counted(&registry, "sent"), counted(&registry, "failed")), ("2".into(), "1".into()));
}

#[test]
fn an_address_that_is_none_is_told_at_the_start() {
    for endpoint in ["collector:4318", "ftp://collector", "http://a b"] {
        let options = ExportOptions { endpoint: endpoint.into(), ca_file: None, share: 1.0, process: Vec::new() };
        assert!(Exporter::new(&options, &Registry::new()).is_err(), "{endpoint}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
