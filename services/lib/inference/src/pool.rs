//! Engines of one model, for callers that compute on their own threads: each borrows an engine, fills its input
//! buffer, runs it and reads the outputs in place. Callers: the worker's stages on processors, and the bench.
//!
//! A caller that holds a core anyway loses nothing by waiting for its own result, and saves the copies and the two
//! changes of thread that a session's thread costs.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use crate::{Engine, InferenceError, OutputRef, Provider, Signature, TensorRef};

/// Engines to borrow. Cheap to clone.
#[derive(Clone)]
pub struct EnginePool(Arc<Pool>);

struct Pool {
    name: String,
    signature: Signature,
    max_batch: usize,
    provider: Provider,
    state: Mutex<State>,
    freed: Condvar,
}

struct State {
    idle: Vec<Slot>,
    /// Idle and borrowed ones.
    alive: usize,
}

/// An engine and the buffer its inputs are written to, kept from run to run: a fresh one would cost the kernel's
/// clearing of its pages every time.
struct Slot {
    engine: Box<dyn Engine>,
    input: Vec<f32>,
}

impl EnginePool {
    /// A pool of like engines of one model; `None` without any.
    #[must_use]
    pub fn new(name: &str, engines: Vec<Box<dyn Engine>>) -> Option<Self> {
        let first = engines.first()?;
        let (signature, max_batch, provider) = (first.signature().clone(), first.max_batch(), first.provider());
        let idle: Vec<Slot> = engines.into_iter().map(|engine| Slot { engine, input: Vec::new() }).collect();
        let state = Mutex::new(State { alive: idle.len(), idle });
        let pool = Pool { name: name.to_owned(), signature, max_batch, provider, state, freed: Condvar::new() };
        Some(Self(Arc::new(pool)))
    }

    /// Runs a batch of this shape on the calling thread: `fill` writes the whole input (it finds what the last run
    /// left there), `read` sees the outputs in the engine's memory. Gives what `read` gave and the time in the engine.
    /// Waits while all engines are borrowed.
    ///
    /// # Errors
    /// Those of `fill` and of [`Engine::infer`]; [`InferenceError::SessionEnded`] once every engine has panicked.
    pub fn run<T, E: From<InferenceError>>(
        &self,
        shape: &[usize],
        fill: impl FnOnce(&mut [f32]) -> Result<(), E>,
        read: impl FnOnce(&[OutputRef<'_>]) -> T,
    ) -> Result<(T, Duration), E> {
        let len = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let len = len.ok_or_else(|| InferenceError::Shape(format!("of shape {shape:?} is too large")))?;
        let mut borrowed = self.borrow()?;
        let slot = borrowed.slot()?;
        slot.input.resize(len, 0.0);
        fill(&mut slot.input)?;
        let (mut read, mut result) = (Some(read), None);
        let input = TensorRef { shape, data: &slot.input };
        let elapsed = slot.engine.infer(input, &mut |outputs| result = read.take().map(|read| read(outputs)))?;
        let result = result.ok_or_else(|| InferenceError::Run("the engine showed no outputs".into()))?;
        Ok((result, elapsed))
    }

    /// Runs every engine once on zeros of this shape, so that no request pays for what a first run sets up.
    ///
    /// # Errors
    /// As [`Engine::infer`].
    pub fn warm_up(&self, shape: &[usize]) -> Result<(), InferenceError> {
        let zeros = vec![0.0; shape.iter().product()];
        let all = (0..self.size()).map(|_| self.borrow()).collect::<Result<Vec<_>, _>>()?;
        for mut borrowed in all {
            borrowed.slot()?.engine.infer(TensorRef { shape, data: &zeros }, &mut |_| ())?;
        }
        Ok(())
    }

    /// Engines, borrowed ones too.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).alive
    }

    /// Name of the model.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What goes in and what comes out.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.0.signature
    }

    /// The largest batch.
    #[must_use]
    pub fn max_batch(&self) -> usize {
        self.0.max_batch
    }

    /// What computes.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.0.provider
    }

    fn borrow(&self) -> Result<Borrowed<'_>, InferenceError> {
        let pool = &*self.0;
        let mut state = pool.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(slot) = state.idle.pop() {
                return Ok(Borrowed { pool, slot: Some(slot) });
            }
            if state.alive == 0 {
                return Err(InferenceError::SessionEnded(pool.name.clone()));
            }
            state = pool.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Goes back to the pool however its use ends, unless the engine panicked: nobody knows what state it is in then.
struct Borrowed<'a> {
    pool: &'a Pool,
    slot: Option<Slot>,
}

impl Borrowed<'_> {
    fn slot(&mut self) -> Result<&mut Slot, InferenceError> {
        let ended = || InferenceError::SessionEnded(self.pool.name.clone());
        self.slot.as_mut().ok_or_else(ended)
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock().unwrap_or_else(PoisonError::into_inner);
        if thread::panicking() {
            state.alive -= 1;
            self.pool.freed.notify_all();
        } else {
            state.idle.extend(self.slot.take());
            self.pool.freed.notify_one();
        }
    }
}

impl std::fmt::Debug for EnginePool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EnginePool({} x {})", self.size(), self.name())
    }
}
