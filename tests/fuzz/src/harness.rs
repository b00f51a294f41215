//! What every reader of hostile bytes promises, as functions of bytes. The fuzz targets call them with libFuzzer's
//! inputs; tests/contract/corpora.rs includes this file and calls them over the corpora, so that what a run has found
//! stays found. An assertion that fails is a finding.
use domain::{
    Candidate, CollectionId, Consent, ConsentDraft, ConsentId, ContractId, Decision, EnrolledFace, Face, FaceId, JobId,
    KeyId, Metadata, Problem, Purpose, RequestId, ResolvedThreshold, Scope, Subject, SubjectId, Template, TenantId,
    ThresholdSpec, Timestamp,
};
use wire::v1::{self, envelope::Request, reply::Outcome};

/// Pixels that a fuzzed picture may have: small, so that many are tried.
const MAX_PIXELS: u64 = 1 << 20;

/// Encoded pictures: refused with a code of the caller's, or decoded to what the header said.
pub fn image(data: &[u8]) {
    let limits = vision::Limits { max_bytes: 1 << 16, max_pixels: MAX_PIXELS, max_side: 4_096 };
    let probed = vision::probe(data, &limits);
    let decoded = vision::decode(data, &limits);
    match (&probed, &decoded) {
        (Ok(info), Ok(picture)) => {
            assert_eq!((picture.width(), picture.height()), (info.width, info.height), "the header's size");
            assert!(u64::from(picture.width()) * u64::from(picture.height()) <= MAX_PIXELS);
            assert_eq!(vision::ImageFormat::sniff(data), Some(info.format));
        }
        (Err(_), Ok(_)) => panic!("decoded although its header was refused"),
        (Err(first), Err(second)) => assert_eq!(first, second, "the same refusal"),
        (Ok(_), Err(_)) => {}
    }
    if let Err(e) = decoded {
        assert!((400..500).contains(&e.code().status()), "{e}");
        assert!(e.to_string().len() < 500, "a long message");
    }
}

/// What lies on lanes, reply streams, in the store and at inboxes. Anybody who can write to the server can write these.
pub fn envelope(data: &[u8]) {
    let bytes = wire::v1::Image { data: data.to_vec().into() }.data;
    if let Ok(envelope) = wire::decode_envelope(bytes.clone()) {
        let again = wire::decode_envelope(wire::encode_envelope(&envelope)).expect("what was written is read");
        assert_eq!(again.job_id, envelope.job_id);
        assert!(JobId::new(&envelope.job_id).is_ok() && TenantId::new(&envelope.tenant).is_ok());
        let _ = wire::job_kind(&envelope);
        if let Some(asked) = envelope.request {
            request(asked);
        }
    }
    if let Ok(reply) = wire::decode_reply(bytes.clone()) {
        let again = wire::decode_reply(wire::encode_reply(&reply)).expect("what was written is read");
        assert_eq!(again.job_id, reply.job_id);
        if let Some(told) = reply.outcome {
            outcome(told);
        }
    }
    if let Ok(item) = wire::decode_item(bytes.clone()) {
        let again = wire::decode_item(wire::encode_item(&item)).expect("what was written is read");
        assert_eq!(again.request.is_some(), item.request.is_some());
    }
    if let Ok(presence) = wire::decode_presence(bytes) {
        let again = wire::decode_presence(wire::encode_presence(&presence)).expect("what was written is read");
        assert_eq!(again.name, presence.name);
    }
    if let Ok(template) = Template::from_bytes(data) {
        assert_eq!(template.to_bytes(), data, "a template is its bytes");
        if template.to_f32().iter().all(|v| v.is_finite()) {
            let score = template.score(&template).expect("its own contract");
            assert!((-1.0..=1.0).contains(&score), "a template scores {score} with itself");
        }
    }
}

fn request(request: Request) {
    match request {
        Request::Compare(r) => {
            let _ = r.threshold.map(Option::<ThresholdSpec>::from);
        }
        Request::Enrol(r) => {
            r.subject.into_iter().for_each(same_subject);
            r.consent.into_iter().for_each(same_consent);
        }
        Request::Identify(r) => {
            let _ = r.threshold.map(Option::<ThresholdSpec>::from);
            r.embeddings.into_iter().for_each(embedding);
        }
        Request::Verify(r) => r.embedding.into_iter().for_each(embedding),
        Request::Detect(_)
        | Request::Embed(_)
        | Request::CatchUp(_)
        | Request::Bulk(_)
        | Request::Gate(_)
        | Request::Promotion(_)
        | Request::Prepare(_)
        | Request::Train(_) => {}
    }
}

fn same_subject(subject: v1::Subject) {
    if let Ok(subject) = Subject::try_from(subject) {
        assert_eq!(Subject::try_from(v1::Subject::from(&subject)).as_ref(), Ok(&subject));
    }
}

fn same_consent(consent: v1::Consent) {
    if let Ok(consent) = Consent::try_from(consent) {
        assert_eq!(Consent::try_from(v1::Consent::from(&consent)).as_ref(), Ok(&consent));
        let _ = consent.status(Timestamp::from_millis(0));
    }
}

