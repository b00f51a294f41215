//! Pure image maths, the only copy of it: encoded bytes to an upright picture, letterboxing, tensors, detector
//! outputs to faces, alignment, choice of the face, pose and quality. No IO, no async, no threads of its own.
//! The worker, the evaluator and the trainer call it, so that all three see the same pixels.
//!
//! ```text
//! bytes ─decode─▶ Rgb8 ─letterbox_tensor─▶ detector ─DetectorHead::decode─▶ Detection ─align─▶ 112×112 ─▶ embedder
//!                                                                              └──── describe ────▶ domain::Face
//! ```

mod align;
mod augment;
mod decode;
mod describe;
mod detect;
mod encode;
mod image;
mod letterbox;
mod nms;
mod pose;
mod quality;
mod random;
mod resize;
mod select;
mod tensor;
mod views;

pub use align::{AlignError, Alignment, MARGIN, Similarity, align, align_with_margin, without_margin};
pub use augment::{Augment, AugmentError, Cover, Drawn, Effect, Key, Motion, Rectangle};
pub use decode::{DecodeError, ImageFormat, ImageInfo, Limits, Orientation, decode, probe};
pub use describe::describe;
pub use detect::{BatchItem, DetectError, Detection, DetectorHead, DetectorParams, OutputView};
pub use encode::encode_png;
pub use image::Rgb8;
pub use letterbox::{Letterbox, Region, letterbox, letterbox_tensor};
pub use nms::suppress;
pub use pose::estimate_pose;
pub use quality::{assess, level_of};
pub use random::Random;
pub use resize::resize;
pub use select::{primary, prominence, sort_by_prominence};
pub use tensor::{ChannelOrder, Normalisation, TensorError};
pub use views::{Canvas, Close, Views};
