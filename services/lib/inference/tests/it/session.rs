//! The session thread, on the fake engine: what callers see when it is busy, slow, wrong or gone.

use std::{sync::mpsc, time::Duration};

use domain::ErrorCode;
use tokio::time::timeout;
use visavis_inference::{FakeEngine, InferenceError, SessionHandle, Signature, Tensor, TensorSpec};

/// Only ever waited for in full when something hangs.
const HUNG: Duration = Duration::from_secs(20);

fn signature() -> Signature {
    let spec = |name: &str| TensorSpec { name: name.into(), dims: vec![None, Some(1)] };
    Signature { input: spec("x"), outputs: vec![spec("y")] }
}

fn batch(values: &[f32]) -> Tensor {
    Tensor::new([values.len(), 1], values.to_vec()).unwrap()
}

/// Doubles each item; panics at 13, fails at negative ones.
fn doubling() -> FakeEngine {
    FakeEngine::new(signature(), 32, |item| match item[0] {
        13.0 => panic!("the engine breaks"),
        v if v < 0.0 => Err(InferenceError::Run("negative".into())),
        v => Ok(vec![vec![v * 2.0]]),
    })
}

#[tokio::test]
async fn batches_come_back_in_order_and_are_counted() {
    let session = SessionHandle::spawn("double", doubling()).unwrap();
    let out = session.run(batch(&[1.0, 2.0, 3.0])).await.unwrap();
    assert_eq!(out.get("y").unwrap().data(), [2.0, 4.0, 6.0]);
    assert!(matches!(out.get("z"), Err(InferenceError::Run(_))));
    // Fine inside a runtime as well.
    assert_eq!(session.run_blocking(batch(&[4.0])).unwrap().first().unwrap().data(), [8.0]);
    let failed = session.run(batch(&[-1.0])).await.unwrap_err();
    assert_eq!(failed.code(), ErrorCode::InferenceFailed);
    let stats = session.stats();
    assert_eq!((stats.runs, stats.items), (2, 4), "failures are not counted");
    assert!(session.is_alive());
}

#[tokio::test]
async fn when_the_thread_dies_running_waiting_and_later_callers_get_an_error() {
    let session = SessionHandle::spawn("fragile", doubling()).unwrap();
    let calls = [13.0, 1.0, 2.0, 3.0].map(|v| session.run(batch(&[v])));
    let [a, b, c, d] = calls;
    let all = timeout(HUNG, async { tokio::join!(a, b, c, d) }).await.expect("nobody hangs");
    for outcome in [all.0, all.1, all.2, all.3] {
        let e = outcome.unwrap_err();
        assert_eq!(e, InferenceError::SessionEnded("fragile".into()));
        assert_eq!(e.code(), ErrorCode::ModelNotReady);
    }
    let later = timeout(HUNG, session.run(batch(&[1.0]))).await.expect("nor later");
    assert!(later.is_err() && !session.is_alive());
}

#[tokio::test]
async fn a_caller_that_gave_up_while_waiting_is_not_computed_for() {
    let (started, at_start) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let engine = FakeEngine::new(signature(), 32, move |item| {
        started.send(item[0]).unwrap();
        gate.recv().unwrap();
        Ok(vec![vec![item[0]]])
    });
    let session = SessionHandle::spawn("gated", engine).unwrap();
    let call = |v: f32| {
        let session = session.clone();
        tokio::spawn(async move { session.run(batch(&[v])).await })
    };
    let first = call(1.0);
    tokio::task::yield_now().await;
    assert_eq!(at_start.recv_timeout(HUNG), Ok(1.0));
    // The second takes the one place in the channel and is then abandoned.
    let second = call(2.0);
    tokio::task::yield_now().await;
    second.abort();
    assert!(second.await.unwrap_err().is_cancelled());
    let third = call(3.0);
    tokio::task::yield_now().await;
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert!(first.await.unwrap().is_ok() && third.await.unwrap().is_ok());
    assert_eq!(at_start.try_iter().collect::<Vec<_>>(), [3.0], "the second never started");
}

#[test]
fn the_fake_embedder_tells_crops_apart_and_repeats_itself() {
    let session = SessionHandle::spawn("fake", FakeEngine::embedder(&[3, 4, 4], 8)).unwrap();
    session.warm_up(&[3, 4, 4]).unwrap();
    let crops = Tensor::new([2, 3, 4, 4], (0..96).map(|i| (i * i % 97) as f32).collect()).unwrap();
    let (a, b) = (session.run_blocking(crops.clone()).unwrap(), session.run_blocking(crops).unwrap());
    assert_eq!(a.first(), b.first());
    assert_ne!(a.first().unwrap().item(0), a.first().unwrap().item(1));
    assert!(session.run_blocking(batch(&[1.0])).is_err(), "another shape is refused");
}
