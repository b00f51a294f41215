//! Bars for downloads: on a terminal as bars, elsewhere as log lines.

use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};
use models::Progress;

/// One bar for each download.
#[derive(Default)]
pub struct Bars {
    current: Mutex<Option<ProgressBar>>,
}

impl Bars {
    fn with<T>(&self, f: impl FnOnce(&mut Option<ProgressBar>) -> T) -> T {
        f(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Progress for Bars {
    fn begin(&self, what: &str, bytes: u64) {
        let bar = ProgressBar::new(bytes).with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{msg:24} [{bar:32}] {bytes:>10} of {total_bytes} {eta:>4}") {
            bar.set_style(style.progress_chars("=> "));
        }
        if bar.is_hidden() {
            tracing::info!(what, bytes, "downloading");
        }
        self.with(|current| *current = Some(bar));
    }

    fn advance(&self, bytes: u64) {
        self.with(|current| {
            if let Some(bar) = current {
                bar.set_position(bytes);
            }
        });
    }

    fn end(&self) {
        if let Some(bar) = self.with(Option::take) {
            bar.set_position(bar.length().unwrap_or_default());
            bar.finish();
        }
    }
}
