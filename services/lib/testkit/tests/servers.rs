//! The servers and the proxy do what tests rely on.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use visavis_testkit::{FaultProxy, Product, RedisOptions, RedisServer};

#[test]
fn what_was_written_survives_a_kill() {
    let mut server = RedisServer::start();
    assert_eq!(server.command(&["SET", "a", "1"]), "+OK\r\n");
    server.kill();
    assert!(server.try_command(&["PING"]).is_err());
    server.restart();
    assert_eq!(server.command(&["GET", "a"]), "$1\r\n1\r\n");
    assert!(server.command(&["INFO", "server"]).contains("valkey_version:9.1.2"));
    assert!(server.url().ends_with(&server.port().to_string()));
}

#[test]
fn a_cluster_of_one_holds_every_slot_after_a_restart_too() {
    let mut server = RedisServer::start_with(RedisOptions { cluster: true, ..RedisOptions::default() });
    assert_eq!(server.command(&["SET", "a", "1"]), "+OK\r\n");
    server.restart();
    assert_eq!(server.command(&["GET", "a"]), "$1\r\n1\r\n");
    assert!(server.command(&["CLUSTER", "INFO"]).contains("cluster_slots_assigned:16384"));
}

#[test]
fn a_user_needs_the_password() {
    let user = Some(("visavis".to_owned(), "secret".to_owned()));
    let server = RedisServer::start_with(RedisOptions { user, ..RedisOptions::default() });
    assert_eq!(server.command(&["PING"]), "+PONG\r\n");
    assert!(server.url().starts_with("redis://visavis:secret@127.0.0.1:"));
    assert!(say(server.address(), "PING\r\n").starts_with("-NOAUTH"));
}

#[test]
fn the_machines_own_redis_serves_tls() {
    let options = RedisOptions { tls: true, product: Product::Redis, ..RedisOptions::default() };
    let Some(server) = RedisServer::redis_or_skip(options) else { return };
    assert_eq!(server.command(&["PING"]), "+PONG\r\n");
    assert!(server.url().starts_with("rediss://"));
    assert!(server.ca().exists());
    // No plain command gets through where clients connect.
    assert!(!say(server.address(), "PING\r\n").contains("PONG"));
}

#[test]
fn a_paused_server_answers_later() {
    let server = RedisServer::start();
    server.pause();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(stream.read(&mut [0; 7]).is_err());
    server.resume();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
}

#[test]
fn a_cut_closes_and_refuses_until_it_is_healed() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address());
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    stream.read_exact(&mut [0; 7]).unwrap();
    proxy.cut();
    // Closed or reset.
    assert!(!matches!(stream.read(&mut [0; 7]), Ok(1..)));
    assert!(TcpStream::connect(proxy.address()).is_err());
    proxy.heal();
    assert_eq!(say(proxy.address(), "PING\r\n"), "+PONG\r\n");
}

#[test]
fn a_delay_holds_in_each_direction() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address());
    proxy.delay(Duration::from_millis(60));
    let began = Instant::now();
    assert_eq!(say(proxy.address(), "PING\r\n"), "+PONG\r\n");
    assert!(began.elapsed() >= Duration::from_millis(120), "{:?}", began.elapsed());
    proxy.heal();
    assert_eq!(say(proxy.address(), "PING\r\n"), "+PONG\r\n");
}

#[test]
fn a_silence_keeps_connections_and_holds_bytes_back() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address());
    let mut old = TcpStream::connect(proxy.address()).unwrap();
    old.write_all(b"PING\r\n").unwrap();
    old.read_exact(&mut [0; 7]).unwrap();
    proxy.hang();
    let mut new = TcpStream::connect(proxy.address()).expect("new connections are accepted");
    for stream in [&mut old, &mut new] {
        stream.write_all(b"PING\r\n").unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let error = stream.read(&mut [0; 7]).expect_err("nothing arrives");
        assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{error}");
    }
    proxy.heal();
    for stream in [&mut old, &mut new] {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.read_exact(&mut [0; 7]).expect("what was held back arrives");
    }
}

/// Sends a line and gives the first that comes back, if any does.
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
fn say(to: SocketAddr, what: &str) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(what.as_bytes()).unwrap();
    let mut reply = [0; 256];
    let n = stream.read(&mut reply).unwrap_or_default();
    String::from_utf8_lossy(&reply[..n]).into_owned()
}