fn embedding(embedding: v1::Embedding) {
    if let Ok(contract) = embedding.contract.parse::<ContractId>()
        && let Ok(template) = Template::from_embedding(contract, &embedding.values)
    {
        assert!(template.to_f32().iter().all(|v| v.is_finite()));
        let score = template.score(&template).expect("its own contract");
        assert!((0.98..=1.02).contains(&score), "not a unit vector: {score}");
    }
}

fn outcome(outcome: Outcome) {
    match outcome {
        Outcome::Problem(p) => problem(p),
        Outcome::Detect(r) => r.items.into_iter().for_each(|i| i.faces.into_iter().for_each(face)),
        Outcome::Compare(r) => {
            let _ = r.threshold.map(ResolvedThreshold::try_from);
            for item in r.items {
                let _ = Decision::try_from(item.decision());
                item.problem.into_iter().for_each(problem);
            }
        }
        Outcome::Embed(r) => {
            for found in r.items.into_iter().flat_map(|i| i.faces) {
                found.face.into_iter().for_each(face);
                found.embedding.into_iter().for_each(embedding);
            }
        }
        Outcome::Enrol(r) => {
            r.subject.into_iter().for_each(same_subject);
            r.faces.into_iter().for_each(|f| drop(EnrolledFace::try_from(f)));
        }
        Outcome::Identify(r) => {
            for result in r.results {
                let _ = Decision::try_from(result.decision());
                result.candidates.into_iter().for_each(|c| drop(Candidate::try_from(c)));
            }
            let _ = r.threshold.map(ResolvedThreshold::try_from);
        }
        Outcome::Verify(r) => {
            let _ = Decision::try_from(r.decision());
        }
        Outcome::CatchUp(_) | Outcome::Gate(_) | Outcome::Prepare(_) => {}
    }
}

fn face(face: v1::Face) {
    if let Ok(face) = Face::try_from(face) {
        // Through bytes: coordinates may be no numbers at all, which equal nothing.
        let there = v1::Face::from(&face);
        assert!(Face::try_from(there).is_ok());
    }
}

fn problem(problem: v1::Problem) {
    let problem = Problem::from(problem);
    assert!((400..600).contains(&problem.code.status()));
}

/// Ids, instants, checksums, purposes, scopes as text; thresholds, consents, labels as JSON.
pub fn text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let text = text.as_ref();
    macro_rules! ids {
        ($($id:ident),*) => { $(
            if let Ok(id) = $id::new(text) {
                assert_eq!(id.as_str(), text);
                assert!(text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
                assert!(!text.starts_with(['.', '_', '-']));
            }
        )* };
    }
    ids!(TenantId, CollectionId, SubjectId, FaceId, ConsentId, JobId, KeyId, RequestId);
    if let Ok(contract) = text.parse::<ContractId>() {
        assert!(contract.to_string().eq_ignore_ascii_case(text), "{text} reads as {contract}");
    }
    if let Ok(checksum) = text.parse::<models::Checksum>() {
        assert!(checksum.to_string().eq_ignore_ascii_case(text), "{text} reads as {checksum}");
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        assert_eq!(instant.to_string().parse(), Ok(instant), "an instant is read as it is written");
        let _ = instant.plus(std::time::Duration::MAX).since(instant);
    }
    if let Ok(purpose) = text.parse::<Purpose>() {
        assert_eq!(purpose.as_str(), text);
    }
    if let Ok(scope) = text.parse::<Scope>() {
        assert_eq!(scope.to_string(), text);
    }
    json(text);
}

fn json(text: &str) {
    if let Ok(threshold) = serde_json::from_str::<ThresholdSpec>(text) {
        let _ = threshold.target();
    }
    if let Ok(labels) = serde_json::from_str::<Metadata>(text)
        && labels.check("/metadata").is_ok()
    {
        assert!(labels.0.len() <= 32 && labels.satisfies(&labels));
    }
    if let Ok(draft) = serde_json::from_str::<ConsentDraft>(text) {
        let now = Timestamp::from_millis(1_800_000_000_000);
        if draft.check("/consent", &domain::ConsentPolicy::default(), now).is_ok() {
            let ids = ("staff".parse().expect("an id"), "anna".parse().expect("an id"));
            let consent = draft.record(ids.0, ids.1, now);
            let kept = serde_json::to_string(&consent).expect("a consent is JSON");
            assert_eq!(serde_json::from_str::<Consent>(&kept).ok(), Some(consent), "a consent is read as it is kept");
        }
    }
    if let Ok(table) = serde_json::from_str::<Vec<domain::CalibrationPoint>>(text)
        && let Ok(table) = domain::CalibrationTable::new("t", table)
    {
        for spec in [ThresholdSpec::fmr(1e-6), ThresholdSpec::fpir(0.003), ThresholdSpec::fpir(1e-300)] {
            if let Ok(resolved) = table.resolve(spec, 1_000_000) {
                assert!(resolved.score.is_finite() && resolved.score <= 1.0, "{resolved:?}");
            }
        }
        assert!((0.0..=1.0).contains(&table.fmr_at(0.3)), "{}", table.fmr_at(0.3));
    }
}

