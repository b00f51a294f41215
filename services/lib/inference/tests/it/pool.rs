//! Borrowed engines, on the fake engine: what callers on their own threads see when engines are few, wrong or gone.

use std::{
    sync::{Arc, Barrier},
    thread,
};

use visavis_inference::{Engine, EnginePool, FakeEngine, InferenceError, OutputRef, Signature, TensorSpec};

/// Doubles; panics at 13, fails at negative values.
fn engine() -> Box<dyn Engine> {
    let spec = |name: &str| TensorSpec { name: name.into(), dims: vec![None, Some(1)] };
    let signature = Signature { input: spec("x"), outputs: vec![spec("y")] };
    Box::new(FakeEngine::new(signature, 4, |item| match item[0] {
        13.0 => panic!("the engine breaks"),
        v if v < 0.0 => Err(InferenceError::Run("negative".into())),
        v => Ok(vec![vec![v * 2.0]]),
    }))
}

fn pool(size: usize) -> EnginePool {
    EnginePool::new("double", (0..size).map(|_| engine()).collect()).expect("at least one engine")
}

fn doubled(pool: &EnginePool, values: &[f32]) -> Result<Vec<f32>, InferenceError> {
    let fill = |input: &mut [f32]| {
        input.copy_from_slice(values);
        Ok::<_, InferenceError>(())
    };
    let first = |outputs: &[OutputRef<'_>]| outputs[0].data.to_vec();
    pool.run(&[values.len(), 1], fill, first).map(|(output, _)| output)
}

#[test]
fn every_caller_gets_its_own_outputs_however_many_there_are() {
    let pool = pool(2);
    let start = Barrier::new(8);
    thread::scope(|scope| {
        for caller in 0..8_u8 {
            let (pool, start) = (pool.clone(), &start);
            scope.spawn(move || {
                start.wait();
                for i in 0..200_u8 {
                    let (a, b) = (f32::from(caller) + 100.0, f32::from(i) + 500.0);
                    assert_eq!(doubled(&pool, &[a, b, a]).unwrap(), [a * 2.0, b * 2.0, a * 2.0]);
                }
            });
        }
    });
    assert_eq!(pool.size(), 2);
}

#[test]
fn a_failed_run_and_a_failed_input_give_the_engine_back() {
    let pool = pool(1);
    assert!(matches!(doubled(&pool, &[-1.0]), Err(InferenceError::Run(_))));
    assert!(matches!(doubled(&pool, &[1.0; 5]), Err(InferenceError::Shape(_))), "more than the largest batch");
    let broken = pool.run(&[1, 1], |_| Err(InferenceError::Shape("the caller's".into())), |_| ());
    assert_eq!(broken.unwrap_err(), InferenceError::Shape("the caller's".into()));
    assert!(pool.run(&[usize::MAX, 2], |_| Ok::<_, InferenceError>(()), |_| ()).is_err());
    assert_eq!(doubled(&pool, &[4.0]).unwrap(), [8.0]);
}

#[test]
fn engines_that_panicked_are_gone_and_the_last_ones_callers_are_told() {
    let pool = Arc::new(pool(2));
    let panicked = |pool: &Arc<EnginePool>| {
        let pool = Arc::clone(pool);
        thread::spawn(move || doubled(&pool, &[13.0])).join().is_err()
    };
    assert!(panicked(&pool));
    assert_eq!((pool.size(), doubled(&pool, &[1.0]).unwrap()), (1, vec![2.0]));
    assert!(panicked(&pool));
    assert_eq!(doubled(&pool, &[1.0]).unwrap_err(), InferenceError::SessionEnded("double".into()));
    assert!(EnginePool::new("none", Vec::new()).is_none());
}
