//! A run on the terminal: a bar with loss, rate and pace; a line for each validation. Elsewhere log lines. A signal
//! makes the run put down its state and stop.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;
use training::{Event, Next, Phase, Progress, StepReport, ValidationReport};

/// Shows a run.
pub struct Terminal {
    stop: CancellationToken,
    bar: ProgressBar,
    shown: Shown,
    visible: bool,
}

/// What the bar is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Nothing,
    Phase(Phase),
    Steps,
}

const STEPS: &str = "step {pos} of {len} [{bar:24}] {msg}";
const PHASE: &str = "{msg}: {pos} of {len} photos [{bar:24}] {per_sec} {eta:>4}";

impl Terminal {
    /// Until `stop` is cancelled.
    pub fn new(stop: CancellationToken) -> Self {
        let visible = std::io::stderr().is_terminal();
        Self { stop, bar: ProgressBar::hidden(), shown: Shown::Nothing, visible }
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        self.bar.finish_and_clear();
    }

    fn show(&mut self, what: Shown, template: &str, of: u64) {
        if self.shown == what || !self.visible {
            return;
        }
        self.bar.finish_and_clear();
        self.bar = ProgressBar::new(of);
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("=> "));
        }
        self.shown = what;
    }

    fn phase(&mut self, phase: Phase, done: usize, of: usize) {
        let name = match phase {
            Phase::Reading => "reading",
            Phase::Embedding => "embedding",
            Phase::Evaluating => "comparing",
        };
        self.show(Shown::Phase(phase), PHASE, of as u64);
        self.bar.set_message(name);
        self.bar.set_position(done as u64);
        if done == of && !self.visible {
            tracing::info!(photos = of, "{name}: done");
        }
    }

    fn step(&mut self, s: &StepReport) {
        self.show(Shown::Steps, STEPS, s.of);
        self.bar.set_position(s.step);
        let eta = std::time::Duration::from_secs(s.eta_seconds as u64);
        let (loss, lr, speed) = (s.loss, s.lr, s.images_per_second);
        self.bar.set_message(format!("loss {loss:.3}, rate {lr:.1e}, {speed:.1} photos/s, {eta:?} left"));
        if !self.visible {
            tracing::info!(step = s.step, of = s.of, loss, lr, images_per_second = speed, "step");
        }
    }

    fn validated(&self, v: &ValidationReport) {
        let best = if v.best { ", the best so far" } else { "" };
        let line = format!(
            "epoch {:.1}: TAR {:.2} % at FMR {} %, AUC {:.4}{best}",
            v.epoch,
            100.0 * v.tar,
            100.0 * v.fmr,
            v.auc
        );
        if self.visible {
            self.bar.println(line);
        } else {
            tracing::info!(step = v.step, tar = v.tar, auc = v.auc, best = v.best, "validated");
        }
    }
}

impl Progress for Terminal {
    fn at(&mut self, event: &Event<'_>) -> Next {
        match *event {
            Event::Phase { phase, done, of } => self.phase(phase, done, of),
            Event::Step(report) => self.step(report),
            Event::Validated(report) => self.validated(report),
        }
        if self.stop.is_cancelled() { Next::Stop } else { Next::Continue }
    }
}