/// Manifests of models, which operators write by hand or fetch.
pub fn manifest(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match models::Manifest::parse("fuzzed.toml", &text) {
        Ok(manifest) => {
            assert!(!manifest.file.contains(['/', '\\']) && manifest.file != "..", "{}", manifest.file);
            let [channels, height, width] = manifest.item_shape();
            assert!(channels == 3 && (1..=8192).contains(&height) && (1..=8192).contains(&width));
            let _ = (manifest.contract(), manifest.artefact(), manifest.permit(false));
            let written = manifest.to_toml("a sample").expect("what was read can be written");
            let again = models::Manifest::parse("again.toml", &written).expect("what was written is read");
            assert_eq!(again, manifest, "a manifest is read as it is written");
        }
        Err(e) => assert!(e.to_string().len() < 4_000 + text.len(), "a long message"),
    }
}

/// Model files: read, rewritten for serving, written again. Weights come from anywhere.
pub fn graph(data: &[u8]) {
    let Ok(model) = onnx::decode(data) else { return };
    let written = onnx::encode(&model);
    // Compared as bytes: numbers in it may be no numbers at all, which equal nothing.
    let again = onnx::decode(&written).expect("what was written is read");
    assert_eq!(onnx::encode(&again), written, "a model is read as it is written");
    let _ = (onnx::inputs(&model), onnx::outputs(&model));
    let mut served = model.clone();
    if onnx::rewrite::for_serving(&mut served).is_ok() {
        let _ = onnx::rewrite::for_cpu(&mut served);
        assert!(onnx::decode(&onnx::encode(&served)).is_ok(), "a rewritten model is one");
    }
    let mut model = model;
    let _ = onnx::rewrite::for_cpu(&mut model);
}

/// The key of fuzzed exports: whoever made one has its key, so everything behind the seal is hostile as well.
const EXPORT_KEY: &str = "8f1d3b5c7092a4e6b8cdf01325476981a3c5e7092b4d6f8193b5d7f90a1c2e3f";

/// Exports of collections: as a file, line by line, and as what the sealed lines hold.
pub fn transfer(data: &[u8]) {
    let [kind, rest @ ..] = data else { return };
    let key = transfer::ExportKey::parse(EXPORT_KEY).expect("a key");
    match kind % 4 {
        0 => export(key, rest),
        1 => {
            let Ok(line) = serde_json::from_slice::<transfer::SubjectLine>(rest) else { return };
            let faces = line.faces.len();
            let read: Vec<_> = line.faces.into_iter().filter_map(|face| face.read().ok()).collect();
            assert!(read.len() <= faces && read.iter().all(|(face, template)| face.contract == template.contract()));
            for (face, template) in read {
                let (again, same) = transfer::FaceLine::new(face.clone(), &template).read().expect("as it was written");
                assert!(again.id == face.id && same == template, "a face is read as it is written");
            }
        }
        2 => {
            let Ok(manifest) = serde_json::from_slice::<transfer::Manifest>(rest) else { return };
            let Ok(text) = serde_json::to_vec(&manifest) else { return };
            let again = serde_json::from_slice::<transfer::Manifest>(&text).expect("what was written is read");
            assert_eq!((again.contract, again.revision), (manifest.contract, manifest.revision));
        }
        _ => drop(serde_json::from_slice::<transfer::Trailer>(rest)),
    }
}

/// A file of hostile lines, and one whose lines are sealed as they should be.
fn export(key: transfer::ExportKey, text: &[u8]) {
    let mut lines = transfer::Lines::default();
    let mut cut = Vec::new();
    // In pieces, as they would arrive.
    for piece in text.chunks(7) {
        lines.push(piece);
        while let Some(line) = lines.take().expect("short lines") {
            cut.push(line);
        }
    }
    cut.extend(lines.rest());
    assert_eq!(cut.len() as u64, lines.given());
    if let Some((first, rest)) = cut.split_first()
        && let Ok(mut opener) = transfer::Opener::new(key.clone(), first)
    {
        for line in rest {
            assert!(opener.open(line).is_err(), "a line opens that nobody has sealed");
        }
    }
    let (mut sealer, first) = transfer::Sealer::new(key.clone()).expect("a sealer");
    let sealed: Vec<Vec<u8>> = cut.iter().filter_map(|line| sealer.line(&String::from_utf8_lossy(line)).ok()).collect();
    let mut opener = transfer::Opener::new(key, first.strip_suffix(b"\n").unwrap_or(&first)).expect("a header");
    for (sealed, line) in sealed.iter().zip(&cut) {
        let opened = opener.open(sealed.strip_suffix(b"\n").unwrap_or(sealed)).expect("it was sealed so");
        let transfer::Opened::More(text) = opened else { panic!("it was not the last") };
        assert_eq!(serde_json::from_slice::<String>(&text).ok().as_deref(), Some(&*String::from_utf8_lossy(line)));
    }
}
