//! Writes the first inputs of every target but `image` into a folder: one of each kind that the readers know. Called
//! by tests/fuzz/run, which adds pictures and the corpora of earlier runs.

use std::{env, fs, path::Path};

use onnx::{
    graph,
    proto::{
        GraphProto, ModelProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto,
        type_proto,
    },
    tensor,
};
use wire::v1::{self, envelope::Request, reply::Outcome};

fn main() {
    let folder = env::args().nth(1).expect("usage: seeds FOLDER");
    let folder = Path::new(&folder);
    keep(folder, "envelope", envelopes());
    keep(folder, "text", texts().iter().map(|t| t.as_bytes().to_vec()).collect());
    keep(folder, "manifest", manifests());
    keep(folder, "graph", vec![onnx::encode(&small_model())]);
    keep(folder, "extract", requests());
    keep(folder, "transfer", exports());
    keep(folder, "snapshot", snapshots());
    keep(folder, "address", addresses().iter().map(|a| a.as_bytes().to_vec()).collect());
}

fn keep(folder: &Path, target: &str, inputs: Vec<Vec<u8>>) {
    let folder = folder.join(target);
    fs::create_dir_all(&folder).expect("a folder");
    for (i, input) in inputs.iter().enumerate() {
        fs::write(folder.join(format!("seed-{i:02}")), input).expect("an input");
    }
}

fn envelopes() -> Vec<Vec<u8>> {
    let image = || v1::Image { data: vec![1, 2, 3].into() };
    let subject =
        || v1::Subject { id: "anna".into(), metadata: [("a".into(), "b".into())].into(), ..Default::default() };
    let consent = v1::Consent {
        id: "c1".into(),
        collection_id: "staff".into(),
        subject_id: "anna".into(),
        purposes: vec!["access_control".into()],
        method: "web_form".into(),
        notice: Some(v1::Notice { version: "3".into(), ..Default::default() }),
        ..Default::default()
    };
    let threshold = Some(v1::ThresholdSpec { target: Some(v1::threshold_spec::Target::TargetFpir(0.01)) });
    let embedding = v1::Embedding { contract: "0".repeat(32), values: vec![0.6, 0.8] };
    let images = vec![image()];
    let enrol = v1::EnrolRequest {
        collection_id: "staff".into(),
        subject: Some(subject()),
        consent: Some(consent),
        images: images.clone(),
        ..Default::default()
    };
    let identify = v1::IdentifyRequest {
        collection_id: "staff".into(),
        embeddings: vec![embedding.clone()],
        threshold,
        subject_ids: vec!["anna".into()],
        ..Default::default()
    };
    let requests = [
        Request::Detect(v1::DetectRequest { images: images.clone(), max_faces: 3 }),
        Request::Compare(v1::CompareRequest {
            source: Some(image()),
            targets: images,
            threshold,
            ..Default::default()
        }),
        Request::Verify(v1::VerifyRequest { embedding: Some(embedding), ..Default::default() }),
        Request::Bulk(v1::BulkRequest { kind: "bulk_enrol".into(), strand: 1, strands: 4, items: 9 }),
        Request::Enrol(enrol),
        Request::Identify(identify),
    ];
    let envelope = |request| v1::Envelope {
        job_id: "j1".into(),
        tenant: "default".into(),
        deadline_ms: 5,
        request: Some(request),
        ..Default::default()
    };
    let mut all: Vec<Vec<u8>> = requests.map(|r| wire::encode_envelope(&envelope(r)).to_vec()).into();
    let bounds = v1::BoundingBox { x: 1.0, y: 2.0, width: 3.0, height: 4.0 };
    let face = || v1::Face {
        r#box: Some(bounds),
        landmarks: vec![1.5; 10],
        quality: Some(v1::Quality::default()),
        ..Default::default()
    };
    let result = v1::identify_reply::Result {
        face: Some(face()),
        candidates: vec![v1::Candidate { subject_id: "anna".into(), face_id: "f1".into(), ..Default::default() }],
        ..Default::default()
    };
    let enrolled = v1::EnrolledFace {
        id: "f1".into(),
        subject_id: "anna".into(),
        face: Some(face()),
        contract: "0".repeat(32),
        created_ms: 1,
    };
    let outcomes = [
        Outcome::Problem(v1::Problem { code: "no_face".into(), ..Default::default() }),
        Outcome::Detect(v1::DetectReply {
            items: vec![v1::detect_reply::Item { faces: vec![face()], ..Default::default() }],
        }),
        Outcome::Identify(v1::IdentifyReply { results: vec![result], ..Default::default() }),
        Outcome::Enrol(v1::EnrolReply { subject: Some(subject()), faces: vec![enrolled], ..Default::default() }),
    ];
    all.extend(outcomes.map(|o| {
        wire::encode_reply(&v1::Reply { job_id: "j1".into(), outcome: Some(o), ..Default::default() }).to_vec()
    }));
    all.push(
        wire::encode_presence(&v1::WorkerPresence { name: "w1".into(), ready: true, ..Default::default() }).to_vec(),
    );
    all.push([&[7; 16][..], &[0, 0x38, 0, 0xb8]].concat());
    all
}

