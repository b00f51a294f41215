//! A TCP proxy that breaks what runs through it: refuses and closes, delays, stays silent with every connection open, or
//! keeps answers to itself.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc as blocking,
    },
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::servers::free_port;

/// Pieces on their way in one direction of one connection; more wait in the kernel.
const PIECES: usize = 256;
/// Bytes of one piece at most.
const PIECE: usize = 16 << 10;

/// A proxy in front of one server, healthy at first. Dropping it closes everything.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    orders: mpsc::UnboundedSender<Order>,
}

/// What befalls bytes that pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passage {
    /// They arrive this much later.
    After(Duration),
    /// They do not arrive until it is healed.
    Never,
    /// Everything arrives but what is said, until it is healed, on a connection whose last question begins so.
    Unless(&'static str),
}

impl Passage {
    /// Whether bytes may go on: of a connection on which the withheld answer is being waited for, or of another.
    fn passes(self, asked: bool) -> bool {
        match self {
            Self::After(_) => true,
            Self::Never => false,
            Self::Unless(_) => !asked,
        }
    }
}

/// What a test asks for, and where to say that it is done.
enum Order {
    Cut(blocking::SyncSender<()>),
    Pass(Passage, blocking::SyncSender<()>),
}

impl FaultProxy {
    /// A proxy on a free port of the loopback interface.
    #[must_use]
    pub fn start(target: SocketAddr) -> Self {
        let (orders, to_follow) = mpsc::unbounded_channel();
        let (started, has_started) = blocking::sync_channel(1);
        // A runtime of its own: the proxy outlives the test's, and a busy test does not slow it.
        thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let (address, listener) = loop {
                    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
                    if let Ok(listener) = TcpListener::bind(address).await {
                        break (address, listener);
                    }
                };
                started.send(address).expect("the test waits");
                serve(address, target, listener, to_follow).await;
            });
        });
        let address = has_started.recv().expect("the proxy starts");
        Self { address, orders }
    }

    /// Where to connect instead of to the server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection and refuses new ones.
    pub fn cut(&self) {
        self.order(Order::Cut);
    }

    /// Delays what passes from now on, in each direction.
    pub fn delay(&self, by: Duration) {
        self.order(|done| Order::Pass(Passage::After(by), done));
    }

    /// Keeps connections open, accepts new ones, and lets no byte pass: neither side learns anything.
    pub fn hang(&self) {
        self.order(|done| Order::Pass(Passage::Never, done));
    }

    /// Lets questions through and keeps back what is answered to those that begin with `word`: they take effect, and who
    /// asked does not learn it.
    pub fn withhold_answers_to(&self, word: &'static str) {
        self.order(|done| Order::Pass(Passage::Unless(word), done));
    }

    /// Ends every fault. What a silence held back arrives now.
    pub fn heal(&self) {
        self.order(|done| Order::Pass(Passage::After(Duration::ZERO), done));
    }

    fn order(&self, what: impl FnOnce(blocking::SyncSender<()>) -> Order) {
        let (done, is_done) = blocking::sync_channel(1);
        assert!(self.orders.send(what(done)).is_ok(), "the proxy runs");
        is_done.recv().expect("the proxy does as it is told");
    }
}

async fn serve(
    address: SocketAddr,
    target: SocketAddr,
    listener: TcpListener,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    let (passage, _) = watch::channel(Passage::After(Duration::ZERO));
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                Some(Order::Cut(done)) => {
                    listener = None;
                    connections.shutdown().await;
                    done.send(()).ok();
                }
                Some(Order::Pass(how, done)) => {
                    passage.send_replace(how);
                    if listener.is_none() {
                        listener = Some(TcpListener::bind(address).await.expect("the proxy's port is free again"));
                    }
                    done.send(()).ok();
                }
            },
            Some(client) = accepted(listener.as_ref()) => {
                connections.spawn(connect(client, target, passage.subscribe()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The next connection; never, while the proxy refuses them.
async fn accepted(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn connect(client: TcpStream, target: SocketAddr, mut passage: watch::Receiver<Passage>) {
    // The kernel has accepted the client already; the server learns of it when bytes may pass.
    if passage.wait_for(|p| p.passes(false)).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let asked = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&asked);
    let question = move |piece: &[u8], how: Passage| {
        if let Passage::Unless(word) = how {
            heard.store(piece.starts_with(word.as_bytes()), Ordering::SeqCst);
        }
    };
    let never = Arc::new(AtomicBool::new(false));
    tokio::join!(
        pass(from_client, to_server, passage.clone(), (question, never)),
        pass(from_server, to_client, passage, (|_: &[u8], _| {}, asked)),
    );
}

/// One direction of one connection, to its end: what is to be noted of each piece, and whether pieces are withheld.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    passage: watch::Receiver<Passage>,
    (note, withheld): (impl Fn(&[u8], Passage), Arc<AtomicBool>),
) {
    let (pieces, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let mut at_arrival = passage.clone();
    let read = async move {
        let mut buffer = vec![0; PIECE];
        // An end is passed on like a piece: in its turn, and not during a silence.
        while let Ok(n) = from.read(&mut buffer).await {
            let how = *passage.borrow();
            note(&buffer[..n], how);
            let delay = match how {
                Passage::After(delay) => delay,
                Passage::Never | Passage::Unless(_) => Duration::ZERO,
            };
            if pieces.send((Instant::now() + delay, buffer[..n].to_vec())).await.is_err() || n == 0 {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = under_way.recv().await {
            sleep_until(due).await;
            if at_arrival.wait_for(|p| p.passes(withheld.load(Ordering::SeqCst))).await.is_err() {
                return;
            }
            if bytes.is_empty() || to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        drop(to.shutdown().await);
    };
    tokio::join!(read, write);
}
