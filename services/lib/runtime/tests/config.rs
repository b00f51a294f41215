//! The configuration's layers and faults, as somebody who writes settings meets them.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::PathBuf;

use runtime::config::{DEFAULT_TOML, LogFormat, TlsVersion, load};
use runtime::{Loaded, Setting, Sources};

use visavis_runtime as runtime;

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn file(dir: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("visavis.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn faults(sources: &Sources) -> Vec<String> {
    load(sources).unwrap_err().faults.iter().map(ToString::to_string).collect()
}

#[test]
fn the_embedded_defaults_are_complete_and_valid() {
    let Loaded { config, origins } = load(&Sources::default()).unwrap();
    assert_eq!(config.gateway.listen.to_string(), "127.0.0.1:8443");
    assert_eq!(config.gateway.tls_min_version, TlsVersion::V1_3);
    assert_eq!((config.models.detector.as_str(), config.models.embedder.as_str()), ("yunet", "sface"));
    assert!(origins.is_empty());
    assert!(DEFAULT_TOML.lines().filter(|l| l.starts_with('#')).count() > 20, "the reference explains its keys");
}

#[test]
fn later_layers_win_key_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let sources = Sources {
        platform: vec![Setting::new("the user's data folder", "store.data_dir", "/home/v/data")],
        file: Some(file(&dir, "[gateway]\nlisten = '0.0.0.0:1'\nmax_in_flight = 7\n[telemetry]\nformat = 'json'")),
        env: env(&[
            ("VISAVIS__GATEWAY__LISTEN", "127.0.0.1:2"),
            ("VISAVIS__WORKER__EMBED_BATCH", "4"),
            ("VISAVIS__MODELS__EMBEDDER", "2024"),
            ("VISAVIS_CACHE_DIR", "/elsewhere"),
            ("HOME", "/root"),
        ]),
        flags: vec![Setting::new("flag --listen", "gateway.listen", "127.0.0.1:3")],
    };
    let loaded = load(&sources).unwrap();
    let c = &loaded.config;
    assert_eq!(c.gateway.listen.port(), 3);
    assert_eq!((c.gateway.max_in_flight, c.worker.embed_batch), (7, 4));
    assert_eq!(c.telemetry.format, LogFormat::Json);
    assert_eq!(c.store.data_dir, PathBuf::from("/home/v/data"));
    assert_eq!(c.models.embedder, "2024", "a number is text where text is wanted");
    assert_eq!(c.limits.image_bytes, 10 << 20, "the rest keeps its default");
    let origin = loaded.origins.iter().find(|(k, _)| k == "worker.embed_batch").unwrap();
    assert_eq!(origin.1, "environment variable VISAVIS__WORKER__EMBED_BATCH");
}

#[test]
fn every_fault_comes_at_once_with_its_key_and_source() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[gateway]\nlisten = 'nowhere'\ntls_cert_file = 'c.pem'\n[limits]\nimage_bytes = 99999999999\n[worker]\nthread = 3\n[sotre]\nx = 1";
    let path = file(&dir, text);
    let sources = Sources {
        file: Some(path.clone()),
        env: env(&[("VISAVIS__WORKER__BULK_JOBS", "many"), ("VISAVIS__TELEMETRY__FILTER", "vis=loudest")]),
        flags: vec![Setting::new("flag --detector", "models.detector", "../etc/passwd")],
        ..Sources::default()
    };
    let faults = faults(&sources);
    let from_file = format!("(from {})", path.display());
    for (key, source) in [
        ("gateway.listen", from_file.as_str()),
        ("limits.image_bytes", &from_file),
        ("gateway.tls_cert_file", &from_file),
        ("worker.thread", &from_file),
        ("sotre.x", &from_file),
        ("worker.bulk_jobs", "(from environment variable VISAVIS__WORKER__BULK_JOBS)"),
        ("telemetry.filter", "(from environment variable VISAVIS__TELEMETRY__FILTER)"),
        ("models.detector", "(from flag --detector)"),
    ] {
        assert!(
            faults.iter().any(|f| f.starts_with(&format!("{key}: ")) && f.ends_with(source)),
            "{key} in {faults:#?}"
        );
    }
    assert_eq!(faults.len(), 8, "{faults:#?}");
}

#[test]
fn a_file_that_is_missing_or_not_toml_is_a_fault_of_its_own() {
    let missing = Sources { file: Some("/no/such/visavis.toml".into()), ..Sources::default() };
    assert!(faults(&missing)[0].contains("/no/such/visavis.toml: the configuration file cannot be read"));
    let dir = tempfile::tempdir().unwrap();
    let broken = Sources { file: Some(file(&dir, "[gateway]\nlisten = \n")), ..Sources::default() };
    let faults = faults(&broken);
    assert!(faults.len() == 1 && faults[0].contains("line 2"), "{faults:?}");
}

#[test]
fn a_section_that_is_not_a_table_and_an_empty_variable_are_named() {
    let sources =
        Sources { env: env(&[("VISAVIS__GATEWAY", "5"), ("VISAVIS__STORE__ENGINE", "")]), ..Sources::default() };
    let faults = faults(&sources);
    assert!(faults.iter().any(|f| f.starts_with("gateway: ")), "{faults:?}");
    assert!(faults.iter().any(|f| f.starts_with("store.engine: ")), "{faults:?}");
}

#[test]
fn the_effective_configuration_reads_back_as_a_configuration() {
    let sources = Sources { env: env(&[("VISAVIS__GATEWAY__MAX_IN_FLIGHT", "9")]), ..Sources::default() };
    let text = load(&sources).unwrap().to_toml().unwrap();
    assert!(text.contains("# gateway.max_in_flight: environment variable VISAVIS__GATEWAY__MAX_IN_FLIGHT"), "{text}");
    let dir = tempfile::tempdir().unwrap();
    let again = load(&Sources { file: Some(file(&dir, &text)), ..Sources::default() }).unwrap();
    assert_eq!(again.config, load(&sources).unwrap().config);
}
