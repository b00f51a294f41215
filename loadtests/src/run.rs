//! One scenario from an empty collection to its document: enrol, find out what the service carries, send, watch, and
//! hold what was measured against the objectives.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use testkit::{Client, enrolment};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    answers::Fate,
    chaos::{self, Happened},
    cli::RunArgs,
    document::{self, Document, Machine},
    failure::Failure,
    figures::{self, Measures, count},
    load::{Load, ROOM, closed_loop, open_loop},
    output, page,
    pictures::Album,
    plan::{Operation, Plan, sender},
    scenario::{Event, Flow, Scenario},
    search,
    slo::Slo,
    stand::Stand,
    watch::{self, Series, Watch},
};

/// Enrolments at once before the load.
const ENROLLING: usize = 4;
/// Callers that wait, enough to keep a small service busy, and how long they ask for what it carries.
pub const CALLERS: u64 = 16;
const ASKING: Duration = Duration::from_secs(6);
/// Time between looks at the processes' memory.
const LOOK: Duration = Duration::from_secs(1);
/// Growth of memory is looked for after this share of a load: until then galleries, pools and connections fill.
const FILLED: f64 = 0.3;
/// A request that takes longer has felt what happened to the service, in milliseconds.
const FELT: f64 = 2_000.0;

/// A collection with its residents, and how it is asked.
pub struct Prepared {
    /// Over the scenario's connections.
    pub client: Client,
    /// What is asked.
    pub plan: Plan,
}

/// Runs every scenario; whether all objectives hold.
pub async fn run_all(args: &RunArgs) -> Result<bool, Failure> {
    let album = Album::open(args.images.as_deref())?;
    let mut hold = true;
    for name in &args.scenarios {
        let (name, scenario) = Scenario::read(name)?;
        let slo = Slo::read(args.slo.as_deref().unwrap_or(&scenario.slo))?;
        output::line(&format!("{name}: {}", scenario.about));
        let mut stand = Stand::open(&args.stand, scenario.cluster)?;
        output::line(&format!("  against {}", stand.name()));
        let run = Run { name: &name, scenario: &scenario, capacity: args.capacity, stretch: args.stretch };
        let mut document = run.carry_out(&mut stand, &album).await?;
        document.verdicts = slo.verdicts(&document.measures);
        let (json, html) = (args.out.join(format!("{name}.json")), args.out.join(format!("{name}.html")));
        document::write(&json, &document)?;
        document::write_text(&html, &page::page(&document))?;
        output::line(&summary(&document));
        output::line(&format!("  {} and {}", json.display(), html.display()));
        hold &= document.holds();
    }
    Ok(hold)
}

struct Run<'a> {
    name: &'a str,
    scenario: &'a Scenario,
    capacity: Option<f64>,
    stretch: f64,
}

impl Run<'_> {
    async fn carry_out(&self, stand: &mut Stand, album: &Album) -> Result<Document, Failure> {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let mut prepared = prepare(stand, self.scenario, album).await?;
        let capacity = match self.capacity {
            None if self.scenario.needs_capacity() => Some(carries(&mut prepared).await?),
            told => told,
        };
        let mut document = Document {
            form: Document::FORM,
            name: self.name.to_owned(),
            scenario: self.scenario.clone(),
            machine: Machine::this(),
            stand: stand.name(),
            began,
            capacity,
            flows: self.scenario.flows(capacity, self.stretch),
            measures: Measures::new(),
            verdicts: Vec::new(),
            seconds: Vec::new(),
            curve: Vec::new(),
            answers: Default::default(),
            memory: Vec::new(),
            events: Vec::new(),
            search: Vec::new(),
        };
        match (self.scenario.search, capacity) {
            (Some(wanted), Some(capacity)) => {
                let found = search::find(&mut prepared, wanted, capacity, self.stretch).await?;
                document.measures = found.measures(capacity)?;
                document.search = found.steps;
                fill(&mut document, &found.best, 0.0)?;
            }
            _ => self.send(stand, &mut prepared, &mut document).await?,
        }
        Ok(document)
    }

    /// The stages, with what happens to the service meanwhile.
    async fn send(&self, stand: &mut Stand, at: &mut Prepared, document: &mut Document) -> Result<(), Failure> {
        let dead_before = stand.most("visavis_queue_dead_letters", "");
        let flows = document.flows.clone();
        for Flow { rate, seconds } in &flows {
            output::line(&format!("  {rate:.1} requests/s for {seconds:.0} s"));
        }
        let plan = at.plan.next_series();
        let ask = sender(&at.client, &plan);
        let start = Instant::now();
        let load = tokio::spawn(async move { open_loop(&flows, ROOM, ask).await });
        let (load, memory, events) = self.watched(stand, load, start).await?;
        let warm_up = self.scenario.warm_up_seconds;
        let mut measures = figures::measures(&load, warm_up)?;
        if let Some(grown) = watch::growth(&memory, load.seconds * FILLED) {
            let total = watch::last(&memory);
            measures.insert("memory.growth_mib_per_hour".into(), grown);
            measures.insert("memory.growth_share_per_hour".into(), grown / total.max(1.0));
        }
        measures.insert("memory.total_mib".into(), watch::last(&memory));
        if let Some(felt) = chaos::recovery(&events, &load.replies, FELT) {
            measures.insert("service.recovery_seconds".into(), felt);
        }
        // A process that starts slowly holds up what was to happen after it: that is not to be passed over.
        let missed = self.scenario.events.len().saturating_sub(events.len()) as u64;
        measures.insert("service.events_missed".into(), count(missed));
        let lost = lost_writes(at, &plan, &load).await;
        measures.insert("enrol.acknowledged_and_lost".into(), count(lost));
        let dead = stand.most("visavis_queue_dead_letters", "") - dead_before;
        measures.insert("service.dead_letters".into(), dead);
        (document.measures, document.memory, document.events) = (measures, memory, events);
        fill(document, &load, warm_up)
    }

    /// Looks at the processes and lets happen what is to happen, until the load is over.
    async fn watched(
        &self,
        stand: &mut Stand,
        mut load: JoinHandle<Load>,
        start: Instant,
    ) -> Result<(Load, Vec<Series>, Vec<Happened>), Failure> {
        let (mut watch, mut happened) = (Watch::default(), Vec::new());
        let mut events: Vec<&Event> = self.scenario.events.iter().collect();
        events.sort_by(|a, b| b.at_seconds.total_cmp(&a.at_seconds));
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let load = loop {
            let next = events.last().map(|e| start + Duration::from_secs_f64(e.at_seconds * self.stretch));
            tokio::select! {
                done = &mut load => break done.map_err(|e| Failure::Other(format!("the sender broke off: {e}")))?,
                _ = looks.tick() => watch.look(start.elapsed().as_secs_f64(), &stand.memory()),
                () = sleep_until(next.unwrap_or(start)), if next.is_some() => {
                    let Some(event) = events.pop() else { continue };
                    let at = start.elapsed().as_secs_f64();
                    let what = stand.act(event).await?;
                    output::line(&format!("  {at:.1} s: {what}"));
                    happened.push(Happened { at, what, mends: event.action.mends() });
                }
            }
        };
        Ok((load, watch.series(), happened))
    }
}

