//! `visavis train`: on what, how, from which model.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ModelArgs;
use crate::settings::Flags;

/// Flags of `train`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct TrainArgs {
    #[command(subcommand)]
    pub command: Option<TrainCommand>,
    #[command(flatten)]
    pub photos: PhotoArgs,
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// What training begins with: a model of the catalogue, an .onnx file with its manifest beside it, or an
    /// architecture with random weights (see `models new`) [default: the configured embedder]
    #[arg(long, value_name = "MODEL|ARCH")]
    pub init: Option<String>,
    /// Folder of the run; the same command with the same folder goes on where it was [default: train-RECIPE]
    #[arg(long, value_name = "RUN_DIR")]
    pub out: Option<PathBuf>,
    /// Threads; 0 takes one per core. Part of what decides on the outcome
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub models: ModelArgs,
}

/// More of `train`.
#[derive(Debug, Subcommand)]
pub enum TrainCommand {
    /// Draw what augmentation makes of a few photos: a column for each effect, then photos as training sees them
    Preview(PreviewArgs),
}

/// Flags of `train preview`.
#[derive(Debug, Args)]
pub struct PreviewArgs {
    #[command(flatten)]
    pub photos: PhotoArgs,
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// The sheet, a PNG file
    #[arg(long, value_name = "FILE.png")]
    pub out: PathBuf,
    /// Photos on it, each of another person where there are so many
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub rows: usize,
    #[command(flatten)]
    pub models: ModelArgs,
}

/// Which photos.
#[derive(Debug, Args)]
pub struct PhotoArgs {
    /// Folder with a folder for each person
    #[arg(long, value_name = "DIR", required = true)]
    pub data: Option<PathBuf>,
    /// The photos are aligned faces of 112×112 pixels, or of 184×184 with margin: no detector is run
    #[arg(long)]
    pub aligned: bool,
}

/// Which recipe.
#[derive(Debug, Args)]
pub struct RecipeArgs {
    /// from-scratch, fine-tune-head, fine-tune-tail, fine-tune-full, or a TOML file [default: fine-tune-full for a
    /// model, from-scratch for an architecture]
    #[arg(long, value_name = "NAME|FILE")]
    pub recipe: Option<String>,
    /// Sets a value of the recipe, such as epochs=3 or augment.noise.probability=1
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
}

/// Flags of `models new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// mobilefacenet, iresnet18, iresnet50, iresnet100, vit-t, vit-s or vit-b
    #[arg(value_name = "ARCH")]
    pub architecture: String,
    /// The model, an .onnx file; its manifest is written beside it
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Start of the random weights
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Length of the embedding [default: 128 for mobilefacenet, else 512]
    #[arg(long, value_name = "D")]
    pub dim: Option<usize>,
    /// Share of values dropped before the last layer while training; 0 for no such node
    #[arg(long, value_name = "P", default_value_t = 0.3)]
    pub dropout: f32,
}

impl TrainArgs {
    /// As the topmost layer of the configuration.
    pub fn settings(&self) -> Flags {
        match &self.command {
            Some(TrainCommand::Preview(args)) => args.models.settings(),
            None => self.models.settings(),
        }
    }
}
