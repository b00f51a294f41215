//! Decode: encoded bytes to an upright picture, with the pixels in flight bounded. Called by the
//! pipeline for every image of a job.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use domain::{ErrorCode, Problem};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vision::{Limits, Rgb8};

use super::{in_time, problem};

/// Pixels per permit: a semaphore counts in u32, and finer steps would serve nobody.
const PIXELS_PER_PERMIT: u64 = 4096;

/// Decodes pictures within a budget of pixels.
#[derive(Clone, Debug)]
pub struct Decoder {
    limits: Limits,
    budget: Arc<Semaphore>,
    permits: u32,
    #[cfg(debug_assertions)]
    crash_on: Option<Arc<str>>,
}

/// A decoded picture; the budget gets its pixels back when this is dropped.
#[derive(Debug)]
pub struct Picture {
    /// Upright pixels.
    pub pixels: Rgb8,
    _held: OwnedSemaphorePermit,
}

impl Decoder {
    /// A decoder that holds at most `max_pixels_in_flight`, and at least one picture of the largest size allowed.
    #[must_use]
    pub fn new(limits: Limits, max_pixels_in_flight: u64) -> Self {
        let pixels = max_pixels_in_flight.max(limits.max_pixels);
        let permits = u32::try_from(pixels.div_ceil(PIXELS_PER_PERMIT)).unwrap_or(u32::MAX >> 3);
        let budget = Arc::new(Semaphore::new(permits as usize));
        Self {
            limits,
            budget,
            permits,
            #[cfg(debug_assertions)]
            crash_on: None,
        }
    }

    /// Aborts the process when it meets the image of this SHA-256 (hex): a defect in native code, made to order.
    #[cfg(debug_assertions)]
    #[must_use]
    pub fn crash_on(self, image: Option<&str>) -> Self {
        Self { crash_on: image.map(Into::into), ..self }
    }

    /// Sets pixels aside for one image, once there are enough. Its limits are checked against its header before any
    /// memory is taken.
    ///
    /// # Errors
    /// As [`vision::probe`]; `deadline_exceeded` when the budget was not free in time.
    pub async fn admit(&self, bytes: Bytes, deadline: Instant) -> Result<Admitted, Problem> {
        #[cfg(debug_assertions)]
        if let Some(fatal) = &self.crash_on {
            use sha2::Digest;
            if hex::encode(sha2::Sha256::digest(&bytes)) == **fatal {
                std::process::abort();
            }
        }
        let info = vision::probe(&bytes, &self.limits).map_err(|e| problem(e.code(), e))?;
        let pixels = u64::from(info.width) * u64::from(info.height);
        let wanted = u32::try_from(pixels.div_ceil(PIXELS_PER_PERMIT)).unwrap_or(u32::MAX).clamp(1, self.permits);
        let held = Arc::clone(&self.budget).acquire_many_owned(wanted).await;
        let held = held.map_err(|_| Problem::new(ErrorCode::Internal, "the worker is shutting down"))?;
        in_time(deadline)?;
        Ok(Admitted { bytes, limits: self.limits, held })
    }
}

/// An image that may be decoded.
#[derive(Debug)]
pub struct Admitted {
    bytes: Bytes,
    limits: Limits,
    held: OwnedSemaphorePermit,
}

impl Admitted {
    /// Decodes on this thread.
    ///
    /// # Errors
    /// As [`vision::decode`].
    pub fn decode(self) -> Result<Picture, Problem> {
        let pixels = vision::decode(&self.bytes, &self.limits).map_err(|e| problem(e.code(), e))?;
        Ok(Picture { pixels, _held: self.held })
    }
}
