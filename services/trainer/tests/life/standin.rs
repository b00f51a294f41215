//! A model of twelve numbers, and a learner that moves them a little with every crop it sees. Goes on from checkpoints, and
//! can be held at a step.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use domain::{OverrideValue, RunProgress};
use onnx::{
    ModelProto,
    proto::{
        GraphProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto,
        tensor_shape_proto::{Dimension, dimension::Value},
        type_proto,
    },
    tensor,
};
use trainer::{Halt, Learner, Learnt, Task, Watch};

/// Where the stand-in is held, and how far it is.
#[derive(Default)]
pub struct Held {
    /// The step it waits at; 0 for none.
    pub at: AtomicU64,
    /// The last step begun.
    pub reached: AtomicU64,
    /// What it gave back when it was stopped.
    pub stopped: AtomicU64,
}

/// The learner.
pub struct StandIn(pub Arc<Held>);

const STEPS: u64 = 20;
const KEEP_EVERY: u64 = 5;

/// The model with these weights.
pub fn model(weights: &[f32; 12]) -> ModelProto {
    let value = |name: &str, dims: &[i64]| {
        let batch = Dimension { value: Some(Value::DimParam("N".into())), ..Default::default() };
        let rest = dims.iter().map(|d| Dimension { value: Some(Value::DimValue(*d)), ..Default::default() });
        let shape = TensorShapeProto { dim: std::iter::once(batch).chain(rest).collect() };
        let tensor = type_proto::Tensor { elem_type: Some(1), shape: Some(shape) };
        let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() });
        ValueInfoProto { name: Some(name.into()), r#type, ..Default::default() }
    };
    let graph = GraphProto {
        name: Some("tiny".into()),
        node: vec![
            onnx::graph::node("GlobalAveragePool", &["x"], "pooled"),
            onnx::graph::node("Flatten", &["pooled"], "flat"),
            onnx::graph::node("MatMul", &["flat", "w"], "y"),
        ],
        initializer: vec![tensor::f32_tensor("w", &[3, 4], weights)],
        input: vec![value("x", &[3, 112, 112])],
        output: vec![value("y", &[4])],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: Some(11), ..Default::default() };
    ModelProto { ir_version: Some(6), opset_import: vec![opset], graph: Some(graph), ..Default::default() }
}

/// The weights of a model.
pub fn weights(onnx: &[u8]) -> [f32; 12] {
    let model = onnx::decode(onnx).unwrap();
    tensor::f32_data(&model.graph.unwrap().initializer[0]).unwrap().try_into().unwrap()
}

fn number(task: &Task, key: &str) -> Option<u64> {
    match task.overrides.get(key) {
        Some(OverrideValue::Whole(n)) => u64::try_from(*n).ok(),
        _ => None,
    }
}

impl Learner for StandIn {
    fn learn(&self, task: &Task, watch: &dyn Watch) -> Result<Learnt, Halt> {
        let kept = watch.checkpoint()?.map(|c| serde_json::from_slice::<(u64, Vec<f32>)>(&c).unwrap());
        let (mut step, mut w) = match kept {
            Some((step, w)) => (step, <[f32; 12]>::try_from(w).unwrap()),
            None => (0, weights(&task.base.onnx)),
        };
        let (nan, panics) = (number(task, "nan_at"), number(task, "panics_at"));
        while step < STEPS {
            step += 1;
            assert!(panics != Some(step), "told to panic");
            let data = &task.data.train;
            let crop = data.crop(step as usize % data.len())?;
            let mean = crop.data().iter().map(|b| f32::from(*b)).sum::<f32>() / crop.data().len() as f32;
            for (i, w) in w.iter_mut().enumerate() {
                *w = 0.99 * *w + 0.01 * (mean / 255.0) * (1.0 + i as f32);
            }
            self.0.reached.store(step, Ordering::SeqCst);
            let loss = if nan == Some(step) { f32::NAN } else { 1.0 / step as f32 };
            let progress = RunProgress { step, steps: STEPS, loss, learning_rate: 0.01, ..RunProgress::default() };
            loop {
                if let Err(halt) = watch.step(progress) {
                    self.0.stopped.store(step, Ordering::SeqCst);
                    return Err(halt);
                }
                if self.0.at.load(Ordering::SeqCst) != step {
                    break;
                }
                thread::sleep(Duration::from_millis(2));
            }
            if step % KEEP_EVERY == 0 {
                watch.keep(&serde_json::to_vec(&(step, w.to_vec())).unwrap())?;
            }
        }
        let curve =
            (1..=STEPS).map(|s| format!("{{\"step\":{s},\"loss\":{},\"learning_rate\":0.01}}\n", 1.0 / s as f64));
        Ok(Learnt {
            onnx: onnx::encode(&model(&w)),
            papers: vec![("metrics".into(), curve.collect::<String>().into())],
        })
    }

    fn forward(&self, onnx: &[u8], batch: &[f32], n: usize) -> Result<Vec<f32>, Halt> {
        let w = weights(onnx);
        let plane = batch.len() / n / 3;
        let mut out = Vec::new();
        for item in batch.chunks_exact(3 * plane) {
            let means: Vec<f32> = item.chunks_exact(plane).map(|p| p.iter().sum::<f32>() / plane as f32).collect();
            // One that computes something else from a model whose first weight is negative.
            let wrong = if w[0] < 0.0 { 1.1 } else { 1.0 };
            let value =
                |c: usize| -> f32 { (0..3).map(|r| means[r] * w[r * 4 + c] * if c == 0 { wrong } else { 1.0 }).sum() };
            out.extend((0..4).map(value));
        }
        Ok(out)
    }
}
