//! The three steps of a quantisation in order: plan, calibrate, write. Called by `visavis models quantize` and tests.

use std::collections::BTreeMap;

use onnx::{ModelProto, proto::ValueInfoProto};

use crate::{
    CompressError, QUANTISER_VERSION, Range, emit,
    histogram::Histogram,
    plan::{Plan, plan},
    prepare::prepare,
};

/// What the copy of an input is called in the observed graph, behind the input's name.
const COPY: &str = "/observed";

/// A float graph and what will become of it.
#[derive(Clone, Debug)]
pub struct Quantiser {
    model: ModelProto,
    plan: Plan,
}

/// Ranges of the values that become 8 bits wide, by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges(pub(crate) BTreeMap<String, Range>);

/// Takes name, shape ([n, channels, ...]) and elements of each value that a sample gave.
pub type Observe<'a> = dyn FnMut(&str, &[usize], &[f32]) + 'a;

impl Quantiser {
    /// Plans the quantisation of a shipped model, from the bytes of its `.onnx` file.
    ///
    /// # Errors
    /// [`CompressError::Graph`], [`CompressError::OperatorSet`], [`CompressError::Already`] or
    /// [`CompressError::NothingToDo`].
    pub fn new(onnx: &[u8]) -> Result<Self, CompressError> {
        let model = prepare(onnx)?;
        let plan = match &model.graph {
            Some(graph) => plan(graph)?,
            None => return Err(CompressError::NothingToDo),
        };
        Ok(Self { model, plan })
    }

    /// Number of values that become 8 bits wide.
    #[must_use]
    pub fn values(&self) -> usize {
        self.plan.sites.len()
    }

    /// The float graph with every value as an output whose range is needed: bytes of an `.onnx` file. Inputs are those
    /// of the model, with a symbolic batch.
    #[must_use]
    pub fn observed(&self) -> Vec<u8> {
        let mut model = self.model.clone();
        if let Some(graph) = &mut model.graph {
            let typed = |name: &str| {
                use onnx::proto::{TypeProto, type_proto};
                let tensor = type_proto::Tensor { elem_type: Some(1), shape: None };
                let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
                ValueInfoProto { name: Some(name.into()), r#type: Some(r#type), ..Default::default() }
            };
            let inputs: Vec<String> = graph.input.iter().map(|i| i.name().to_owned()).collect();
            let mut outputs = Vec::with_capacity(self.plan.sites.len());
            for site in &self.plan.sites {
                // An input cannot be an output as it is.
                if inputs.contains(&site.value) {
                    let copy = format!("{}{COPY}", site.value);
                    graph.node.push(onnx::graph::node("Identity", &[&site.value], &copy));
                    outputs.push(typed(&copy));
                } else {
                    outputs.push(typed(&site.value));
                }
            }
            graph.output = outputs;
        }
        onnx::encode(&model)
    }

    /// Finds the ranges from `samples` samples. `run(i, observe)` runs sample `i` through [`Self::observed`] and hands
    /// each output to `observe`; it is called twice for each, first for the extremes, then for what lies between.
    ///
    /// # Errors
    /// [`CompressError::NoSamples`], [`CompressError::Observation`], or the error of `run`.
    pub fn calibrate<E: From<CompressError>>(
        &self,
        samples: usize,
        mut run: impl FnMut(usize, &mut Observe<'_>) -> Result<(), E>,
    ) -> Result<Ranges, E> {
        if samples == 0 {
            return Err(CompressError::NoSamples.into());
        }
        let mut seen: BTreeMap<&str, Histogram> =
            self.plan.sites.iter().map(|s| (s.value.as_str(), Histogram::new())).collect();
        let mut fault = None;
        for i in 0..samples {
            let mut met = 0;
            run(i, &mut |name, _, data| {
                if let Some(h) = seen.get_mut(site(name)) {
                    met += 1;
                    fault = fault.take().or(h.widen(name, data).err());
                }
            })?;
            if met != seen.len() {
                let missing =
                    CompressError::Observation { value: format!("{met} of {}", seen.len()), why: "was observed" };
                return Err(missing.into());
            }
            if let Some(fault) = fault {
                return Err(fault.into());
            }
        }
        seen.values_mut().for_each(Histogram::open);
        let activations: BTreeMap<&str, _> =
            self.plan.sites.iter().map(|s| (s.value.as_str(), &s.activation)).collect();
        for i in 0..samples {
            run(i, &mut |name, shape, data| {
                if let (Some(h), Some(activation)) = (seen.get_mut(site(name)), activations.get(site(name))) {
                    h.count(activation, shape, data);
                }
            })?;
        }
        let range = |(name, h): (&&str, &Histogram)| ((*name).to_owned(), Range::of(h, activations[*name]));
        Ok(Ranges(seen.iter().map(range).collect()))
    }

    /// The quantised graph: bytes of an `.onnx` file, the same for the same model and ranges.
    ///
    /// # Errors
    /// [`CompressError::Observation`] for ranges of another graph; [`CompressError::Graph`].
    pub fn quantise(&self, ranges: &Ranges) -> Result<Vec<u8>, CompressError> {
        let mut model = self.model.clone();
        if let Some(graph) = model.graph.take() {
            model.graph = Some(emit::emit(graph, &self.plan, ranges)?);
        }
        onnx::rewrite::prelu_as_relu(&mut model)?;
        model.producer_name = Some("visavis".into());
        model.producer_version = Some(format!("quantiser {QUANTISER_VERSION}"));
        Ok(onnx::encode(&model))
    }
}

/// The name of the value that an output of the observed graph shows.
fn site(output: &str) -> &str {
    output.strip_suffix(COPY).unwrap_or(output)
}