fn texts() -> [&'static str; 11] {
    [
        "staff",
        "a.b_c-9",
        "0123456789abcdef0123456789abcdef",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "2026-01-31T12:00:00.000+01:00",
        "access_control",
        "subjects:write",
        r#"{"target_fpir":0.003}"#,
        r#"{"purposes":["access_control"],"method":"web_form","training_allowed":true,"notice":{"version":"3","lang":"de"},"expires_at":"2030-01-01T00:00:00Z"}"#,
        r#"{"team":"door","floor":"3"}"#,
        r#"[{"fmr":0.01,"score":0.2},{"fmr":0.0001,"score":0.4}]"#,
    ]
}

/// Those that the service ships.
fn manifests() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services/lib/models/manifests");
    let mut files: Vec<_> = fs::read_dir(folder).expect("manifests").map(|e| e.expect("an entry").path()).collect();
    files.retain(|p| p.is_file());
    files.sort();
    files.into_iter().map(|p| fs::read(p).expect("a manifest")).collect()
}

/// Convolution, normalisation, activation, reshape: everything that a rewrite looks at.
fn small_model() -> ModelProto {
    let dims = [1, 1, 4, 4].map(|d| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(d)),
        ..Default::default()
    });
    let shape = TensorShapeProto { dim: dims.to_vec() };
    let tensor_type = type_proto::Tensor { elem_type: Some(1), shape: Some(shape) };
    let value = |name: &str| ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor_type.clone())),
            ..Default::default()
        }),
        ..Default::default()
    };
    let ones = [1.0; 1];
    let constants = ["scale", "bias", "mean", "variance", "slope"].map(|n| tensor::f32_tensor(n, &[1], &ones));
    let mut initializer = vec![tensor::f32_tensor("w", &[1, 1, 1, 1], &ones), tensor::i64_tensor("to", &[2], &[1, -1])];
    initializer.extend(constants);
    let nodes = vec![
        graph::node("Conv", &["x", "w"], "a"),
        graph::node("BatchNormalization", &["a", "scale", "bias", "mean", "variance"], "b"),
        graph::node("PRelu", &["b", "slope"], "c"),
        graph::node("Reshape", &["c", "to"], "y"),
    ];
    let graph = GraphProto {
        node: nodes,
        initializer,
        input: vec![value("x")],
        output: vec![value("y")],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(13) };
    ModelProto { ir_version: Some(8), graph: Some(graph), opset_import: vec![opset], ..Default::default() }
}

