//! Which networks there are, and how many parameters each has. The layouts lie in a file each.

use std::fmt;
use std::str::FromStr;

use onnx::ModelProto;

use crate::{builder::Builder, iresnet, mobilefacenet, vit};

/// Side of the input in pixels.
pub const SIDE: usize = 112;

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Chen et al. 2018, table 1: depthwise convolutions, a million parameters.
    MobileFaceNet,
    /// Deng et al. 2019 (ArcFace), blocks 2-2-2-2.
    IResNet18,
    /// Blocks 3-4-14-3.
    IResNet50,
    /// Blocks 3-13-30-3.
    IResNet100,
    /// Touvron et al. 2021 (DeiT-Ti) on patches of 8 pixels: as many tokens as on 224 with patches of 16.
    VitT,
    /// DeiT-S, likewise.
    VitS,
    /// DeiT-B, likewise.
    VitB,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::MobileFaceNet, Self::IResNet18, Self::IResNet50, Self::IResNet100, Self::VitT, Self::VitS, Self::VitB];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MobileFaceNet => "mobilefacenet",
            Self::IResNet18 => "iresnet18",
            Self::IResNet50 => "iresnet50",
            Self::IResNet100 => "iresnet100",
            Self::VitT => "vit-t",
            Self::VitS => "vit-s",
            Self::VitB => "vit-b",
        }
    }

    /// Length of the embedding unless another is asked for: that of the publication.
    #[must_use]
    pub const fn default_dim(self) -> usize {
        if matches!(self, Self::MobileFaceNet) { 128 } else { 512 }
    }

    /// Where the layout is from, for a manifest.
    #[must_use]
    pub const fn source(self) -> &'static str {
        match self {
            Self::MobileFaceNet => "MobileFaceNet (Chen et al. 2018, table 1)",
            Self::IResNet18 => "IResNet-18 (Deng et al. 2019)",
            Self::IResNet50 => "IResNet-50 (Deng et al. 2019)",
            Self::IResNet100 => "IResNet-100 (Deng et al. 2019)",
            Self::VitT => "ViT-T of DeiT (Touvron et al. 2021), patches of 8 pixels, mean of the tokens",
            Self::VitS => "ViT-S of DeiT (Touvron et al. 2021), patches of 8 pixels, mean of the tokens",
            Self::VitB => "ViT-B of DeiT (Touvron et al. 2021), patches of 8 pixels, mean of the tokens",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Architecture {
    type Err = ArchitectureError;

    fn from_str(name: &str) -> Result<Self, ArchitectureError> {
        // `vit_t` is what files are often called.
        let known = Self::ALL.into_iter().find(|a| a.name().eq_ignore_ascii_case(&name.replace('_', "-")));
        known.ok_or_else(|| ArchitectureError::Unknown(name.to_owned()))
    }
}

/// How a network is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Start of the random weights.
    pub seed: u64,
    /// Length of the embedding; the architecture's own where there is none.
    pub dim: Option<usize>,
    /// Share of values dropped before the last linear layer while training; at 0 there is no such node.
    pub dropout: f32,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 1, dim: None, dropout: 0.3 }
    }
}

/// What cannot be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ArchitectureError {
    /// No architecture of this name.
    #[error("there is no architecture named `{0}`; there are: {names}", names = names())]
    Unknown(String),
    /// A length that no template has.
    #[error("an embedding has 1 to 4096 values, not {0}")]
    Dim(usize),
    /// Not a share.
    #[error("dropout is a share from 0 to below 1, not {0}")]
    Dropout(f32),
}

fn names() -> String {
    Architecture::ALL.map(Architecture::name).join(", ")
}

/// Builds a network with random weights.
///
/// # Errors
/// Options that make no sense.
pub fn build(architecture: Architecture, options: &Options) -> Result<ModelProto, ArchitectureError> {
    let dim = options.dim.unwrap_or(architecture.default_dim());
    if !(1..=4096).contains(&dim) {
        return Err(ArchitectureError::Dim(dim));
    }
    if !(0.0..1.0).contains(&options.dropout) {
        return Err(ArchitectureError::Dropout(options.dropout));
    }
    let mut b = Builder::new(options.seed, options.dropout);
    let scaled = b.scaled_input();
    let embedding = match architecture {
        Architecture::MobileFaceNet => mobilefacenet::layers(&mut b, &scaled, dim),
        Architecture::IResNet18 => iresnet::layers(&mut b, &scaled, [2, 2, 2, 2], dim),
        Architecture::IResNet50 => iresnet::layers(&mut b, &scaled, [3, 4, 14, 3], dim),
        Architecture::IResNet100 => iresnet::layers(&mut b, &scaled, [3, 13, 30, 3], dim),
        Architecture::VitT => vit::layers(&mut b, &scaled, vit::Size { width: 192, heads: 3 }, dim),
        Architecture::VitS => vit::layers(&mut b, &scaled, vit::Size { width: 384, heads: 6 }, dim),
        Architecture::VitB => vit::layers(&mut b, &scaled, vit::Size { width: 768, heads: 12 }, dim),
    };
    Ok(b.finish(architecture.name(), &embedding, dim))
}

/// Number of trained values of a model: weights, biases, norms and slopes. Running statistics and constants do not count.
#[must_use]
pub fn parameters(model: &ModelProto) -> usize {
    let Some(g) = &model.graph else { return 0 };
    let trained = |name: &str| {
        g.node.iter().any(|n| n.input.iter().enumerate().any(|(i, v)| v == name && learns(n.op_type(), i)))
    };
    let elements = |dims: &[i64]| dims.iter().map(|d| usize::try_from(*d).unwrap_or(0)).product::<usize>();
    let floats = g.initializer.iter().filter(|t| t.data_type() == FLOAT && !t.dims.is_empty() && trained(t.name()));
    floats.map(|t| elements(&t.dims)).sum()
}

/// ONNX's number for 32-bit floats.
const FLOAT: i32 = 1;

/// Whether a constant at this input of an operator is one that training changes.
fn learns(op: &str, input: usize) -> bool {
    match op {
        "BatchNormalization" => input == 1 || input == 2,
        "Dropout" | "Reshape" | "ReduceMean" => false,
        _ => true,
    }
}
