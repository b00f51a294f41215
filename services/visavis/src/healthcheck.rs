//! `visavis healthcheck`: asks the admin server of the process that runs on this machine, as a probe would. The
//! HEALTHCHECK of the images, which have no shell and no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use runtime::Config;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::output;

/// Longest time for the whole answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks and prints what was said.
///
/// # Errors
/// [`Failure::Unavailable`] when the process does not answer, or is not ready (with what it is waiting for).
pub async fn run(config: &Config, live: bool) -> Result<(), Failure> {
    let address = reachable(config.admin.listen);
    let path = if live { "/livez" } else { "/readyz?verbose" };
    let late = || Failure::Unavailable(format!("{address} has not answered for {} s", PATIENCE.as_secs()));
    let answer = timeout(PATIENCE, ask(address, path)).await.map_err(|_| late())?;
    let (status, body) = answer.map_err(|e| Failure::Unavailable(format!("{address} does not answer: {e}")))?;
    if status == 200 {
        output::text(&body);
        return Ok(());
    }
    Err(Failure::Unavailable(format!("the process at {address} is not ready ({status}): {}", body.trim())))
}

/// An address that a client on this machine can use.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn ask(address: SocketAddr, path: &str) -> Result<(u16, String), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the connection; what goes wrong on it is told to the request.
    tokio::spawn(connection);
    let request = Request::get(path).header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_is_asked_at_this_machine() {
        let asked = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:9090"), "127.0.0.1:9090");
        assert_eq!(asked("[::]:9090"), "[::1]:9090");
        assert_eq!(asked("10.0.0.7:1"), "10.0.0.7:1");
    }
}