/// By reader: see `gateway::fuzzing`.
fn requests() -> Vec<Vec<u8>> {
    let form = "--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\nbytes\r\n\
                --b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\ndoor\r\n--b--\r\n";
    let job = "--b\r\nContent-Disposition: form-data; name=\"job\"\r\n\r\n{\"a\":\"a.jpg\"}\r\n\
               --b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.jpg\"\r\n\r\nbytes\r\n--b--\r\n";
    let bodies = [
        (0, form),
        (1, job),
        (
            2,
            r#"{"image":{"b64":"AQID"},"images":[{"b64":"AQ=="}],"purpose":"door","threshold":{"score":0.4},"limit":3}"#,
        ),
        (
            2,
            r#"{"id":"anna","metadata":{"a":"b"},"consent":{"purposes":["door"],"method":"web_form"},"subject_ids":["b"]}"#,
        ),
        (3, r#"{"a":{"b64":"AQID"},"b":"c.jpg"}"#),
        (4, "limit=3&purpose=door&threshold=%7B%22score%22%3A0.4%7D\nbytes"),
        (5, "x-deadline-ms: 250\nprefer: respond-async, wait=2\nx-request-id: abc-1\nif-match: \"7\", \"8\""),
        (6, "5\ndjE6c3RhZmY"),
        (6, "vv_my_ci_key_0123456789abcdef"),
    ];
    let whole = bodies.iter().map(|(kind, body)| [&[*kind, 255][..], body.as_bytes()].concat());
    let in_pieces = bodies.iter().take(5).map(|(kind, body)| [&[*kind, 3][..], body.as_bytes()].concat());
    whole.chain(in_pieces).collect()
}

/// By what they are: see `harness::transfer`.
fn exports() -> Vec<Vec<u8>> {
    let contract = "0123456789abcdef0123456789abcdef";
    let (then, quality) = ("2026-01-31T12:00:00.000Z", r#"{"score":80.0,"level":"high","components":{},"reasons":[]}"#);
    let face = format!(
        r#"{{"id":"f1","subject_id":"anna","bounding_box":{{"x":1.0,"y":2.0,"width":3.0,"height":4.0}},"box":{{"x":1.0,"y":2.0,"width":3.0,"height":4.0}},"landmarks":[[1.0,2.0],[1.0,2.0],[1.0,2.0],[1.0,2.0],[1.0,2.0]],"detection_score":0.9,"pose":{{"yaw":0.0,"pitch":0.0,"roll":0.0}},"quality":{quality},"contract":"{contract}","created_at":"{then}","template":"zThmOg=="}}"#
    );
    let consent = format!(
        r#"{{"id":"c1","collection_id":"staff","subject_id":"anna","purposes":["door"],"method":"form","training_allowed":false,"obtained_at":"{then}","recorded_at":"{then}"}}"#
    );
    let subject = format!(
        r#"{{"subject":{{"id":"anna","metadata":{{"a":"b"}},"created_at":"{then}","updated_at":"{then}"}},"consents":[{consent}],"faces":[{face}],"seen_at":"{then}"}}"#
    );
    let manifest = format!(
        r#"{{"created_at":"{then}","contract":"{contract}","collection":{{"id":"staff","purposes":["door"],"contract":"{contract}","created_at":"{then}","updated_at":"{then}"}},"revision":7}}"#
    );
    let trailer = format!(r#"{{"subjects":1,"faces":1,"revision":7,"finished_at":"{then}"}}"#);
    let key = transfer::ExportKey::parse("8f1d3b5c7092a4e6b8cdf01325476981a3c5e7092b4d6f8193b5d7f90a1c2e3f").expect("a key");
    let file = format!(
        "{{\"format\":\"visavis-export\",\"version\":1,\"file\":\"f\",\"key\":\"{}\"}}\n{{\"sealed\":\"AQID\"}}\n{{\"last\":\"AQID\"}}\n",
        key.id()
    );
    let all = [(0, file), (1, subject), (2, manifest), (3, trailer)];
    all.into_iter().map(|(kind, text)| [&[kind][..], text.as_bytes()].concat()).collect()
}

/// Plain ones: whole, empty, and of a version to come.
fn snapshots() -> Vec<Vec<u8>> {
    use sha2::{Digest, Sha256};
    let text = |text: &str| [&u16::try_from(text.len()).expect("short").to_le_bytes()[..], text.as_bytes()].concat();
    let head = |version: u8| {
        [&b"VISGAL\0"[..], &[version], &7u64.to_le_bytes(), &[3; 32], &text("default"), &text("staff")].concat()
    };
    let template = [&[7; 16][..], &[0xcd, 0x38, 0x66, 0x3a]].concat();
    let row = [&[1][..], &[9; 16], &text("f1"), &u32::try_from(template.len()).expect("short").to_le_bytes(), &template];
    let end = |rows: u64| [&[0][..], &rows.to_le_bytes()].concat();
    let whole = |body: Vec<u8>| [&body[..], &Sha256::digest(&body)].concat();
    vec![
        whole([head(1), row.concat(), row.concat(), end(2)].concat()),
        whole([head(1), end(0)].concat()),
        whole([head(2), end(0)].concat()),
    ]
}

fn addresses() -> [&'static str; 8] {
    [
        "redis://127.0.0.1:6379/0",
        "rediss://anna:pw9x7q@cache.example:6380/2",
        "redis-sentinel://:pw9x7q@a:26379,b:26379/main/1",
        "rediss-sentinel://a:1/main?sentinel_user=s&sentinel_password=pw9x7q",
        "redis-cluster://:pw9x7q@a:1,b:2",
        "valkeys-cluster://[::1]:7000",
        "redis://:pw9x7q@host/#insecure",
        "redis-sentinel://a/main?sentinel_password=a@pw9x7q",
    ]
}
