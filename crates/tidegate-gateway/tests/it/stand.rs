//! A whole gateway in this process, before an origin of the test's own.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidegate_gateway::Running;
use tidegate_gateway::config::{Config, Effective};
use tidegate_gateway::gateway::Gateway;
use tidegate_gateway::listen::Shutdown;
use tidegate_gateway::observe::AccessLog;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::origin::Origin;
use crate::wire::{Answer, Wire};

/// Long enough for the slowest machine that has other things to do; nothing that works takes as long.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// Whatever a test does not say itself: what a busy machine is slow with is no fault of who waits, sends or reads.
const PATIENCE: [(&str, &str); 4] =
    [("connect-timeout", "1m"), ("origin-timeout", "1h"), ("stall-timeout", "1h"), ("head-timeout", "1h")];

pub(crate) struct Stand {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) probe: Option<SocketAddr>,
    pub(crate) shutdown: Shutdown,
    pub(crate) origin: Origin,
    serving: Option<JoinHandle<bool>>,
}

impl Stand {
    /// A gateway with these words of configuration before a new origin.
    pub(crate) async fn new(words: &str) -> Self {
        Self::before(Origin::start().await, words, |_| ()).await
    }

    /// The same; `change` may set what has no word.
    pub(crate) async fn with(words: &str, change: impl FnOnce(&mut Effective)) -> Self {
        Self::before(Origin::start().await, words, change).await
    }

    /// A gateway before an origin that the test plays itself. The stand's own origin is not used.
    pub(crate) async fn facing(origin: impl std::fmt::Display, words: &str) -> Self {
        let mut spare = Origin::start().await;
        spare.url = origin.to_string();
        Self::before(spare, words, |_| ()).await
    }

    pub(crate) async fn before(origin: Origin, words: &str, change: impl FnOnce(&mut Effective)) -> Self {
        Self::start(origin, words, change, None)
    }

    /// A gateway that writes its access log there.
    pub(crate) async fn logged(words: &str, log: AccessLog) -> Self {
        Self::start(Origin::start().await, words, |_| (), Some(log))
    }

    fn start(
        origin: Origin,
        words: &str,
        change: impl FnOnce(&mut Effective),
        log: Option<AccessLog>,
    ) -> Self {
        let mut text =
            format!("origin = '{}'\nlisten = '127.0.0.1:0'\nadmin = '127.0.0.1:0'\n{words}", origin.url);
        for (word, patient) in PATIENCE {
            if !words.contains(word) {
                text.push_str(&format!("\n{word} = '{patient}'"));
            }
        }
        // What waits for memory waits as long, where a test does not say how long that is.
        if !["max-wait", "client-timeout", "memory"].iter().any(|word| words.contains(word)) {
            text.push_str("\nmax-wait = '1h'\nclient-timeout = '10h'");
        }
        let mut effective = Effective::new(Config::parse(&text).unwrap()).unwrap();
        // The least rate has no word: who is paused by such a machine moves too little as well.
        effective.listen_settings.pace.grace = Duration::from_secs(3600);
        change(&mut effective);
        let shutdown = Shutdown::new();
        let running = Running::start(effective, log, shutdown.clone()).unwrap();
        Self {
            gateway: Arc::clone(running.gateway()),
            address: running.address(),
            admin: running.admin_address(),
            probe: running.probe_address(),
            shutdown,
            origin,
            serving: Some(tokio::spawn(running.serve())),
        }
    }

    pub(crate) async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut wire = self.connect().await;
        wire.send(request).await;
        wire.answer().await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(get(path)).await
    }

    pub(crate) async fn admin(&self, path: &str) -> Answer {
        let mut wire = Wire::connect(self.admin).await;
        wire.send(get(path)).await;
        wire.answer().await
    }

    /// A metric's value now, labels included in its name; 0 if it is not there.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.gateway.scrape();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()).unwrap_or(0.0)
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.gateway.limiter().stats().in_flight
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.gateway.limiter().stats().waiting
    }

    /// Every permit is back: as many requests as the limit pass at once, and none more were ever at the origin.
    pub(crate) async fn is_whole(&self, limit: usize) {
        eventually("all permits are back", || self.in_flight() == 0 && self.waiting() == 0).await;
        let before = self.origin.now();
        let mut wires = Vec::new();
        for _ in 0..limit {
            let mut wire = self.connect().await;
            wire.send(get("/hold")).await;
            wires.push(wire);
        }
        eventually("the whole limit is admitted", || self.origin.now() == before + limit).await;
        self.origin.release(limit);
        for wire in &mut wires {
            assert_eq!(wire.answer().await.status, 200);
        }
        assert!(self.origin.peak() <= limit, "the origin saw {} at once", self.origin.peak());
        eventually("they are back again", || self.in_flight() == 0).await;
    }

    /// Asks to drain, and waits for the end; true if nothing was cut off.
    pub(crate) async fn end(&mut self) -> bool {
        self.shutdown.drain();
        let serving = self.serving.take().unwrap();
        bounded("the gateway ends", serving).await.unwrap()
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.shutdown.abort();
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n")
}

pub(crate) fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// An address that stays the test's own, whether anybody listens there or not: nobody else is given its port meanwhile.
pub(crate) struct Place(TcpSocket);

impl Place {
    pub(crate) fn new() -> Self {
        Self::of(([127, 0, 0, 1], 0).into())
    }

    fn of(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Without it the place could not be shared with those that listen.
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Listens, as soon as who listened before has gone.
    pub(crate) async fn listen(&self) -> TcpListener {
        bounded("the place is free", async {
            loop {
                if let Ok(listener) = Self::of(self.address()).0.listen(64) {
                    return listener;
                }
                sleep(Duration::from_millis(3)).await;
            }
        })
        .await
    }
}

/// Waits until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    bounded(what, async {
        while !holds() {
            sleep(Duration::from_millis(3)).await;
        }
    })
    .await;
}

/// Waits for what must come.
pub(crate) async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(BOUND, future).await {
        Ok(done) => done,
        Err(_) => panic!("never: {what}"),
    }
}
