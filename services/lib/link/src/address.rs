//! From a URL to a kind of server: one, a Sentinel set or a cluster. Used by `source.rs`.

use redis::{ConnectionInfo, IntoConnectionInfo};

use crate::LinkError;

/// Where the server is.
pub enum Address {
    /// One server.
    Single(ConnectionInfo),
    /// Sentinels, and the name under which they know the master; credentials and database are the master's.
    Sentinel {
        /// The sentinels.
        sentinels: Vec<ConnectionInfo>,
        /// The master's name.
        service: String,
        /// How the master is spoken to.
        master: ConnectionInfo,
    },
    /// Some nodes of a cluster; the others are found through them.
    Cluster(Vec<ConnectionInfo>),
}

impl Address {
    /// Reads a URL; see [`crate::LinkOptions::url`] for the forms.
    ///
    /// # Errors
    /// [`LinkError::Address`]; never shows the URL, which may hold a password.
    pub fn parse(url: &str) -> Result<Self, LinkError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(forms)?;
        let (tls, kind) = match scheme.split_once('-') {
            None => (scheme, ""),
            Some((tls, kind)) => (tls, kind),
        };
        if !matches!(tls, "redis" | "rediss" | "valkey" | "valkeys") {
            return Err(forms());
        }
        if rest.contains('#') {
            // `#insecure` would switch the check of certificates off.
            return Err(LinkError::Address("the address of Redis must not contain #; write %23 in a password".into()));
        }
        let (login, rest) = rest.rsplit_once('@').map_or(("", rest), |(l, r)| (l, r));
        let login = if login.is_empty() { String::new() } else { format!("{login}@") };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let one = |login: &str, host: &str, path: &str| info(&format!("{tls}://{login}{host}/{path}"));
        match kind {
            "" => one(&login, hosts, path).map(Self::Single),
            "cluster" => {
                let nodes: Result<Vec<_>, _> = hosts.split(',').map(|h| one(&login, h, "")).collect();
                nodes.map(Self::Cluster)
            }
            "sentinel" => {
                let (path, query) = path.split_once('?').unwrap_or((path, ""));
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                if service.is_empty() {
                    let detail = "redis-sentinel:// needs the master's name: redis-sentinel://host:26379/NAME";
                    return Err(LinkError::Address(detail.into()));
                }
                let asked = sentinels_login(query)?;
                let sentinels: Result<Vec<_>, _> = hosts.split(',').map(|h| one(&asked, h, "")).collect();
                let first = hosts.split(',').next().unwrap_or_default();
                Ok(Self::Sentinel {
                    sentinels: sentinels?,
                    service: service.to_owned(),
                    master: one(&login, first, database)?,
                })
            }
            _ => Err(forms()),
        }
    }
}

/// The sentinels' own credentials: `sentinel_user` and `sentinel_password` of the query, as a URL has them.
fn sentinels_login(query: &str) -> Result<String, LinkError> {
    let (mut user, mut password) = ("", None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sentinel_user", name)) => user = name,
            Some(("sentinel_password", word)) => password = Some(word),
            _ => {
                let detail = "redis-sentinel:// takes ?sentinel_user= and ?sentinel_password=, nothing else";
                return Err(LinkError::Address(detail.into()));
            }
        }
    }
    Ok(password.map_or_else(String::new, |password| format!("{user}:{password}@")))
}

fn info(url: &str) -> Result<ConnectionInfo, LinkError> {
    url.into_connection_info().map_err(|e| LinkError::Address(format!("the address of Redis cannot be read: {e}")))
}

fn forms() -> LinkError {
    let forms = "redis://, rediss://, redis-sentinel://HOST,HOST/NAME or redis-cluster://HOST,HOST";
    LinkError::Address(format!("the address of Redis must have one of the forms {forms}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(infos: &[ConnectionInfo]) -> Vec<String> {
        infos.iter().map(|i| i.addr().to_string()).collect()
    }

    #[test]
    fn every_form_is_read() {
        let Address::Single(one) = Address::parse("redis://anna:s3cret@cache:6380/2").unwrap() else {
            panic!("single")
        };
        assert_eq!(one.addr().to_string(), "cache:6380");
        assert_eq!((one.redis_settings().username(), one.redis_settings().db()), (Some("anna"), 2));
        let Address::Cluster(nodes) = Address::parse("rediss-cluster://:pw@a:1,b:2").unwrap() else {
            panic!("cluster")
        };
        assert_eq!(hosts(&nodes), ["a:1", "b:2"]);
        assert_eq!(nodes[1].redis_settings().password(), Some("pw"));
        let parsed = Address::parse("redis-sentinel://u:p@a:26379,b:26379/main/1").unwrap();
        let Address::Sentinel { sentinels, service, master } = parsed else { panic!("sentinel") };
        assert_eq!((hosts(&sentinels), service.as_str()), (vec!["a:26379".into(), "b:26379".into()], "main"));
        // The sentinels have credentials of their own, or none.
        assert_eq!(sentinels[0].redis_settings().username(), None);
        assert_eq!((master.redis_settings().username(), master.redis_settings().db()), (Some("u"), 1));
        let parsed = Address::parse("redis-sentinel://u:p@a:1/main?sentinel_user=s&sentinel_password=a%40b").unwrap();
        let Address::Sentinel { sentinels, .. } = parsed else { panic!("sentinel") };
        let login = sentinels[0].redis_settings();
        assert_eq!((login.username(), login.password()), (Some("s"), Some("a@b")));
    }

    #[test]
    fn a_wrong_form_is_refused_and_never_shown() {
        for bad in [
            "cache:6379",
            "http://cache",
            "redis-ring://x",
            "redis-sentinel://:pw@a",
            "redis-sentinel://a/main?password=pw",
            "redis://:pw@host:port",
            "rediss://:pw@host/#insecure",
        ] {
            let text = Address::parse(bad).err().expect(bad).to_string();
            assert!(!text.contains("pw"), "{text}");
        }
    }
}
