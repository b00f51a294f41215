//! The collection that a load is sent to: its residents, and what became of those who were enrolled under load. Called by
//! everything that sends a load.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use testkit::{Answer, Client, enrolment};
use tokio::task::JoinSet;

use crate::{
    failure::Failure,
    load::Load,
    pictures::Album,
    plan::{Operation, Plan},
    scenario::Scenario,
    stand::Stand,
};

/// Enrolments at once before the load.
const ENROLLING: usize = 4;

/// A collection with its residents, and how it is asked.
pub struct Prepared {
    /// Over the scenario's connections.
    pub client: Client,
    /// What is asked.
    pub plan: Plan,
}

/// A collection of its own with the scenario's residents.
///
/// # Errors
/// Whatever is not answered as it should be.
pub async fn prepare(stand: &Stand, scenario: &Scenario, album: &Album) -> Result<Prepared, Failure> {
    let client = stand.client(scenario.connections);
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
    let id = format!("load-{millis}");
    let mut body = serde_json::json!({"id": id, "purposes": ["access_control"], "quality_gate": "none"});
    if scenario.promotes() {
        // Everybody is embedded anew from what is kept of them.
        body["retain_crops"] = "training".into();
    }
    post(&client, "/v1/collections", &body).await?;
    let plan = Plan::new(scenario, album.clone(), &id);
    enrol(&client, &plan, 0..scenario.enrolled).await?;
    Ok(Prepared { client, plan })
}

/// Enrols residents, some at a time.
///
/// # Errors
/// An enrolment that is refused.
pub async fn enrol(client: &Client, plan: &Plan, which: std::ops::Range<usize>) -> Result<(), Failure> {
    let path = format!("/v1/collections/{}/subjects", plan.collection());
    let mut writes = JoinSet::new();
    for index in which {
        if writes.len() >= ENROLLING {
            written(writes.join_next().await)?;
        }
        let person = index % plan.album().people().max(1);
        let pictures: Vec<_> = plan.album().portraits(person).take(plan.pictures_each()).collect();
        if pictures.is_empty() {
            continue;
        }
        let mut body = enrolment(&Plan::resident(index), &pictures);
        body["consent"]["training_allowed"] = plan.trainable().into();
        let (client, path) = (client.clone(), path.clone());
        writes.spawn(async move { post(&client, &path, &body).await });
    }
    while let Some(done) = writes.join_next().await {
        written(Some(done))?;
    }
    Ok(())
}

fn written(done: Option<Result<Result<(), Failure>, tokio::task::JoinError>>) -> Result<(), Failure> {
    done.unwrap_or(Ok(Ok(()))).map_err(|e| Failure::Other(format!("an enrolment broke off: {e}")))?
}

async fn post(client: &Client, path: &str, body: &serde_json::Value) -> Result<(), Failure> {
    let answer = client.try_send(client.request("POST", path).json(body)).await;
    let answer = answer.map_err(|e| Failure::Service(format!("POST {path}: {e}")))?;
    expect(&format!("POST {path}"), answer, 201).map(drop)
}

/// The answer to `what`, if it has this status.
///
/// # Errors
/// What it was answered with instead.
pub fn expect(what: &str, answer: Answer, status: u16) -> Result<Answer, Failure> {
    if answer.status == status {
        return Ok(answer);
    }
    Err(Failure::Service(format!("{what} was answered with {}: {}", answer.status, answer.text())))
}

/// Enrolments that were acknowledged and are not there.
pub async fn lost_writes(at: &Prepared, plan: &Arc<Plan>, load: &Load) -> u64 {
    let enrols = load.replies.iter().filter(|r| r.operation == Operation::Enrol && r.said.starts_with("201"));
    let acknowledged: Vec<String> = enrols.map(|r| plan.newcomer(r.number)).collect();
    if acknowledged.is_empty() {
        return 0;
    }
    let there = at.client.subjects(plan.collection()).await;
    acknowledged.iter().filter(|id| !there.contains(*id)).count() as u64
}
