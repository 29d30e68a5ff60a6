//! A gate with little memory before an origin of this process, and its figures.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tidegate_lab::attack::{Attack, Crowd, Plan, open};
use tidegate_lab::origin::{Origin, OriginSettings};
use tidegate_lab::spec::Distribution;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::program::Program;

/// What the gate may hold.
pub(super) const BUDGET: u64 = 64 << 20;
/// The bar: a tenth more, for what the allocator keeps.
pub(super) const MOST: u64 = BUDGET + BUDGET / 10;
/// Longer than anything takes on the slowest machine.
pub(super) const BOUND: Duration = Duration::from_secs(180);

pub(super) struct Stand {
    pub(super) program: Program,
    pub(super) address: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) origin: SocketAddr,
}

impl Stand {
    /// A gate of 64 MiB, with these flags besides, before the lab's origin.
    pub(super) async fn new(flags: &[&str]) -> Self {
        let mut settings = OriginSettings::default();
        settings.workers = 100;
        (settings.mean, settings.distribution) = (Duration::from_millis(1), Distribution::Fixed);
        let origin = Origin::bind(([127, 0, 0, 1], 0).into(), settings).await.unwrap();
        let address = origin.local_addr().unwrap();
        tokio::spawn(origin.serve());
        Self::before(address, flags).await
    }

    /// The same before another origin.
    pub(super) async fn before(origin: SocketAddr, flags: &[&str]) -> Self {
        let url = format!("http://{origin}");
        // A limit that is in nobody's way: what bounds the gate here is its memory.
        let given =
            ["--memory", "64MiB", "--limit", "20000", "--max-queue", "20000", "--max-streams", "20000"];
        let mut program = Program::gate(&[&[&*url], &given[..], flags].concat());
        let mut named = || program.address("http://").trim_start_matches("http://").to_owned();
        let (address, admin) = (named(), named());
        let admin = admin.trim_end_matches("/status").parse().unwrap();
        Self { address: address.parse().unwrap(), admin, program, origin }
    }

    pub(super) fn plan(&self, path: &str, connections: u32, streams: u32) -> Plan {
        Plan::new(self.address, path, connections, streams)
    }

    pub(super) async fn attack(&self, attack: Attack, plan: &Plan) -> Crowd {
        open(attack, plan).await.unwrap()
    }

    /// Bytes of memory that are the gate's own, without the pages of its program file.
    pub(super) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.program.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Watches it for so long: the most bytes that it had.
    pub(super) async fn peak_over(&self, time: Duration) -> u64 {
        self.peak_while(sleep(time)).await.0
    }

    /// Watches it until this has ended: the most bytes that it had.
    pub(super) async fn peak_while<T>(&self, until: impl Future<Output = T>) -> (u64, T) {
        let mut peak = 0;
        let mut until = pin!(until);
        loop {
            peak = peak.max(self.resident());
            if let Ok(ended) = timeout(Duration::from_millis(20), until.as_mut()).await {
                return (peak.max(self.resident()), ended);
            }
        }
    }

    /// Bytes that the kernel holds for each of the gate's clients that has not taken everything. Those of connections that the
    /// gate has closed are the kernel's own.
    pub(super) fn unread(&self) -> Vec<u64> {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let mut bytes = Vec::new();
        // Others on the machine may have thousands, and the same port at other addresses.
        let gate = format!("0100007F:{:04X}", self.address.port());
        for line in table.lines().filter(|line| line.contains(&gate)) {
            let words: Vec<_> = line.split_whitespace().collect();
            let (sending, receiving) = words[4].split_once(':').unwrap();
            // Established.
            if words[3] == "01" && words[1] == gate && hex(sending) > 0 {
                bytes.push(hex(sending) + hex(receiving));
            }
        }
        bytes
    }

    /// One request over HTTP/1 on a connection of its own; its answer, head and body.
    pub(super) async fn ask(&self, request: &str) -> String {
        ask(self.address, request).await
    }

    pub(super) async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")).await
    }

    /// A metric's value now; 0 if it is not there.
    pub(super) async fn metric(&self, name: &str) -> f64 {
        let text = ask(self.admin, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()).unwrap_or(0.0)
    }

    /// Bytes that the gate has charged to its number.
    pub(super) async fn charged(&self) -> u64 {
        self.metric("tidegate_memory_charged_bytes").await as u64
    }

    /// Waits until as much is charged as `before`, or less.
    pub(super) async fn is_even(&self, before: u64) {
        let mut charged = u64::MAX;
        for _ in 0..3_000 {
            charged = self.charged().await;
            if charged <= before {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        let status = ask(self.admin, "GET /status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        panic!("{charged} bytes are charged, and {before} were before: {status}");
    }

    /// Waits until nobody is connected.
    pub(super) async fn is_left(&self) {
        eventually("nobody is left", async || {
            self.metric("tidegate_connections").await == 0.0 && self.metric("tidegate_in_flight").await == 0.0
        })
        .await;
    }

    /// Lets the origin read all uploads.
    pub(super) async fn release(&self) {
        let answer =
            ask(self.origin, "POST /.lab/release HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(answer.ends_with("released\n"), "{answer}");
    }
}

pub(super) async fn ask(address: SocketAddr, request: &str) -> String {
    let exchange = async {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset after the answer makes no difference here.
        let _ = tcp.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    timeout(BOUND, exchange).await.unwrap_or_else(|_| panic!("no answer to {request:?}"))
}

/// Waits until it holds.
pub(super) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(BOUND, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// The same, however long a busy machine takes, as long as what it is told moves.
pub(super) async fn as_it_moves<T: PartialEq>(what: &str, mut look: impl AsyncFnMut() -> (bool, T)) {
    let (mut last, mut since) = (None, Instant::now());
    loop {
        let (holds, moved) = look().await;
        if holds {
            return;
        }
        let moved = Some(moved);
        if moved != last {
            (last, since) = (moved, Instant::now());
        }
        assert!(since.elapsed() < BOUND, "never: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Bytes in MiB, for messages.
pub(super) fn mib(bytes: u64) -> f64 {
    (bytes as f64 / 104_857.6).round() / 10.0
}
