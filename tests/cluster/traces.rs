//! One request as one trace: spans of the gateway, of the wait on the lane and of the worker's stages, received as an
//! OTLP receiver would; and the same ids in the log lines of every process it went through.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use testkit::{Client, Cluster, ClusterOptions, Person, encoded};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::{Mutex, Notify},
};
use trace::otlp::{Any, ExportTraceServiceRequest, Span};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// A trace that its caller does not want kept.
const UNKEPT: &str = "11111111111111111111111111111111";
/// What no span may tell: names that callers chose.
const PERSONAL: [&str; 2] = ["zzplace", "zzjane.doe"];

/// Takes what is posted to `/v1/traces`.
#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<(String, Span)>>>,
    more: Arc<Notify>,
}

impl Receiver {
    async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (receiver, address) = (Self::default(), listener.local_addr().expect("an address"));
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let receiver = serving.clone();
                tokio::spawn(async move { receiver.serve(stream).await });
            }
        });
        (receiver, address)
    }

    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        loop {
            let (mut head, mut length) = (Vec::new(), 0);
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                    return;
                }
                if line == "\r\n" {
                    break;
                }
                let line = line.trim().to_ascii_lowercase();
                length = line.strip_prefix("content-length:").map_or(length, |n| n.trim().parse().expect("a length"));
                head.push(line);
            }
            assert_eq!(head[0], "post /v1/traces http/1.1");
            assert!(head.iter().any(|l| l == "content-type: application/x-protobuf"), "{head:?}");
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.expect("the body");
            self.take(&body).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("it is answered");
        }
    }

    async fn take(&self, body: &[u8]) {
        let request = ExportTraceServiceRequest::from_bytes(body).expect("an export");
        let mut got = self.got.lock().await;
        for of in request.resource_spans {
            let attributes = of.resource.expect("a resource").attributes;
            let name = text(&attributes, "service.name");
            assert!(
                !text(&attributes, "service.version").is_empty()
                    && !text(&attributes, "service.instance.id").is_empty()
            );
            let spans = of.scope_spans.into_iter().flat_map(|s| s.spans);
            got.extend(spans.map(|span| (name.clone(), span)));
        }
        self.more.notify_waiters();
    }

    /// The spans of a trace by their names with who made each, once there are so many names. A face may be looked for
    /// in two looks, and a search first brings its gallery up to date: a span each, of which the first is given.
    async fn trace(&self, id: &str, many: usize) -> BTreeMap<String, (String, Span)> {
        let found = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                let more = self.more.notified();
                let got = self.got.lock().await;
                let of: Vec<_> = got.iter().filter(|(_, s)| hex::encode(&s.trace_id) == id).cloned().collect();
                drop(got);
                if of.iter().map(|(_, s)| &s.name).collect::<BTreeSet<_>>().len() >= many {
                    return of;
                }
                more.await;
            }
        });
        let found = found.await.expect("the spans come");
        let mut by_name = BTreeMap::new();
        for (who, span) in found {
            let name = span.name.clone();
            let again = by_name.contains_key(&name);
            assert!(!again || ["detect", "search"].contains(&name.as_str()), "the span {name} came twice");
            by_name.entry(name).or_insert((who, span));
        }
        by_name
    }
}

fn text(attributes: &[trace::otlp::KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|a| a.key == name).and_then(|a| a.value.clone()).and_then(|v| v.value);
    match found {
        Some(Any::Text(text)) => text,
        Some(Any::Number(number)) => number.to_string(),
        None => String::new(),
    }
}

async fn identify(client: &Client, traceparent: &str, request_id: &str) {
    let body = serde_json::json!({"image": encoded(&Person::Astronaut.photo()), "purpose": "access_control"});
    let request = client.request("POST", "/v1/collections/zzplace/identify").json(&body);
    let request = request.header("traceparent", traceparent).header("x-request-id", request_id);
    drop(client.send(request).await.expect(200));
}

