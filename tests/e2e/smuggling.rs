//! Messages that one reader may take for one request and another for two: the second would be smuggled past the first.
//! Used by `hostile` and `hostile_nginx`.

use crate::raw::Rest;

/// What was smuggled would be answered 404, since there is nothing at its path.
pub fn never_two(shape: &str, rest: &Rest) {
    let statuses = rest.statuses();
    assert!(!statuses.contains(&404) && statuses.len() <= 1, "answered {statuses:?} to {shape:?}");
    assert!(statuses.iter().all(|s| (400..500).contains(s) || *s == 501), "{statuses:?} to {shape:?}");
}

/// Messages that one reader may take for one request and another for two.
pub fn smuggling() -> Vec<String> {
    let post = "POST /v1/detect HTTP/1.1\r\nHost: localhost\r\n";
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let shapes = [
        format!("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("Content-Length: 0\r\nContent-Length: 45\r\n\r\n{smuggled}"),
        format!("Content-Length: 0, 45\r\n\r\n{smuggled}"),
        format!("Content-Length: +0\r\n\r\n{smuggled}"),
        format!("Content-Length: -1\r\n\r\n{smuggled}"),
        format!("Content-Length: 0x0\r\n\r\n{smuggled}"),
        format!("Content-Length: 99999999999999999999\r\n\r\n{smuggled}"),
        format!("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("Content-Length : 0\r\n\r\n{smuggled}"),
        format!("X: y\r\n Content-Length: 0\r\n\r\n{smuggled}"),
        format!("X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{smuggled}"),
        format!("Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{smuggled}"),
        format!("Transfer-Encoding: chunked\r\n\r\n-1\r\n{smuggled}"),
        format!("Transfer-Encoding: chunked\r\n\r\nzz\r\n{smuggled}"),
    ];
    shapes.iter().map(|shape| format!("{post}{shape}")).collect()
}
