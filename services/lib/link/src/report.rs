//! What a server says about itself at the start, and whether it will do: version, eviction, persistence. A queue or a
//! store on a server that throws keys away under pressure loses work without a word, so that is an error.

use std::collections::HashMap;

use redis::Value;

use crate::{Link, LinkError};

/// How the server keeps what it is told; the later the weaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Persistence {
    /// On disk before each answer.
    Always,
    /// On disk within a second.
    EverySecond,
    /// The server does not tell.
    Unknown,
    /// Whenever the system writes it, or only in snapshots, or not at all.
    Weak,
}

/// The server's own word, and what is to be thought of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerReport {
    /// Such as `Valkey 9.1.2`.
    pub product: String,
    /// How it keeps what it is told.
    pub persistence: Persistence,
    /// Why it will not do.
    pub errors: Vec<String>,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

pub(crate) async fn look(link: &Link) -> Result<ServerReport, LinkError> {
    let mut connection = link.connection().await?;
    let infos = connection.everywhere(redis::cmd("INFO")).await?;
    let mut settings: Vec<HashMap<&str, String>> = vec![HashMap::new(); infos.len()];
    for name in ["maxmemory-policy", "appendonly", "appendfsync"] {
        let mut ask = redis::cmd("CONFIG");
        ask.arg("GET").arg(name);
        match connection.everywhere(ask).await {
            Ok(answers) => {
                for (known, answer) in settings.iter_mut().zip(answers) {
                    known.extend(setting(answer).map(|value| (name, value)));
                }
            }
            Err(error) if error.is_io_error() => return Err(error.into()),
            // Managed servers keep their settings to themselves.
            Err(_) => {}
        }
    }
    let each = infos.into_iter().zip(&settings).map(|(info, settings)| judge(&fields(&text_of(info)), settings));
    Ok(each.reduce(ServerReport::and).unwrap_or_else(|| judge(&HashMap::new(), &HashMap::new())))
}

impl ServerReport {
    /// What is true of two masters of a cluster together: every complaint once, and the weaker persistence.
    fn and(mut self, other: Self) -> Self {
        for (all, more) in [(&mut self.errors, other.errors), (&mut self.warnings, other.warnings)] {
            for text in more {
                if !all.contains(&text) {
                    all.push(text);
                }
            }
        }
        if self.product != other.product && !self.product.contains(&other.product) {
            self.product = format!("{}, {}", self.product, other.product);
        }
        self.persistence = self.persistence.max(other.persistence);
        self
    }
}

fn judge(info: &HashMap<String, String>, settings: &HashMap<&str, String>) -> ServerReport {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    let get = |name: &str| info.get(name).map(String::as_str);
    let (name, version, least) = match get("valkey_version") {
        Some(version) => ("Valkey", version, 8),
        None => ("Redis", get("redis_version").unwrap_or("0"), 7),
    };
    let major: u32 = version.split('.').next().and_then(|v| v.parse().ok()).unwrap_or(0);
    if major < least {
        errors.push(format!("{name} {version} is too old: Redis 7.0 or Valkey 8.0 and later will do"));
    }
    let policy = settings.get("maxmemory-policy").map(String::as_str).or(get("maxmemory_policy"));
    let bounded = get("maxmemory").is_some_and(|m| m != "0");
    match policy {
        Some("noeviction") => {}
        Some(other) if bounded => {
            errors.push(format!("maxmemory-policy is {other}: jobs and records would be thrown away; set noeviction"));
        }
        Some(other) => warnings.push(format!("maxmemory-policy is {other}; set noeviction before setting maxmemory")),
        None => warnings.push("the server does not tell its maxmemory-policy; it must be noeviction".into()),
    }
    let appends = settings.get("appendonly").map_or_else(|| get("aof_enabled") == Some("1"), |v| v == "yes");
    let persistence = match (appends, settings.get("appendfsync").map(String::as_str)) {
        (false, _) => Persistence::Weak,
        (true, Some("always")) => Persistence::Always,
        (true, Some("everysec")) => Persistence::EverySecond,
        (true, Some(_)) => Persistence::Weak,
        (true, None) => Persistence::Unknown,
    };
    match persistence {
        Persistence::Always => {}
        Persistence::EverySecond => warnings.push("appendfsync is everysec: a crash may lose jobs of a second".into()),
        Persistence::Weak => warnings.push("no append-only file: a crash of the server loses waiting jobs".into()),
        Persistence::Unknown => warnings.push("the server does not tell how it keeps its data".into()),
    }
    ServerReport { product: format!("{name} {version}"), persistence, errors, warnings }
}

fn fields(text: &str) -> HashMap<String, String> {
    text.lines().filter_map(|l| l.split_once(':')).map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned())).collect()
}

fn text_of(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text,
        _ => String::new(),
    }
}

/// The value in the answer to `CONFIG GET name`: a list of name and value, or a map of them.
fn setting(answer: Value) -> Option<String> {
    match answer {
        Value::Array(items) => items.into_iter().nth(1).map(text_of),
        Value::Map(pairs) => pairs.into_iter().next().map(|(_, value)| text_of(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(info: &[(&str, &str)], settings: &[(&'static str, &str)]) -> ServerReport {
        let info = info.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        judge(&info, &settings.iter().map(|(k, v)| (*k, (*v).to_owned())).collect())
    }

    #[test]
    fn a_sound_server_passes_without_a_word() {
        let settings = [("maxmemory-policy", "noeviction"), ("appendonly", "yes"), ("appendfsync", "always")];
        let r = report(&[("redis_version", "7.2.4"), ("valkey_version", "9.1.2"), ("maxmemory", "1000")], &settings);
        assert_eq!((r.product.as_str(), r.persistence), ("Valkey 9.1.2", Persistence::Always));
        assert_eq!((r.errors.len(), r.warnings.len()), (0, 0));
    }

    #[test]
    fn an_old_server_and_one_that_evicts_are_errors_by_name() {
        let r = report(&[("redis_version", "6.2.9"), ("maxmemory", "1000")], &[("maxmemory-policy", "allkeys-lru")]);
        assert_eq!(r.errors.len(), 2);
        assert!(r.errors[0].contains("Redis 6.2.9") && r.errors[1].contains("allkeys-lru"), "{r:?}");
        assert!(r.warnings[0].contains("append-only"), "{r:?}");
    }

    #[test]
    fn a_cluster_is_as_good_as_its_worst_master() {
        let good = report(&[("redis_version", "7.4.0"), ("aof_enabled", "1")], &[("appendfsync", "always")]);
        let bad = report(&[("redis_version", "6.2.0"), ("aof_enabled", "0")], &[("appendfsync", "always")]);
        let both = good.clone().and(good).and(bad);
        assert_eq!((both.product.as_str(), both.persistence), ("Redis 7.4.0, Redis 6.2.0", Persistence::Weak));
        assert_eq!((both.errors.len(), both.warnings.len()), (1, 2), "{both:?}");
    }

    #[test]
    fn a_server_that_keeps_its_settings_to_itself_is_a_warning() {
        let r = report(&[("redis_version", "7.4.0"), ("aof_enabled", "1")], &[]);
        assert!(r.errors.is_empty());
        assert_eq!((r.persistence, r.warnings.len()), (Persistence::Unknown, 2));
    }
}
