//! The pages: well-formed, whole, safe whatever pictures are called, and holding faces only when asked to.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use visavis_evaluation::document::{
    FailedImage, IDENTIFICATION, Identification, IdentificationProtocol, PicturePair, Provenance, Speed, VERIFICATION,
    Verification, VerificationProtocol, Worst,
};
use visavis_evaluation::report::{Other, identification as identification_page, verification as verification_page};
use visavis_evaluation::{
    Bootstrap, Comparison, Histogram, Mate, Outcome, Roc, Scores, Search, cohorts, folds, identification, verification,
};

const HOSTILE: &str = "<script>alert('x')</script>/\"a\" & b\u{202e}.jpg";
const QUICK: Bootstrap = Bootstrap { resamples: 20, confidence: 0.95, seed: 1 };

fn comparisons() -> Vec<Comparison> {
    let score = |i: u32| f64::from(i * 7919 % 1000) / 1000.0 + if i.is_multiple_of(2) { 0.4 } else { -0.4 };
    let cohort = |i: u32| Some(i / 2 % 2);
    (0..200).map(|i| Comparison { cohort: cohort(i), ..Comparison::new(i % 2 == 0, Some(score(i))) }).collect()
}

fn provenance() -> Provenance {
    Provenance { visavis: "1".into(), made: HOSTILE.into(), ..Provenance::default() }
}

fn worst() -> Worst {
    let pair = || PicturePair { left: HOSTILE.into(), right: "b/2.jpg".into(), score: 0.123_456 };
    Worst { mated: vec![pair(), pair()], non_mated: vec![pair()] }
}

fn document() -> Verification {
    let all = comparisons();
    let scores = Scores::from_comparisons(&all).unwrap();
    let of: Vec<String> = (0..all.len()).map(|i| format!("<{}>", i / 50)).collect();
    let speed = Speed { images: 100, seconds: 2.0, images_per_second: 50.0 };
    Verification {
        schema: VERIFICATION.into(),
        provenance: provenance(),
        protocol: VerificationProtocol { pairs: HOSTILE.into(), face: "any".into(), ..Default::default() },
        report: verification(&all, (100, 1), None, QUICK).unwrap(),
        folds: Some(folds(&all, &of).unwrap()),
        cohorts: cohorts(&all, &[HOSTILE.into(), "other".into()], 0.5, QUICK),
        curve: Roc::new(&scores).corners(100),
        histogram: Histogram::new(
            scores.of(true).collect::<Vec<_>>().into_iter(),
            scores.of(false).collect::<Vec<_>>().into_iter(),
        ),
        worst: worst(),
        failures: vec![FailedImage { image: HOSTILE.into(), reason: HOSTILE.into() }],
        speed,
    }
}

fn searches() -> Vec<Search> {
    let search = |i: u32| {
        let score = f64::from(i * 37 % 100) / 100.0;
        let mate = i.is_multiple_of(2).then_some(Mate { score, rank: 1 + i % 12 });
        Search { mated: mate.is_some(), subject: None, cohort: None, outcome: Some(Outcome { top: score, mate }) }
    };
    (0..200).map(search).collect()
}

fn identification_document() -> Identification {
    let scores: Vec<f64> = searches().iter().filter_map(|s| Some(s.outcome?.top)).collect();
    Identification {
        schema: IDENTIFICATION.into(),
        provenance: provenance(),
        protocol: IdentificationProtocol { not_enrolled: vec![HOSTILE.into()], ..Default::default() },
        enrolment: visavis_evaluation::document::Enrolment::default(),
        report: identification(&searches(), 50, &[0.5], QUICK).unwrap(),
        service: None,
        cohorts: None,
        histogram: Histogram::new(scores.iter().copied(), scores.iter().copied()),
        worst: worst(),
        failures: Vec::new(),
        speed: Speed { images: 1, seconds: 1.0, images_per_second: 1.0 },
    }
}

