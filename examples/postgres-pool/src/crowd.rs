//! Clients that come whatever becomes of those before them, each on a connection of its own; some leave early.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Longest answer that is read.
const LONGEST: u64 = 64 << 10;

/// Who comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) address: SocketAddr,
    pub(crate) clients: usize,
    /// Arrivals a second.
    pub(crate) rate: f64,
    /// When a client gives up; it says so in its request.
    pub(crate) patience: Duration,
    /// The share that leaves without a word, after a tenth to four tenths of its patience.
    pub(crate) leaving: f64,
    pub(crate) seed: u64,
}

/// How a visit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Served,
    Refused,
    Left,
    TimedOut,
    Failed,
}

/// What became of one client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    pub(crate) end: End,
    /// From the moment the head was sent.
    pub(crate) took: Duration,
    /// When its connection was closed, if it did not wait for the answer.
    pub(crate) gone: Option<SystemTime>,
}

impl Crowd {
    /// Lets them all come; what became of each, by number.
    pub(crate) async fn come(self) -> Vec<Visit> {
        let begun = Instant::now();
        let mut at = 0.0;
        let mut visits = Vec::with_capacity(self.clients);
        for number in 0..self.clients {
            // Independent clients: exponential gaps.
            at -= self.draw(number, 0).ln() / self.rate;
            sleep_until(begun + Duration::from_secs_f64(at)).await;
            visits.push(tokio::spawn(self.visit(number)));
        }
        let mut ended = Vec::with_capacity(self.clients);
        for visit in visits {
            let broken = Visit { end: End::Failed, took: Duration::ZERO, gone: None };
            ended.push(visit.await.unwrap_or(broken));
        }
        ended
    }

    async fn visit(self, number: usize) -> Visit {
        let leaves = self.draw(number, 1) <= self.leaving;
        let share = if leaves { 0.1 + 0.3 * self.draw(number, 2) } else { 1.0 };
        let mut sent = Instant::now();
        let end = async {
            let mut stream = TcpStream::connect(self.address).await?;
            sent = Instant::now();
            let until = sent + self.patience.mul_f64(share);
            let answered = timeout_at(until, self.ask(&mut stream, number)).await;
            drop(stream);
            Ok::<_, io::Error>(match answered {
                Ok(Ok(503)) => End::Refused,
                Ok(Ok(200)) => End::Served,
                Ok(_) => End::Failed,
                Err(_) if leaves => End::Left,
                Err(_) => End::TimedOut,
            })
        };
        let end = end.await.unwrap_or(End::Failed);
        let took = sent.elapsed();
        Visit { end, took, gone: matches!(end, End::Left | End::TimedOut).then(date) }
    }

    async fn ask(&self, stream: &mut TcpStream, number: usize) -> io::Result<u16> {
        let patience = self.patience.as_millis();
        let head = format!(
            "GET / HTTP/1.1\r\nhost: {}\r\nx-client: {number}\r\nx-request-timeout: {patience}ms\r\nconnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(LONGEST).read_to_end(&mut answer).await?;
        let status = answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        status.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Uniform in (0, 1], the same for the same client, whoever else comes. SplitMix64 (Steele, Lea and Flood 2014).
    fn draw(&self, number: usize, which: u64) -> f64 {
        let step = (number as u64).wrapping_mul(3).wrapping_add(which).wrapping_add(1);
        let mut z = self.seed.wrapping_mul(0xd129_0b2f_5e4c_1a37) ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((z >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

/// The date, as the database has it too: both are on one machine.
#[allow(clippy::disallowed_methods)] // compared with the database's, which knows no other clock
pub(crate) fn date() -> SystemTime {
    SystemTime::now()
}

/// Microseconds of unix time.
pub(crate) fn micros(date: SystemTime) -> i64 {
    date.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
