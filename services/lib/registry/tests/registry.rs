//! Registered models: taken in only as what they say they are, sealed where they lie, and gone when they are deleted.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{ErrorCode, ModelId, TenantId};
use memchr::memmem;
use models::{Catalogue, Checksum, Manifest};
use objects::Objects;
use onnx::{
    ModelProto,
    proto::{GraphProto, NodeProto, OperatorSetIdProto, ValueInfoProto},
};
use registry::{NewModel, Registry, RegistryError, Rules};
use serde_json::Value;
use store::{ModelOrigin, RedbStore, Store};
use visavis_registry as registry;

fn graph() -> Bytes {
    graph_with("a-name-to-be-looked-for")
}

fn graph_with(node: &str) -> Bytes {
    let value = |name: &str| ValueInfoProto { name: Some(name.into()), ..Default::default() };
    let only = NodeProto {
        op_type: Some("Identity".into()),
        name: Some(node.into()),
        input: vec!["x".into()],
        output: vec!["y".into()],
        ..Default::default()
    };
    let graph = GraphProto {
        name: Some("g".into()),
        node: vec![only],
        input: vec![value("x")],
        output: vec![value("y")],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: Some(11), ..Default::default() };
    let model = ModelProto { ir_version: Some(6), opset_import: vec![opset], graph: Some(graph), ..Default::default() };
    onnx::encode(&model).into()
}

fn new(id: &str, onnx: &Bytes) -> NewModel {
    let like = Catalogue::built_in().unwrap().embedder("sface").unwrap().clone();
    let manifest = Manifest {
        name: "mine".into(),
        file: "mine.onnx".into(),
        bytes: Some(onnx.len() as u64),
        sha256: Checksum::of(onnx),
        sources: Vec::new(),
        ..like
    };
    let id = ModelId::new(id).unwrap();
    let (origin, lineage) = (ModelOrigin::Upload, Value::Null);
    NewModel { id, onnx: onnx.clone(), manifest, parent: None, origin, lineage, by: "key".into() }
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    entries.flat_map(|p| if p.is_dir() { files(&p) } else { std::fs::read(p).into_iter().collect() }).collect()
}

fn open(folder: &Path) -> Registry {
    let store: Arc<dyn Store> = Arc::new(RedbStore::open(&folder.join("store.redb")).unwrap());
    Registry::new(store, Objects::disk(folder.join("objects")).unwrap(), Rules::default())
}

fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

#[tokio::test]
async fn a_model_lies_sealed_reads_back_and_is_gone_when_it_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, onnx) = (open(folder.path()), graph());
    let made = registry.register(&tenant(), new("one", &onnx)).await.unwrap();
    assert_eq!((made.value.name.as_str(), made.value.bytes), ("mine", onnx.len() as u64));
    let again = registry.register(&tenant(), new("one", &onnx)).await.unwrap();
    assert_eq!(again, made, "the same request a second time");
    let objects = folder.path().join("objects");
    let holds = |what: &[u8]| files(&objects).iter().any(|f| memmem::find(f, what).is_some());
    assert!(!files(&objects).is_empty() && !holds(b"a-name-to-be-looked-for"), "sealed");

    let (manifest, file) = registry.read(&tenant(), &made.value).await.unwrap();
    assert_eq!((manifest.contract(), &file[..]), (Some(made.value.contract), &onnx[..]));
    let elsewhere = registry.read(&TenantId::new("globex").unwrap(), &made.value).await.unwrap_err();
    assert!(matches!(elsewhere, RegistryError::Gone));

    // A file that is missing is written by the same request again.
    let lost = Objects::disk(objects.clone()).unwrap();
    lost.delete(&["models/acme/one".to_owned()]).await.unwrap();
    assert!(matches!(registry.read(&tenant(), &made.value).await, Err(RegistryError::Gone)));
    registry.register(&tenant(), new("one", &onnx)).await.unwrap();
    registry.read(&tenant(), &made.value).await.unwrap();

    registry.delete(&tenant(), &made.value.id, None).await.unwrap();
    assert_eq!(registry.records(&tenant()).get(&made.value.id).await.unwrap(), None);
    assert!(matches!(registry.read(&tenant(), &made.value).await, Err(RegistryError::Gone)));
}

#[tokio::test]
async fn what_cannot_serve_is_not_taken_in() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, onnx) = (open(folder.path()), graph());
    let mut wrong = new("one", &onnx);
    wrong.onnx = Bytes::from_static(b"no model");
    let mut broken = new("one", &Bytes::from_static(b"no model"));
    broken.manifest.sha256 = Checksum::of(b"no model");
    let mut detector = new("one", &onnx);
    detector.manifest.kind = Catalogue::built_in().unwrap().detector("yunet").unwrap().kind.clone();
    let mut licence = new("one", &onnx);
    licence.manifest.commercial = false;
    for (what, new) in [("checksum", wrong), ("no graph", broken), ("detector", detector), ("licence", licence)] {
        let refused = registry.register(&tenant(), new).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidRequest, "{what}: {refused}");
    }
    assert!(files(&folder.path().join("objects")).is_empty(), "nothing was kept");
    registry.register(&tenant(), new("one", &onnx)).await.unwrap();
    let other = graph_with("another-one");
    assert!(matches!(registry.register(&tenant(), new("one", &other)).await, Err(RegistryError::Taken)));
}

#[tokio::test]
async fn what_a_registration_that_died_left_behind_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, onnx) = (open(folder.path()), graph());
    let kept = registry.register(&tenant(), new("kept", &onnx)).await.unwrap();
    let objects = Objects::disk(folder.path().join("objects")).unwrap();
    objects.put("models/acme/orphan", Bytes::from_static(b"sealed")).await.unwrap();
    assert_eq!(registry.sweep(Duration::from_secs(3600)).await.unwrap(), 0, "it may be under way");
    assert_eq!(registry.sweep(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(objects.get("models/acme/orphan").await.unwrap(), None);
    registry.read(&tenant(), &kept.value).await.unwrap();
}
