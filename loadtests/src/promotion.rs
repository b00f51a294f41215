//! A model that takes another's place under load, as an operator would have it: registered, held against the one that
//! answers, promoted, waited for. Called by `stand`.

use std::{
    fs,
    time::{Duration, Instant},
};

use bytes::Bytes;
use models::{Cache, Catalogue, Checksum, Manifest};
use onnx::tensor;
use serde_json::{Value, json};
use testkit::Client;

use crate::{failure::Failure, residents::expect};

/// The default embedder, and what the changed one is called.
const DEFAULT: &str = "sface";
const CHANGED: &str = "load-changed";
/// Noise on its weights, as a share of their size: the same faces, other numbers.
const STRENGTH: f32 = 0.02;
/// Time between two looks at a promotion, and the longest one.
const LOOK: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(120);

/// What a local cluster is told, so that it can promote: a place for crops and models, and a gate that looks at all of its
/// people and lets pass whatever is not much worse. Whether the gate decides well is not what a load shows.
pub fn settings(objects: &str) -> Vec<(String, String)> {
    let gate = [("REQUIRE_BETTER", "false"), ("HELD_OUT_MARGIN", "1"), ("RESAMPLES", "200")];
    let gate = gate.map(|(k, v)| (format!("VISAVIS__GATE__{k}"), v.to_owned()));
    [("VISAVIS__OBJECTS__URL".to_owned(), objects.to_owned())].into_iter().chain(gate).collect()
}

/// A model that may take another's place.
#[derive(Clone, Debug)]
pub enum Newcomer {
    /// To be registered first.
    File { manifest: String, onnx: Bytes },
    /// Registered under this id.
    Registered(String),
}

impl Newcomer {
    /// The default embedder with a little noise on its convolutions. The cluster has fetched it before.
    ///
    /// # Errors
    /// Files that are not there, or are not what they should be.
    pub fn make() -> Result<Self, Failure> {
        let unfit = |e: &dyn std::fmt::Display| Failure::Other(format!("a second model cannot be made: {e}"));
        let catalogue = Catalogue::built_in().map_err(|e| unfit(&e))?;
        let like = catalogue.embedder(DEFAULT).map_err(|e| unfit(&e))?;
        let cache = Cache::open(testkit::cache_dir()).map_err(|e| unfit(&e))?;
        let path = cache.path_of(&like.artefact());
        let file = fs::read(&path).map_err(|e| Failure::file(&path, &e))?;
        let mut model = onnx::decode(&file).map_err(|e| unfit(&e))?;
        for weights in model.graph.iter_mut().flat_map(|g| &mut g.initializer).filter(|t| t.dims.len() == 4) {
            let values = disturbed(tensor::f32_data(weights).map_err(|e| unfit(&e))?);
            *weights = tensor::f32_tensor(weights.name(), &weights.dims, &values);
        }
        let onnx = onnx::encode(&model);
        let manifest = Manifest {
            name: CHANGED.to_owned(),
            file: format!("{CHANGED}.onnx"),
            bytes: Some(onnx.len() as u64),
            sha256: Checksum::of(&onnx),
            sources: Vec::new(),
            folder: None,
            ..like.clone()
        };
        let manifest = manifest.to_toml("the default model's").map_err(|e| unfit(&e))?;
        Ok(Self::File { manifest, onnx: onnx.into() })
    }

    /// Puts it in the place of the one that answers for the collection, and waits until it is there. Gives what came of
    /// it, for people.
    ///
    /// # Errors
    /// What is not answered as it should be; the gate's refusal; a promotion that does not end.
    pub async fn promote(self, client: Client, collection: String) -> Result<String, Failure> {
        let began = Instant::now();
        let id = match self {
            Self::Registered(id) => id,
            Self::File { manifest, onnx } => {
                let answer = client.register_model(CHANGED, &manifest, onnx).await;
                expect("POST /v1/models", answer.map_err(|e| Failure::Service(e.to_string()))?, 201)?;
                CHANGED.to_owned()
            }
        };
        let path = format!("/v1/models/{id}/promote");
        // The gate has its time whatever the machine does beside.
        let request = client.request("POST", &path).header("prefer", "respond-async");
        let answer = client.try_send(request.json(&json!({"collection_id": collection}))).await;
        expect(&path, answer.map_err(|e| Failure::Service(e.to_string()))?, 202)?;
        while !answers_by_now(&client, &id, &collection).await? {
            if began.elapsed() > LONGEST {
                return Err(Failure::Service(format!("the promotion of {id} has not ended after {LONGEST:?}")));
            }
            tokio::time::sleep(LOOK).await;
        }
        let left = get(&client, &format!("/v1/models/{id}/left-behind?collection_id={collection}")).await?;
        if left["items"].as_array().is_none_or(|items| !items.is_empty()) {
            return Err(Failure::Service(format!("{id} does not find everybody: {}", left["items"])));
        }
        Ok(format!("the model {id} answers, {:.1} s after that", began.elapsed().as_secs_f64()))
    }
}

/// Whether a promotion has come to its end.
async fn answers_by_now(client: &Client, id: &str, collection: &str) -> Result<bool, Failure> {
    let model = get(client, &format!("/v1/models/{id}")).await?;
    let places = model["collections"].as_array();
    let Some(place) = places.and_then(|all| all.iter().find(|p| p["collection_id"] == collection)) else {
        return Ok(false);
    };
    if place["state"] == "evaluated" {
        let card = get(client, &format!("/v1/models/{id}/card")).await?;
        let refused = |e: &&Value| e["passed"] == false && e["collection_id"] == collection;
        if let Some(found) = card["evaluations"].as_array().and_then(|all| all.iter().find(refused)) {
            return Err(Failure::Service(format!("the gate refuses {id}: {}", found["report"]["reasons"])));
        }
    }
    Ok(place["state"] == "champion" && place["promotion"]["phase"] == "done")
}

async fn get(client: &Client, path: &str) -> Result<Value, Failure> {
    let answer = client.try_send(client.request("GET", path)).await;
    Ok(expect(path, answer.map_err(|e| Failure::Service(format!("GET {path}: {e}")))?, 200)?.json)
}

/// Values with noise that is the same in every run.
fn disturbed(mut values: Vec<f32>) -> Vec<f32> {
    #[expect(clippy::cast_precision_loss, reason = "some hundred thousand weights")]
    let size = (values.iter().map(|v| v * v).sum::<f32>() / values.len().max(1) as f32).sqrt();
    let mut state = 11_u64;
    for value in &mut values {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let drawn = u16::try_from(state >> 48).unwrap_or_default();
        *value += STRENGTH * size * (f32::from(drawn) / 32_768.0 - 1.0);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_changes_every_weight_a_little() {
        let before = vec![1.0_f32; 1000];
        let after = disturbed(before.clone());
        assert!(before.iter().zip(&after).all(|(b, a)| (b - a).abs() <= STRENGTH));
        assert!(after.iter().filter(|a| **a != 1.0).count() > 990);
    }
}
