//! `visavis bench serve`: a service of its own over HTTPS under load, beside the time that the models alone take, and
//! beside other servers, all in turns within one run.

mod client;
mod dataset;
mod load;
mod service;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runtime::Config;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::pipeline::{Photos, alone, load_pipeline};
use super::{Report, median};
use crate::cli::ServeArgs;
use crate::failure::Failure;
use client::{Post, Server};
use dataset::{Dataset, Photo};
use load::{Outcome, Pace, Subject, load};
use service::Service;

/// Collection of the bench.
const COLLECTION: &str = "bench";

/// Enrolments under way at once.
const ENROLLING: usize = 4;

/// Between the parts of a form. No photo holds it: it would have to be written for this.
const BOUNDARY: &str = "visavis-bench-7f1c2d9a60e34b5b";

/// What `bench serve` found.
#[derive(Debug, Serialize)]
pub struct ServeReport {
    models: [String; 2],
    gallery: usize,
    probes: usize,
    seconds: f64,
    rounds: usize,
    /// Photos a second if there were nothing but the models, on the threads that the service uses: the median.
    bound_per_second: f64,
    loads: Vec<LoadReport>,
}

#[derive(Debug, Serialize)]
struct LoadReport {
    server: String,
    pace: Pace,
    /// Of the round with the median rate.
    outcome: Outcome,
    /// Photos of the gallery that were refused.
    not_enrolled: usize,
    /// Share of probes whose best identity was the right one.
    rank_1: f64,
    /// Answers a second over the bound of the same round, for this service: the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    share_of_bound: Option<f64>,
    /// Answers a second over those of the first server in the same round: the median.
    ratio_to_first: f64,
    rounds_per_second: Vec<f64>,
}

/// Runs the rounds.
///
/// # Errors
/// No photos, a service that does not start, a server that breaks off.
pub async fn run(config: &Config, args: &ServeArgs) -> Result<ServeReport, Failure> {
    let dataset = Dataset::read(&args.images, args.gallery, args.probes, args.min_pixels)?;
    let (pipeline, models, _metrics) = load_pipeline(config).await?;
    let engines = pipeline.engines().ok_or_else(|| Failure::Usage("bench serve measures processors".into()))?;
    let limits = vision::Limits::default();
    let sized = dataset.probes.iter().map(|p| {
        let info = vision::probe(&p.bytes, &limits).map_err(|e| Failure::Usage(format!("a photo is not usable: {e}")));
        info.map(|i| (p.bytes.clone(), (i.width, i.height)))
    });
    let photos: Photos = Arc::new(sized.collect::<Result<_, _>>()?);

    let mut services = vec![("visavis", Service::in_one_process(args).await?)];
    if let Some(redis) = &args.redis {
        services.push(("visavis, Redis", Service::over_redis(args, redis).await?));
    }
    let mut subjects = Vec::new();
    for (name, service) in &services {
        subjects.push(visavis(name, service, &dataset).await?);
    }
    for peer in &args.peers {
        subjects.push(self::peer(peer, &dataset).await?);
    }
    let paces: Vec<Pace> =
        args.clients.iter().map(|c| Pace::Clients(*c)).chain(args.rates.iter().map(|r| Pace::Rate(*r))).collect();
    let lasting = Duration::from_secs_f64(args.seconds);
    // One short turn for each, so that nobody's first requests are measured.
    for subject in &subjects {
        load(subject, Pace::Clients(4), Duration::from_secs(2)).await?;
    }
    let mut bounds = Vec::new();
    let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); subjects.len() * paces.len()];
    for _ in 0..args.rounds.max(1) {
        for (i, pace) in paces.iter().enumerate() {
            for (j, subject) in subjects.iter().enumerate() {
                outcomes[i * subjects.len() + j].push(load(subject, *pace, lasting).await?);
            }
        }
        bounds.push(alone(&pipeline, &photos, engines).await?);
    }
    let ours = services.len();
    drop(services);
    let mut loads = Vec::new();
    for (i, pace) in paces.iter().enumerate() {
        let own = &outcomes[i * subjects.len()];
        for (j, subject) in subjects.iter().enumerate() {
            let rounds = &outcomes[i * subjects.len() + j];
            let bounds = (j < ours).then_some(bounds.as_slice());
            loads.push(LoadReport::new(subject, *pace, (rounds, own), bounds));
        }
    }
    Ok(ServeReport {
        models,
        gallery: dataset.gallery.len(),
        probes: dataset.probes.len(),
        seconds: args.seconds,
        rounds: args.rounds.max(1),
        bound_per_second: median(bounds),
        loads,
    })
}

