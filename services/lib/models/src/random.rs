//! What is known of a model whose weights nobody has trained yet: an architecture and random numbers. Callers: the
//! command line (`visavis models new`, `visavis train`) and the trainer.

use crate::{ChannelOrder, Checksum, Embedder, Input, Kind, Manifest};

/// What such a model's manifest has for a licence.
const RANDOM: &str = "random weights";

/// A network with random weights. Its graph scales its input itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untrained<'a> {
    /// Name of the architecture.
    pub name: &'a str,
    /// Where its layout is from.
    pub source: &'a str,
    /// Length of the embedding.
    pub dim: usize,
    /// Side of its input in pixels.
    pub side: u32,
}

impl Manifest {
    /// Of a model that is still to be trained.
    #[must_use]
    pub fn untrained(of: Untrained<'_>, onnx: &[u8]) -> Self {
        Self {
            name: of.name.to_owned(),
            description: format!("{}, random weights", of.source),
            file: format!("{}.onnx", of.name),
            bytes: Some(onnx.len() as u64),
            sha256: Checksum::of(onnx),
            sources: Vec::new(),
            licence: RANDOM.to_owned(),
            commercial: true,
            input: Input { channel_order: ChannelOrder::Rgb, mean: [0.0; 3], scale: [1.0; 3], size: [of.side; 2] },
            kind: Kind::Embedder(Embedder {
                dim: of.dim,
                alignment: "arcface_112".to_owned(),
                calibration: Vec::new(),
            }),
            quantised: None,
            folder: None,
        }
    }

    /// Whether its weights are random: they stay so when they come from a file.
    #[must_use]
    pub fn is_untrained(&self) -> bool {
        self.licence == RANDOM
    }
}
