//! Where a request comes from: the connection's other end, or, where that is a proxy which is trusted, the address that
//! it says it got the request from. Called by the edge and for long answers, for keys that may be used from certain addresses only.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::ConnectInfo,
    http::{Extensions, HeaderMap},
};
use domain::Cidr;

/// Each proxy adds the address it was called from at the end.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The caller's address; none where a trusted proxy says something that is no address.
pub(crate) fn address((of, headers): (&Extensions, &HeaderMap), trusted: &[Cidr]) -> Option<IpAddr> {
    let ConnectInfo(peer) = of.get::<ConnectInfo<SocketAddr>>()?;
    behind(peer.ip().to_canonical(), headers, trusted)
}

/// Goes back from `peer` as long as whoever speaks is trusted. What the first one who is not says of others is hearsay.
fn behind(peer: IpAddr, headers: &HeaderMap, trusted: &[Cidr]) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|t| t.contains(address));
    let lines: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().map(|v| v.to_str().unwrap_or("?")).collect();
    let mut hops = lines.iter().rev().flat_map(|line| line.rsplit(',')).map(str::trim);
    let mut caller = peer;
    while is_trusted(caller) {
        let Some(hop) = hops.next() else { break };
        caller = parse(hop)?;
    }
    Some(caller)
}

/// An address, as proxies write it: bare, with a port, or in brackets.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|a| a.ip()));
    address.map(|a| a.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, forwarded: &[&str], trusted: &[&str]) -> Option<String> {
        let headers: HeaderMap =
            forwarded.iter().map(|v| (FORWARDED_FOR.parse().unwrap(), v.parse().unwrap())).collect();
        let trusted: Vec<Cidr> = trusted.iter().map(|t| t.parse().unwrap()).collect();
        behind(peer.parse().unwrap(), &headers, &trusted).map(|a| a.to_string())
    }

    fn is(address: &str) -> Option<String> {
        Some(address.to_owned())
    }

    #[test]
    fn nobody_who_is_not_trusted_can_say_where_a_request_comes_from() {
        assert_eq!(from("192.0.2.1", &["10.0.0.7"], &[]), is("192.0.2.1"));
        assert_eq!(from("192.0.2.1", &["10.0.0.7"], &["198.51.100.0/24"]), is("192.0.2.1"));
        // Whatever the caller wrote itself stands before what the proxy added.
        assert_eq!(from("10.0.0.1", &["10.9.9.9, 192.0.2.5"], &["10.0.0.1"]), is("192.0.2.5"));
        assert_eq!(from("10.0.0.1", &["10.9.9.9", "192.0.2.5"], &["10.0.0.1"]), is("192.0.2.5"), "in two lines");
    }

    #[test]
    fn proxies_that_are_trusted_are_passed_over() {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"];
        assert_eq!(from("10.0.0.1", &["192.0.2.5, 10.0.0.2"], &trusted), is("192.0.2.5"));
        assert_eq!(from("2001:db8::1", &["[2001:db9::7]"], &trusted), is("2001:db9::7"));
        assert_eq!(from("10.0.0.1", &["192.0.2.5:4711"], &trusted), is("192.0.2.5"));
        assert_eq!(from("10.0.0.1", &["10.0.0.3, 10.0.0.2"], &trusted), is("10.0.0.3"), "a caller from inside");
        assert_eq!(from("10.0.0.1", &[], &trusted), is("10.0.0.1"), "the proxy itself calls");
        for garbage in ["", "unknown", "192.0.2.5, _hidden", "192.0.2.5,"] {
            assert_eq!(from("10.0.0.1", &[garbage], &trusted), None, "{garbage}");
        }
    }
}
