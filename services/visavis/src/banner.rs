//! What `up` prints when it is ready: where everything is, and three lines to paste.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Everything the text is made of.
pub struct Banner {
    /// Where HTTPS is served.
    pub address: SocketAddr,
    /// Where metrics are served.
    pub admin: SocketAddr,
    /// Certificate to trust.
    pub cert: PathBuf,
    /// File with the admin key.
    pub key_file: PathBuf,
    /// Names of the models.
    pub models: String,
    /// Name of the collection to try with; there is none of this name yet.
    pub collection: String,
    /// A picture to try with.
    pub photo: Option<PathBuf>,
    /// File with the key that the data directory's records are sealed with, if it lies there.
    pub sealing_key: Option<PathBuf>,
}

impl Banner {
    /// The text.
    pub fn text(&self) -> String {
        let url = url("https", self.address);
        let mut text = format!("\nVisavis is ready at {url}\n\n");
        let rows = [
            ("documentation", format!("{url}/docs")),
            ("admin key", self.key_file.display().to_string()),
            ("certificate", self.cert.display().to_string()),
            ("metrics", format!("{}/metrics", self::url("http", self.admin))),
            ("models", self.models.clone()),
        ];
        for (name, value) in rows {
            let _ = writeln!(text, "  {name:14} {value}");
        }
        if let Some(file) = &self.sealing_key {
            let _ = writeln!(
                text,
                "  {:14} {} (keep a copy: without it nothing here can be read)",
                "sealing key",
                file.display()
            );
        }
        text.push_str("\nTry it: make a collection, enrol somebody, identify them.\n\n");
        if self.photo.is_none() {
            text.push_str("PHOTO=path/to/a/portrait.jpg\n");
        }
        for line in self.lines(&url) {
            let _ = writeln!(text, "{line}");
        }
        text.push_str("\nCtrl-C stops.\n");
        text
    }

    /// The text of a process that is only a gateway.
    pub fn role_text(&self, role: &str) -> String {
        let mut text = format!("\n{role} is ready at {}\n\n", url("https", self.address));
        let rows = [
            ("admin key", self.key_file.display().to_string()),
            ("certificate", self.cert.display().to_string()),
            ("metrics", format!("{}/metrics", url("http", self.admin))),
        ];
        for (name, value) in rows {
            let _ = writeln!(text, "  {name:14} {value}");
        }
        text.push_str("\nCtrl-C stops.\n");
        text
    }

    /// The three lines.
    fn lines(&self, url: &str) -> [String; 3] {
        let curl = format!(
            "curl --cacert {} -H \"Authorization: Bearer $(cat {})\"",
            quoted(&self.cert.to_string_lossy()),
            quoted(&self.key_file.to_string_lossy())
        );
        let photo =
            self.photo.as_deref().map_or_else(|| "\"$PHOTO\"".to_owned(), |p: &Path| quoted(&p.to_string_lossy()));
        let (purpose, collection) = ("access_control", &self.collection);
        [
            format!(
                "{curl} -H 'Content-Type: application/json' -d '{{\"id\":\"{collection}\",\"purposes\":[\"{purpose}\"]}}' {url}/v1/collections"
            ),
            format!(
                "{curl} -F id=astronaut -F 'consent={{\"purposes\":[\"{purpose}\"],\"method\":\"public_domain_picture\"}}' \
                 -F images=@{photo} {url}/v1/collections/{collection}/subjects"
            ),
            format!("{curl} -F image=@{photo} {url}/v1/collections/{collection}/identify"),
        ]
    }
}

/// The text of a process that is only a worker, or only a trainer.
pub fn alone_text(role: &str, admin: SocketAddr) -> String {
    format!("\n{role} is ready; metrics {}/metrics\n\nCtrl-C drains and stops.\n", url("http", admin))
}

/// An address that a client on this machine can use.
fn url(scheme: &str, address: SocketAddr) -> String {
    let host = match address.ip() {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    format!("{scheme}://{host}:{}", address.port())
}

/// A word for the shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner(photo: Option<&str>) -> String {
        let banner = Banner {
            address: "0.0.0.0:8443".parse().unwrap(),
            admin: "[::1]:9090".parse().unwrap(),
            cert: "/data dir/tls/cert.pem".into(),
            key_file: "/data/admin.key".into(),
            models: "yunet+sface".into(),
            collection: "demo".into(),
            photo: photo.map(Into::into),
            sealing_key: Some("/data/sealing.key".into()),
        };
        banner.text()
    }

    #[test]
    fn three_lines_to_paste_with_quoted_paths() {
        let text = banner(Some("/data/astronaut.png"));
        let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("curl ")).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines.iter().all(|l| l.contains("--cacert '/data dir/tls/cert.pem'")), "{text}");
        assert!(lines[1].contains("images=@/data/astronaut.png https://localhost:8443/v1/collections/demo/subjects"));
        assert!(text.contains("http://[::1]:9090/metrics") && !text.contains("PHOTO"));
        assert!(text.contains("/data/sealing.key (keep a copy"), "{text}");
    }

    #[test]
    fn without_a_sample_the_user_names_a_picture_first() {
        let text = banner(None);
        let set = text.find("PHOTO=path").unwrap();
        assert!(set < text.find("images=@\"$PHOTO\"").unwrap());
    }
}
