//! One scenario from an empty collection to its document: enrol, find out what the service carries, send, watch, and
//! hold what was measured against the objectives.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::{
    task::JoinHandle,
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
    plan::{Operation, sender},
    promotion::Newcomer,
    residents::{Prepared, lost_writes, prepare},
    scenario::{Action, Event, Flow, Scenario},
    search,
    slo::Slo,
    stand::Stand,
    watch::{self, Series, Watch},
};

/// Callers that wait, enough to keep a small service busy, and how long they ask for what it carries.
pub const CALLERS: u64 = 16;
const ASKING: Duration = Duration::from_secs(6);
/// Time between looks at the processes' memory.
const LOOK: Duration = Duration::from_secs(1);
/// Growth of memory is looked for after this share of a load: until then galleries, pools and connections fill.
const FILLED: f64 = 0.3;
/// A request that takes longer has felt what happened to the service, in milliseconds.
const FELT: f64 = 2_000.0;

/// Runs every scenario; whether all objectives hold.
pub async fn run_all(args: &RunArgs) -> Result<bool, Failure> {
    let album = Album::open(args.images.as_deref())?;
    let mut hold = true;
    for name in &args.scenarios {
        let (name, scenario) = Scenario::read(name)?;
        let slo = Slo::read(args.slo.as_deref().unwrap_or(&scenario.slo))?;
        output::line(&format!("{name}: {}", scenario.about));
        let mut stand = Stand::open(&args.stand, scenario.cluster, scenario.promotes())?;
        stand.can(&scenario.events)?;
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
        let promoted = self.scenario.events.iter().find(|e| e.action == Action::PromoteModel);
        let newcomer = promoted.map(|event| stand.newcomer(event)).transpose()?;
        let plan = at.plan.next_series();
        let ask = sender(&at.client, &plan);
        let start = Instant::now();
        let load = tokio::spawn(async move { open_loop(&flows, ROOM, ask).await });
        let collection = at.plan.collection().to_owned();
        let seen = self.watched(stand, (load, start), &mut Promotion { newcomer, collection, under_way: None }).await?;
        let Seen { load, memory, events, promotion } = seen;
        let warm_up = self.scenario.warm_up_seconds;
        let mut measures = figures::measures(&load, warm_up)?;
        if let Some(grown) = watch::growth(&memory, load.seconds * FILLED) {
            let total = watch::last(&memory);
            measures.insert("memory.growth_mib_per_hour".into(), grown);
            measures.insert("memory.growth_share_per_hour".into(), grown / total.max(1.0));
        }
        measures.insert("memory.total_mib".into(), watch::last(&memory));
        let answered = count(load.replies.len() as u64) / load.seconds.max(1.0);
        if let Some(kept) = watch::kept(&memory, load.seconds * FILLED) {
            measures.insert("store.bytes_kept_per_answer".into(), kept / answered.max(f64::MIN_POSITIVE));
        }
        if let Some(felt) = chaos::recovery(&events, &load.replies, FELT) {
            measures.insert("service.recovery_seconds".into(), felt);
        }
        if let Some((from, to)) = promotion {
            // One that has not ended took no time that could be told.
            if to.is_finite() {
                measures.insert("promotion.seconds".into(), to - from);
            }
            measures.insert("promotion.errors".into(), count(chaos::errors_between(from, to, &load.replies)));
        }
        // A process that starts slowly holds up what was to happen after it: that is not to be passed over. A promotion
        // has an end as well.
        let expected = self.scenario.events.len() + usize::from(self.scenario.promotes());
        let missed = expected.saturating_sub(events.len()) as u64;
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
        (mut load, start): (JoinHandle<Load>, Instant),
        promotion: &mut Promotion,
    ) -> Result<Seen, Failure> {
        let (mut watch, mut happened, mut window) = (Watch::default(), Vec::new(), None);
        let mut events: Vec<&Event> = self.scenario.events.iter().collect();
        events.sort_by(|a, b| b.at_seconds.total_cmp(&a.at_seconds));
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let now = || start.elapsed().as_secs_f64();
        let mut note = |at: f64, what: String, mends: bool| {
            output::line(&format!("  {at:.1} s: {what}"));
            happened.push(Happened { at, what, mends });
        };
        let load = loop {
            let next = events.last().map(|e| start + Duration::from_secs_f64(e.at_seconds * self.stretch));
            tokio::select! {
                done = &mut load => break done.map_err(|e| Failure::Other(format!("the sender broke off: {e}")))?,
                _ = looks.tick() => watch.look(now(), &stand.memory()),
                ended = promotion.end() => {
                    window = window.map(|(from, _)| (from, now()));
                    match ended {
                        Ok(what) => note(now(), what, true),
                        // It counts as missed.
                        Err(why) => output::line(&format!("  the promotion failed: {why}")),
                    }
                }
                () = sleep_until(next.unwrap_or(start)), if next.is_some() => {
                    let Some(event) = events.pop() else { continue };
                    let at = now();
                    if event.action == Action::PromoteModel {
                        promotion.begin(stand);
                        window = Some((at, f64::INFINITY));
                    }
                    note(at, stand.act(event).await?, event.action.mends());
                }
            }
        };
        Ok(Seen { load, memory: watch.series(), events: happened, promotion: window })
    }
}

/// What a load was like.
struct Seen {
    load: Load,
    memory: Vec<Series>,
    events: Vec<Happened>,
    /// From when to when another model was promoted.
    promotion: Option<(f64, f64)>,
}

/// The promotion of a scenario, if it has one.
struct Promotion {
    newcomer: Option<Newcomer>,
    collection: String,
    under_way: Option<JoinHandle<Result<String, Failure>>>,
}

impl Promotion {
    fn begin(&mut self, stand: &Stand) {
        let (client, collection) = (stand.client(1), self.collection.clone());
        self.under_way = self.newcomer.take().map(|n| tokio::spawn(n.promote(client, collection)));
    }

    /// Its end; none comes where none is under way.
    async fn end(&mut self) -> Result<String, Failure> {
        let Some(under_way) = &mut self.under_way else { return std::future::pending().await };
        let ended = under_way.await;
        self.under_way = None;
        ended.map_err(|e| Failure::Other(format!("it broke off: {e}")))?
    }
}

fn fill(document: &mut Document, load: &Load, warm_up: f64) -> Result<(), Failure> {
    document.seconds = figures::seconds(load)?;
    document.curve = figures::curve(load, warm_up)?;
    document.answers = figures::answers(load);
    Ok(())
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
    for (name, value) in document.measures.iter().filter(|(n, _)| {
        ["memory.", "store.", "service.", "promotion.", "sender.", "search.", "enrol.ack"]
            .iter()
            .any(|p| n.starts_with(p))
    }) {
        text.push_str(&format!("  {name} {value:.3}\n"));
    }
    for verdict in &document.verdicts {
        text.push_str(&format!("  {}\n", verdict.line()));
    }
    text.trim_end().to_owned()
}
