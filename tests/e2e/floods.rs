//! What hostile callers send to whoever stands at the edge, and what has to hold meanwhile: an honest caller is served and
//! memory stays where it was. Used by `hostile` against the service and by `hostile_nginx` against the proxy before it.

use std::time::{Duration, Instant};

use testkit::Client;

use crate::{
    frames::{CONTINUATION, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, field, frame, get, preface},
    raw::{Raw, Rest, Wire},
};

/// An honest caller's answer takes at most this long meanwhile. Generous: tests run beside others.
pub const SERVED_WITHIN: Duration = Duration::from_secs(5);
/// A silence after which no more is expected.
pub const SILENCE: Duration = Duration::from_millis(700);

/// Whoever is attacked.
pub struct Attacked {
    /// An honest caller.
    pub client: Client,
    /// Connections of a hostile one, by protocol.
    pub raw: fn(&str) -> Raw,
    /// Memory before an attack and after it.
    pub memory: [fn() -> u64; 2],
    /// Most that an attack may add.
    pub most: u64,
}

impl Attacked {
    /// Runs an attack. Meanwhile an honest caller is served, and afterwards there is little more memory than before.
    pub async fn under<T>(&self, attack: impl Future<Output = T>) -> T {
        let (client, [before, after]) = (&self.client, self.memory);
        drop(client.get("/v1/collections").await.expect(200));
        let before = before();
        let honest = async {
            loop {
                let began = Instant::now();
                drop(client.get("/v1/collections").await.expect(200));
                assert!(began.elapsed() < SERVED_WITHIN, "an honest caller waited {:?}", began.elapsed());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let done = tokio::select! {
            done = attack => done,
            () = honest => unreachable!("it goes on for ever"),
        };
        drop(client.get("/v1/collections").await.expect(200));
        let after = after();
        assert!(after < before + self.most, "from {} MiB to {} MiB", before >> 20, after >> 20);
        done
    }

    /// Sends one HTTP/1.1 message of any shape on a connection of its own.
    pub async fn sent(&self, message: &[u8]) -> Rest {
        let mut wire = (self.raw)("http/1.1").connect().await;
        wire.send(message).await;
        wire.rest(SILENCE).await
    }

    /// A connection of HTTP/2 that has begun.
    pub async fn http2(&self) -> Wire {
        let mut wire = (self.raw)("h2").connect().await;
        assert!(wire.send(&preface()).await, "the preface is taken");
        wire
    }

    /// Sends until the other side closes or there is no more, and hears what is said to it.
    pub async fn flood(&self, pieces: impl Iterator<Item = Vec<u8>>) -> Rest {
        let mut wire = self.http2().await;
        self.under(async {
            for piece in pieces {
                if !wire.send(&piece).await {
                    return Rest { bytes: Vec::new(), closed: true };
                }
            }
            wire.rest(SILENCE).await
        })
        .await
    }

    /// Sends frames that want an answer each, from a caller who reads none. Whether they are read, held up or ended is the
    /// other side's choice; a caller held up for long is let go.
    pub async fn unread(&self, frames: &[u8]) {
        let mut wire = self.http2().await;
        self.under(async {
            for _ in 0..50 {
                let sent = tokio::time::timeout(Duration::from_secs(2), wire.send(frames)).await;
                if !matches!(sent, Ok(true)) {
                    break;
                }
            }
        })
        .await;
    }
}

/// CVE-2023-44487: 30 000 streams, each reset as soon as it is opened.
pub fn resets() -> impl Iterator<Item = Vec<u8>> {
    let block = get("/v1/collections");
    (0..300).map(move |batch: u32| {
        let streams = (batch * 100..batch * 100 + 100).map(|n| 2 * n + 1);
        let both = |id| [frame(HEADERS, END_HEADERS | END_STREAM, id, &block), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])];
        streams.flat_map(both).flatten().collect()
    })
}

/// A head of 22 MB in continuations.
pub fn endless_head() -> impl Iterator<Item = Vec<u8>> {
    let piece: Vec<u8> = (0..100).flat_map(|n| field(&format!("x-{n}"), &"v".repeat(100))).collect();
    begun().chain((0..2_000).map(move |_| frame(CONTINUATION, 0, 1, &piece)))
}

/// A head with 200 000 continuations that add nothing.
pub fn empty_continuations() -> impl Iterator<Item = Vec<u8>> {
    begun().chain((0..200).map(|_| frame(CONTINUATION, 0, 1, &[]).repeat(1_000)))
}

fn begun() -> impl Iterator<Item = Vec<u8>> {
    std::iter::once(frame(HEADERS, END_STREAM, 1, &get("/livez")))
}

/// Control frames by the thousand: empty settings, settings that change something, pings.
pub fn control() -> [Vec<u8>; 3] {
    let settings = frame(SETTINGS, 0, 0, &[]);
    let changes = frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]);
    [settings, changes, frame(PING, 0, 0, &[7; 8])].map(|one| one.repeat(1_000))
}