impl LoadReport {
    fn new(subject: &Subject, pace: Pace, (rounds, own): (&[Outcome], &[Outcome]), bounds: Option<&[f64]>) -> Self {
        let rates: Vec<f64> = rounds.iter().map(|o| o.per_second).collect();
        let middle = median(rates.clone());
        let outcome = rounds.iter().find(|o| o.per_second.total_cmp(&middle).is_eq()).cloned();
        let (right, asked) = rounds.iter().fold((0, 0), |(r, a), o| (r + o.right, a + o.answered + o.refused));
        let over =
            |others: &mut dyn Iterator<Item = f64>| median(rates.iter().zip(others).map(|(r, o)| r / o).collect());
        Self {
            server: subject.name.clone(),
            pace,
            outcome: outcome.unwrap_or_default(),
            not_enrolled: subject.not_enrolled,
            rank_1: right as f64 / asked.max(1) as f64,
            share_of_bound: bounds.map(|b| over(&mut b.iter().copied())),
            ratio_to_first: over(&mut own.iter().map(|o| o.per_second)),
            rounds_per_second: rates.clone(),
        }
    }
}

/// This service, with the gallery enrolled through its public interface.
async fn visavis(name: &str, service: &Service, dataset: &Dataset) -> Result<Arc<Subject>, Failure> {
    let server = service.server()?;
    let collection = serde_json::json!({"id": COLLECTION, "purposes": ["access_control"], "quality_gate": "none"});
    let made = Post {
        path: "/v1/collections".into(),
        content_type: "application/json".into(),
        body: collection.to_string().into(),
    };
    expect(&server, &made).await?;
    let consent = r#"{"purposes": ["access_control"], "method": "signed_form"}"#;
    let enrolments = dataset.gallery.iter().enumerate().map(|(i, photo)| {
        let fields = [
            ("id", format!("s{i}")),
            ("external_id", photo.identity.clone()),
            ("consent", consent.to_owned()),
            ("face_selection", "largest".to_owned()),
        ];
        form(&format!("/v1/collections/{COLLECTION}/subjects"), &fields, ("images", photo))
    });
    let not_enrolled = enrol(&server, enrolments.collect()).await?;
    let probes = dataset.probes.iter().map(|photo| {
        // The best subject, however unlike: the others are asked for no more either.
        let fields = [("threshold", r#"{"score": -1}"#.to_owned()), ("limit", "1".to_owned())];
        (form(&format!("/v1/collections/{COLLECTION}/identify"), &fields, ("image", photo)), photo.identity.clone())
    });
    let probes = probes.collect();
    Ok(Arc::new(Subject { name: name.to_owned(), server, probes, not_enrolled, best: best_candidate }))
}

/// Another server that takes `POST /enrol?id=ID` and `POST /identify` with the photo as body and answers `{"id": ID}`.
async fn peer(named: &str, dataset: &Dataset) -> Result<Arc<Subject>, Failure> {
    let wrong = || Failure::Usage(format!("--peer {named}: write NAME=HOST:PORT"));
    let (name, address) = named.split_once('=').ok_or_else(wrong)?;
    let address: SocketAddr = address.trim_start_matches("http://").parse().map_err(|_| wrong())?;
    let server = Server::plain(address);
    let post = |path: String, photo: &Photo| Post {
        path,
        content_type: "application/octet-stream".into(),
        body: photo.bytes.clone(),
    };
    let not_enrolled =
        enrol(&server, dataset.gallery.iter().map(|p| post(format!("/enrol?id={}", p.identity), p)).collect()).await?;
    let probes = dataset.probes.iter().map(|p| (post("/identify".into(), p), p.identity.clone())).collect();
    Ok(Arc::new(Subject { name: name.to_owned(), server, probes, not_enrolled, best: best_id }))
}

/// Sends the enrolments and gives the number that were refused: for want of a face, by every server that looks.
async fn enrol(server: &Server, posts: Vec<Post>) -> Result<usize, Failure> {
    let share = posts.len().div_ceil(ENROLLING).max(1);
    let mut tasks = JoinSet::new();
    for part in posts.chunks(share).map(<[Post]>::to_vec) {
        let server = server.clone();
        tasks.spawn(async move {
            let (mut connection, mut refused) = (server.connect().await?, 0);
            for post in part {
                let (status, body) = connection.post(&post).await?;
                if status >= 500 {
                    let detail = String::from_utf8_lossy(&body);
                    return Err(Failure::Other(format!("an enrolment was answered with {status}: {detail}")));
                }
                if status >= 300 {
                    refused += 1;
                    tracing::warn!(status, answer = %String::from_utf8_lossy(&body), "an enrolment was refused");
                }
            }
            Ok(refused)
        });
    }
    let mut refused = 0;
    while let Some(done) = tasks.join_next().await {
        refused += done.map_err(|e| Failure::Other(format!("enrolling was interrupted: {e}")))??;
    }
    Ok(refused)
}

async fn expect(server: &Server, post: &Post) -> Result<(), Failure> {
    let (status, body) = server.connect().await?.post(post).await?;
    if (200..300).contains(&status) {
        return Ok(());
    }
    let detail = String::from_utf8_lossy(&body);
    Err(Failure::Other(format!("{} was answered with {status}: {detail}", post.path)))
}

/// A form with some fields and a photo.
fn form(path: &str, fields: &[(&str, String)], (name, photo): (&str, &Photo)) -> Post {
    let mut body = Vec::with_capacity(photo.bytes.len() + 1024);
    for (field, value) in fields {
        let part = format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head = format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"photo\"\r\n\
         content-type: application/octet-stream\r\n\r\n"
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(&photo.bytes);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    Post {
        path: path.to_owned(),
        content_type: format!("multipart/form-data; boundary={BOUNDARY}"),
        body: Bytes::from(body),
    }
}

fn best_candidate(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        results: Vec<OneResult>,
    }
    #[derive(Deserialize)]
    struct OneResult {
        candidates: Vec<Candidate>,
    }
    #[derive(Deserialize)]
    struct Candidate {
        external_id: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    answer.results.into_iter().next()?.candidates.into_iter().next()?.external_id
}

fn best_id(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        id: String,
    }
    serde_json::from_slice::<Answer>(body).ok().map(|a| a.id)
}

impl Report for ServeReport {
    fn table(&self) -> String {
        let mut text = format!(
            "{} + {}, gallery of {}, {} probes, {} rounds of {:.0} s for each line; the models alone: {:.1} photos/s\n\
             {:16} {:>10} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>7} {:>8} {:>8}\n",
            self.models[0],
            self.models[1],
            self.gallery,
            self.probes,
            self.rounds,
            self.seconds,
            self.bound_per_second,
            "server",
            "pace",
            "answers/s",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "refused",
            "rank-1",
            "bound",
            "to first",
            "no face",
        );
        for l in &self.loads {
            let pace = match l.pace {
                Pace::Clients(n) => format!("{n} clients"),
                Pace::Rate(r) => format!("{r:.0}/s"),
            };
            let (o, bound) = (&l.outcome, l.share_of_bound.map_or("-".to_owned(), |s| format!("{:.1} %", 100.0 * s)));
            text.push_str(&format!(
                "{:16} {pace:>10} {:>9.1} {:>8.1} {:>8.1} {:>8.1} {:>8} {:>6.2} % {bound:>7} {:>8.2} {:>8}\n",
                l.server,
                o.per_second,
                o.p50_ms,
                o.p95_ms,
                o.p99_ms,
                o.refused,
                100.0 * l.rank_1,
                l.ratio_to_first,
                l.not_enrolled,
            ));
        }
        text
    }
}
