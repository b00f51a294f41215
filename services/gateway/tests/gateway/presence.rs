//! How a stand-in worker is seen: it announces itself and answers what comes to its inbox.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use domain::{ErrorCode, JobId, Problem, Timestamp};
use queue::Queue;
use store::Store;
use tokio_util::task::AbortOnDropHandle;
use wire::v1::{ModelInUse, Reply, WorkerPresence, reply::Outcome};

use crate::{app::contract, worker::outcome};

/// How the inbox is answered.
pub mod manner {
    pub const AS_ASKED: u8 = 0;
    pub const SILENT: u8 = 1;
    pub const REFUSING: u8 = 2;
}

/// Announced for an hour; after a drop it stays announced and answers nothing, like a process that was killed.
#[derive(Clone)]
pub struct Presence {
    pub word: WorkerPresence,
    /// One of [`manner`].
    pub manner: Arc<AtomicU8>,
    /// Envelopes that came to its inbox.
    pub asked: Arc<parking_lot::Mutex<Vec<JobId>>>,
    queue: Queue,
    _inbox: Arc<AbortOnDropHandle<()>>,
}

impl Presence {
    pub async fn announce(queue: &Queue, store: &Arc<dyn Store>, name: &str) -> Self {
        let mut inbox = queue.open_inbox().await.unwrap();
        let detector = ModelInUse { role: "detector".into(), name: "fake-detector".into(), ..ModelInUse::default() };
        let word = WorkerPresence {
            name: name.into(),
            inbox: inbox.address().to_owned(),
            model_version: "fake-1".into(),
            contract: contract().to_string(),
            models: vec![ModelInUse { provider: "cpu".into(), ..detector }],
            started_ms: Timestamp::now().as_millis(),
            ready: true,
            ..WorkerPresence::default()
        };
        let (manner, asked) = (Arc::new(AtomicU8::default()), Arc::<parking_lot::Mutex<Vec<JobId>>>::default());
        let task = {
            let (queue, store, manner, asked) = (queue.clone(), store.clone(), manner.clone(), asked.clone());
            async move {
                while let Ok(envelope) = inbox.next().await {
                    asked.lock().push(JobId::new(&envelope.job_id).unwrap());
                    let outcome = match manner.load(Ordering::SeqCst) {
                        manner::AS_ASKED => outcome(&store, &envelope).await,
                        manner::SILENT => continue,
                        _ => Err(Problem::new(ErrorCode::Internal, "a damaged snapshot")),
                    };
                    let outcome = Some(outcome.unwrap_or_else(|p| Outcome::Problem(p.into())));
                    let reply = Reply { job_id: envelope.job_id.clone(), outcome, ..Reply::default() };
                    queue.answer(&envelope, &reply).await.unwrap();
                }
            }
        };
        let inbox = AbortOnDropHandle::new(tokio::spawn(task));
        let presence = Self { word, manner, asked, queue: queue.clone(), _inbox: Arc::new(inbox) };
        presence.renew(Duration::from_secs(3600)).await;
        presence
    }

    /// Counts as alive for `lease` from now on.
    pub async fn renew(&self, lease: Duration) {
        self.queue.announce(&self.word, lease).await.unwrap();
    }

    pub async fn leave(&self) {
        self.queue.withdraw(&self.word.name).await.unwrap();
    }
}
