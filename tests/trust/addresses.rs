//! Keys bound to addresses, behind the real nginx: what counts is where the caller is, not what it says.

use std::net::{IpAddr, SocketAddr};

use serde_json::json;
use testkit::{Nginx, NginxOptions, TestApp};

use crate::world::{app, key};

/// The status of a request from one of this machine's addresses.
async fn status(app: &TestApp, to: SocketAddr, from: &str, key: &str, forwarded: Option<&str>) -> u16 {
    let pem = std::fs::read(app.certificate()).expect("a certificate");
    let trusted = reqwest::Certificate::from_pem(&pem).expect("a certificate");
    let from: IpAddr = from.parse().expect("an address");
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]).local_address(from);
    let request = client.build().expect("a client").get(format!("https://{to}/v1/collections")).bearer_auth(key);
    let request = forwarded.into_iter().fold(request, |r, value| r.header("x-forwarded-for", value));
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn behind_nginx_a_key_is_bound_to_where_its_caller_is() {
    // nginx calls from 127.0.0.1, and this machine's other addresses are callers.
    let app = app();
    let nginx = Nginx::start(&NginxOptions {
        certificate: app.certificate(),
        key: app.data_dir().join("tls/key.pem"),
        gateway_ca: app.certificate(),
        gateways: vec![app.address()],
        variables: Vec::new(),
    });
    let body = json!({"name": "office", "scopes": ["subjects:read"], "cidrs": ["127.0.0.2/32"]});
    let (_, office) = key(&app.client(), body).await;
    for (to, from, forwarded, expected) in [
        (nginx.address(), "127.0.0.2", None, 200),
        (nginx.address(), "127.0.0.3", None, 403),
        (nginx.address(), "127.0.0.3", Some("127.0.0.2"), 403),
        (app.address(), "127.0.0.2", None, 200),
        (app.address(), "127.0.0.3", None, 403),
        (app.address(), "127.0.0.3", Some("127.0.0.2"), 403),
    ] {
        let got = status(app, to, from, &office, forwarded).await;
        assert_eq!(got, expected, "from {from} to {to}, saying {forwarded:?}");
    }
}