/// Every tag is closed in order, attributes are quoted, and there is nothing that could run or load.
fn assert_well_formed(html: &str) {
    const VOID: [&str; 3] = ["meta", "img", "br"];
    let (mut open, mut rest) = (Vec::new(), html.strip_prefix("<!DOCTYPE html>").unwrap());
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>') || open.last() == Some(&"style"), "a stray > in {:?}", &rest[..at]);
        let end = at + rest[at..].find('>').unwrap();
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "closed out of order, before {:?}", &rest[..rest.len().min(80)]);
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap();
        assert!(!["script", "iframe", "link", "object", "base", "form"].contains(&name), "<{tag}>");
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        assert!(!tag.contains(" on") && !tag.contains("http"), "<{tag}>");
        if !VOID.contains(&name) && !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new());
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("url("), "it loads nothing");
    assert!(!html.contains("NaN") && !html.contains("inf,") && !html.contains("=\"inf"), "every figure is a figure");
}

#[test]
fn pages_are_well_formed_with_hostile_names_and_with_another_run() {
    let (d, i) = (document(), identification_document());
    let crops = [[Some(vec![1, 2, 3]), None], [None, None], [Some(vec![4]), Some(vec![5])]];
    let other = Other { name: HOSTILE.into(), document: d.clone() };
    let other_i = Other { name: HOSTILE.into(), document: i.clone() };
    for page in [
        verification_page(&d, Some(&crops), Some(&other)),
        verification_page(&d, None, None),
        identification_page(&i, Some(&crops), Some(&other_i)),
        identification_page(&i, None, None),
    ] {
        assert_well_formed(&page);
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;/&quot;a&quot; &amp; b\u{fffd}.jpg"));
    }
}

#[test]
fn faces_are_in_the_file_only_when_asked_for_and_it_says_so() {
    let d = document();
    let crops = [[Some(vec![1, 2, 3]), None], [None, None], [Some(vec![4]), Some(vec![5])]];
    let with = verification_page(&d, Some(&crops), None);
    assert_eq!(with.matches("data:image/png;base64,").count(), 3);
    assert!(with.contains("This file holds 3 pictures of faces"));
    // The third pair of the document is the non-mated one: its pictures must not slip to another pair.
    let strangers = with.split("Strangers, most alike").nth(1).unwrap();
    assert!(strangers.contains("base64,BA==") && strangers.contains("base64,BQ=="));
    let without = verification_page(&d, None, None);
    assert!(!without.contains("data:") && without.contains("holds no pictures of faces"));
    assert!(without.contains("0.1235"), "scores of the worst pairs are there all the same");
}

#[test]
fn a_page_shows_what_the_figures_say() {
    let d = document();
    let page = verification_page(&d, None, None);
    let f = d.folds.as_ref().unwrap();
    for wanted in [
        format!("{:.2} % ± {:.2} %", 100.0 * f.accuracy, 100.0 * f.standard_error),
        format!("{:.5}", d.report.auc.value),
        format!("{:.2} %", 100.0 * d.report.eer.estimate.value),
        "By cohort".into(),
        "1 of 100 pictures".into(),
    ] {
        assert!(page.contains(&wanted), "{wanted}");
    }
    assert_eq!(page.matches("class=\"curve ours\"").count(), 2, "ROC and DET");
    assert!(!page.contains("class=\"curve other\""));
    let other = Other { name: "champion.json".into(), document: d.clone() };
    let compared = verification_page(&d, None, Some(&other));
    assert!(compared.contains("compared: champion.json") && compared.contains("class=\"curve other\""));
    assert!(!compared.contains("not of the same pairs"));
    let mut fewer = other;
    fewer.document.report.pairs = 3;
    assert!(verification_page(&d, None, Some(&fewer)).contains("not of the same pairs"));
}

#[test]
fn figures_survive_the_way_through_json() {
    let d = document();
    let text = serde_json::to_string(&d).unwrap();
    // To the last bit but one: numbers in JSON are decimal.
    let read: Verification = serde_json::from_str(&text).unwrap();
    assert_eq!(verification_page(&read, None, None), verification_page(&d, None, None));
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["schema"], VERIFICATION);
    assert!(json["curve"][0]["threshold"].is_null(), "the threshold above every score");
    assert!(json["report"]["accuracy"]["value"].is_f64() && json["visavis"] == "1");
    let i = identification_document();
    let read: Identification = serde_json::from_str(&serde_json::to_string(&i).unwrap()).unwrap();
    assert_eq!(identification_page(&read, None, None), identification_page(&i, None, None));
}