/// Lines of a log that name the request, as JSON.
fn lines_of(log: &str, request_id: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
    lines.filter(|l| l["span"]["request_id"] == request_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_one_trace_through_the_queue_and_its_ids_are_in_every_log() {
    let (receiver, address) = Receiver::start().await;
    let set = |name: &str, value: &str| (format!("VISAVIS__TELEMETRY__{name}"), value.to_owned());
    let environment = vec![
        set("TRACES_ENDPOINT", &format!("http://{address}")),
        // Nothing but what callers ask for.
        set("TRACES_SHARE", "0"),
        set("FILTER", "info,ort=warn,visavis_worker=debug"),
        set("FORMAT", "json"),
    ];
    let options = ClusterOptions { gateways: 1, workers: 1, environment, ..ClusterOptions::default() };
    let cluster = Cluster::start(options);
    let client = cluster.client();
    drop(client.create_collection("zzplace").await);
    drop(client.enrol("zzplace", "zzjane.doe", &[Person::Astronaut.photo()]).await.expect(201));
    identify(&client, &format!("00-{UNKEPT}-{CALLER}-00"), "unkept-1").await;
    identify(&client, &format!("00-{TRACE}-{CALLER}-01"), "kept-1").await;

    let spans = receiver.trace(TRACE, 10).await;
    let of = |name: &str| spans.get(name).unwrap_or_else(|| panic!("no span {name}: {:?}", spans.keys()));
    let parent = |name: &str| hex::encode(&of(name).1.parent_span_id);
    let id = |name: &str| hex::encode(&of(name).1.span_id);
    let server = "POST /v1/collections/{collection}/identify";
    assert_eq!((parent(server).as_str(), of(server).1.kind), (CALLER, 2));
    assert_eq!((parent("dispatch"), of("dispatch").1.kind), (id(server), 4));
    assert_eq!(parent("queue"), id("dispatch"), "the wait on the lane");
    assert_eq!((parent("job identify"), of("job identify").1.kind), (id("dispatch"), 5));
    for stage in ["decode", "detect", "align", "embed", "search", "respond"] {
        assert_eq!(parent(stage), id("job identify"), "{stage}");
        let (stage, job) = (&of(stage).1, &of("job identify").1);
        assert!(stage.start_time_unix_nano >= job.start_time_unix_nano, "{} begins too early", stage.name);
        assert!(stage.end_time_unix_nano <= job.end_time_unix_nano, "{} ends too late", stage.name);
    }
    for (name, who) in [(server, "gateway"), ("dispatch", "gateway"), ("queue", "worker"), ("embed", "worker")] {
        assert_eq!(of(name).0, format!("visavis-{who}"), "{name}");
    }
    assert_eq!(text(&of(server).1.attributes, "http.response.status_code"), "200");
    assert_eq!(text(&of(server).1.attributes, "visavis.request_id"), "kept-1");
    assert_eq!(text(&of("job identify").1.attributes, "visavis.request_id"), "kept-1");

    let all = receiver.got.lock().await;
    assert!(all.iter().all(|(_, s)| hex::encode(&s.trace_id) == TRACE), "only what was asked for is kept");
    let told = format!("{all:?}");
    assert!(PERSONAL.iter().all(|p| !told.contains(p)), "{told}");

    // A trace that is not kept has its ids in the logs all the same.
    for (request, trace) in [("kept-1", TRACE), ("unkept-1", UNKEPT)] {
        for (whose, log) in [("gateway", cluster.gateway(0).output()), ("worker", cluster.worker(0).output())] {
            let lines = lines_of(&log, request);
            assert!(!lines.is_empty(), "no line of the {whose} names request {request}:\n{log}");
            assert!(lines.iter().all(|l| l["span"]["trace_id"] == trace), "{lines:?}");
        }
    }
    assert!(cluster.worker(0).metric("visavis_trace_spans_total", "outcome=\"sent\"").await >= 8.0);
}
