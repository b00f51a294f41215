//! A network of two linear layers behind a mean over cells of 8×8 pixels, and the backend that makes it: enough to see a
//! run through without the engine.

use onnx::{
    ModelProto,
    graph::{constant_floats, f32_value, node},
    proto::GraphProto,
    tensor::f32_tensor,
};
use visavis_training::TrainingError;
use visavis_training::backend::{Backend, Kind, NamedValues, Network, Parameter, Part, Pass};
use visavis_training::recipe::NormMode;
use vision::Random;

const PIXELS: usize = 112 * 112;
const CELLS: usize = 14 * 14 * 3;
const HIDDEN: usize = 24;
const DIM: usize = 12;

/// Random weights.
pub fn model(seed: u64) -> ModelProto {
    let weights = |name: &str, rows: usize, columns: usize, stream: u64| {
        let mut random = Random::of(&[seed, stream]);
        let values: Vec<f32> = (0..rows * columns).map(|_| random.normals()[0] / (columns as f32).sqrt()).collect();
        f32_tensor(name, &[rows as i64, columns as i64], &values)
    };
    let graph = GraphProto {
        node: vec![
            node("MeanOfCells", &["x"], "cells"),
            node("Gemm", &["cells", "w1"], "hidden"),
            node("Gemm", &["hidden", "w2"], "e"),
        ],
        initializer: vec![weights("w1", HIDDEN, CELLS, 1), weights("w2", DIM, HIDDEN, 2)],
        input: vec![f32_value("x", "N", &[3, 112, 112])],
        output: vec![f32_value("e", "N", &[DIM as i64])],
        ..Default::default()
    };
    ModelProto { graph: Some(graph), ..Default::default() }
}

pub struct Linear;

struct Layer {
    weights: Vec<f32>,
    /// Place among the parameters, if it learns.
    parameter: Option<usize>,
    from: usize,
    to: usize,
    name: &'static str,
}

struct Two {
    layers: Vec<Layer>,
    parameters: Vec<Parameter>,
    from_pixels: bool,
    /// Inputs of each layer in the last pass.
    seen: Vec<Vec<f32>>,
}

impl Backend for Linear {
    fn open(
        &self,
        model: &ModelProto,
        part: Part<'_>,
        _: NormMode,
        _: usize,
    ) -> Result<Box<dyn Network>, TrainingError> {
        let graph = model.graph.as_ref().unwrap();
        let mut two = Two { layers: Vec::new(), parameters: Vec::new(), from_pixels: true, seen: Vec::new() };
        for (name, from, to, output) in [("w1", CELLS, HIDDEN, "hidden"), ("w2", HIDDEN, DIM, "e")] {
            let Some(weights) = constant_floats(graph, name) else { continue };
            if part == Part::After("hidden") && name == "w1" {
                two.from_pixels = false;
                continue;
            }
            let learns = match part {
                Part::From(first) => first == output || first == "cells" || (first == "hidden" && name == "w2"),
                _ => true,
            };
            let parameter = learns.then(|| {
                let (gradient, value) = (vec![0.0; weights.len()], weights.clone());
                two.parameters.push(Parameter { name: name.into(), kind: Kind::Weight, value, gradient });
                two.parameters.len() - 1
            });
            two.layers.push(Layer { weights, parameter, from, to, name });
        }
        Ok(Box::new(two))
    }
}

impl Two {
    fn weights(&self, layer: &Layer) -> Vec<f32> {
        layer.parameter.map_or_else(|| layer.weights.clone(), |p| self.parameters[p].value.clone())
    }
}

fn cells(picture: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; CELLS];
    for (i, v) in picture.iter().enumerate() {
        let (c, x, y) = (i / PIXELS, i % 112, i % PIXELS / 112);
        out[c * 196 + y / 8 * 14 + x / 8] += v / 64.0;
    }
    out
}

impl Network for Two {
    fn input(&self) -> usize {
        if self.from_pixels { 3 * PIXELS } else { self.layers[0].from }
    }

    fn dim(&self) -> usize {
        self.layers.last().unwrap().to
    }

    fn forward(&mut self, batch: &[f32], n: usize, _: Pass) -> Result<Vec<f32>, TrainingError> {
        assert_eq!(batch.len(), n * self.input());
        let mut x = match self.from_pixels {
            true => batch.chunks_exact(3 * PIXELS).flat_map(cells).collect(),
            false => batch.to_vec(),
        };
        self.seen.clear();
        for layer in &self.layers {
            let weights = self.weights(layer);
            let row = |x: &[f32]| {
                weights
                    .chunks_exact(layer.from)
                    .map(|w| w.iter().zip(x).map(|(a, b)| a * b).sum())
                    .collect::<Vec<f32>>()
            };
            let y = x.chunks_exact(layer.from).flat_map(row).collect();
            self.seen.push(x);
            x = y;
        }
        Ok(x)
    }

    fn backward(&mut self, gradient: &[f32]) -> Result<(), TrainingError> {
        let mut dy = gradient.to_vec();
        for (layer, x) in self.layers.iter().zip(&self.seen).rev() {
            let weights = layer.parameter.map_or_else(|| layer.weights.clone(), |p| self.parameters[p].value.clone());
            let mut dx = vec![0.0; x.len()];
            let rows = dy.chunks_exact(layer.to).zip(x.chunks_exact(layer.from)).zip(dx.chunks_exact_mut(layer.from));
            for ((dy, x), dx) in rows {
                for (o, g) in dy.iter().enumerate() {
                    let at = o * layer.from;
                    dx.iter_mut().zip(&weights[at..]).for_each(|(d, w)| *d += g * w);
                    if let Some(p) = layer.parameter {
                        self.parameters[p].gradient[at..].iter_mut().zip(x).for_each(|(d, x)| *d += g * x);
                    }
                }
            }
            dy = dx;
        }
        Ok(())
    }

    fn parameters(&mut self) -> &mut [Parameter] {
        &mut self.parameters
    }

    fn zero_gradients(&mut self) {
        self.parameters.iter_mut().for_each(|p| p.gradient.fill(0.0));
    }

    fn state(&self) -> Vec<NamedValues> {
        Vec::new()
    }

    fn set_state(&mut self, state: &[NamedValues]) -> Result<(), TrainingError> {
        assert!(state.is_empty());
        Ok(())
    }

    fn write_into(&self, model: &mut ModelProto) -> Result<(), TrainingError> {
        for layer in &self.layers {
            let weights = layer.parameter.map_or_else(|| layer.weights.clone(), |p| self.parameters[p].value.clone());
            let graph = model.graph.as_mut().unwrap();
            let place = graph.initializer.iter_mut().find(|t| t.name() == layer.name).unwrap();
            *place = f32_tensor(layer.name, &[layer.to as i64, layer.from as i64], &weights);
        }
        Ok(())
    }
}