fn fill(document: &mut Document, load: &Load, warm_up: f64) -> Result<(), Failure> {
    document.seconds = figures::seconds(load)?;
    document.curve = figures::curve(load, warm_up)?;
    document.answers = figures::answers(load);
    Ok(())
}

/// A collection of its own with the scenario's residents.
///
/// # Errors
/// Whatever is not answered as it should be.
pub async fn prepare(stand: &Stand, scenario: &Scenario, album: &Album) -> Result<Prepared, Failure> {
    let client = stand.client(scenario.connections);
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
    let id = format!("load-{millis}");
    let body = serde_json::json!({"id": id, "purposes": ["access_control"], "quality_gate": "none"});
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
        let Some(portrait) = plan.album().portrait(person) else { continue };
        let body = enrolment(&Plan::resident(index), std::slice::from_ref(&portrait.bytes));
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
    if answer.status == 201 {
        return Ok(());
    }
    Err(Failure::Service(format!("POST {path} was answered with {}: {}", answer.status, answer.text())))
}

/// Requests a second that are answered as they should be with many callers that wait.
///
/// # Errors
/// A service that answers nothing.
pub async fn carries(at: &mut Prepared) -> Result<f64, Failure> {
    // Connections are made and galleries read before.
    drop(closed_loop(CALLERS, Duration::from_secs(2), sender(&at.client, &at.plan.next_series())).await);
    let load = closed_loop(CALLERS, ASKING, sender(&at.client, &at.plan.next_series())).await;
    let answered = load.replies.iter().filter(|r| r.fate == Fate::Answered).count() as u64;
    let rate = count(answered) / load.seconds;
    if answered == 0 {
        return Err(Failure::Service(format!("nothing is answered: {:?}", figures::answers(&load))));
    }
    output::line(&format!("  {CALLERS} callers that wait are answered {rate:.1} times a second"));
    Ok(rate)
}

/// Enrolments that were acknowledged and are not there.
async fn lost_writes(at: &Prepared, plan: &Arc<Plan>, load: &Load) -> u64 {
    let enrols = load.replies.iter().filter(|r| r.operation == Operation::Enrol && r.said.starts_with("201"));
    let acknowledged: Vec<String> = enrols.map(|r| plan.newcomer(r.number)).collect();
    if acknowledged.is_empty() {
        return 0;
    }
    let there = at.client.subjects(plan.collection()).await;
    acknowledged.iter().filter(|id| !there.contains(*id)).count() as u64
}

/// The run in a few lines.
fn summary(document: &Document) -> String {
    let get = |name: &str, what: &str| document.measures.get(&format!("{name}.{what}")).copied();
    let mut text = format!(
        "  {:9} {:>9} {:>11} {:>8} {:>8} {:>8} {:>8} {:>9} {:>8}\n",
        "", "offered/s", "answered/s", "p50 ms", "p95 ms", "p99 ms", "max ms", "refused", "errors"
    );
    for name in std::iter::once("all").chain(Operation::ALL.iter().map(|o| o.name())) {
        let Some(offered) = get(name, "offered_per_second") else { continue };
        let value = |what: &str| get(name, what).unwrap_or(f64::NAN);
        text.push_str(&format!(
            "  {name:9} {offered:>9.1} {:>11.1} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>7.2} % {:>6.2} %\n",
            value("answered_per_second"),
            value("p50_ms"),
            value("p95_ms"),
            value("p99_ms"),
            value("max_ms"),
            100.0 * value("refused_share"),
            100.0 * value("error_share"),
        ));
    }
    for (name, value) in document
        .measures
        .iter()
        .filter(|(n, _)| ["memory.", "service.", "sender.", "search.", "enrol.ack"].iter().any(|p| n.starts_with(p)))
    {
        text.push_str(&format!("  {name} {value:.3}\n"));
    }
    for verdict in &document.verdicts {
        text.push_str(&format!("  {}\n", verdict.line()));
    }
    text.trim_end().to_owned()
}
