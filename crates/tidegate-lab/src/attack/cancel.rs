//! Streams that are cancelled at every point of their life, one after another on each connection.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::peer::{Seen, initial_window};
use super::{Plan, crowd};
use crate::frames::{Block, Frame, PREFACE, Wire, code, flag, kind, setting};
use crate::random::Random;

/// Credit of a connection at its begin (RFC 9113 §6.9.2). At the end as much must be there again, apart from what a server may
/// keep to itself until it is worth an update: half of it.
const FIRST: i64 = 65_535;
/// What each answer may be ahead of its reader, and what the server may send on the connection before it is given more.
const ANSWER: u32 = 4_096;
const ANSWERS: u32 = 1 << 20;
/// How often, and how many times, it is looked whether the credit is back.
const LOOK: Duration = Duration::from_millis(5);
const LOOKS: usize = 1_000;
/// An answer to a PING takes no longer than this.
const PONG: Duration = Duration::from_secs(30);

/// What a stream asks for: two that read what is sent, or do not, and two that answer.
const UPLOADS: [&str; 2] = ["/.lab/sink", "/.lab/unread"];
const ENDLESS: &str = "/.lab/endless";
const ANSWERING: [&str; 2] = ["/.lab/bytes/3000", ENDLESS];

/// One connection after another, until all the plan's streams were begun and cancelled.
pub(super) async fn cancel(mut tcp: TcpStream, plan: &Plan, seen: &Seen) -> io::Result<()> {
    let mut chance = Random::new(u64::from(tcp.local_addr()?.port()));
    let mut left = plan.streams;
    loop {
        // A server may end a connection that resets too much.
        let _ = connection(tcp, &mut left, &mut chance, seen).await;
        if left == 0 {
            return Ok(());
        }
        seen.ended.fetch_add(1, Relaxed);
        tcp = crowd::socket(plan)?.connect(plan.target).await?;
    }
}

struct Cancelling {
    wire: Wire,
    /// What may be sent, on each stream too, and what was received and not given back.
    credit: i64,
    window: i64,
    received: u32,
}

async fn connection(tcp: TcpStream, left: &mut u32, chance: &mut Random, seen: &Seen) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut this = Cancelling { wire: Wire::over(tcp), credit: FIRST, window: FIRST, received: 0 };
    let mut first = PREFACE.to_vec();
    first.extend([
        Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, ANSWER)]),
        Frame::window_update(0, ANSWERS),
    ]);
    this.wire.send(&first).await?;
    seen.begun.fetch_add(1, Relaxed);
    let mut stream = 1u32;
    while *left > 0 {
        *left -= 1;
        this.stream(stream, chance, seen).await?;
        stream += 2;
    }
    for look in 0..LOOKS {
        if this.credit > FIRST / 2 {
            seen.whole.fetch_add(1, Relaxed);
            break;
        }
        sleep(LOOK).await;
        this.until_pong(stream + look as u32).await?; // at most LOOKS
    }
    Ok(())
}

impl Cancelling {
    /// One stream: an upload or an answer, reset at once, when the server has seen it, a moment later, or when it has ended.
    async fn stream(&mut self, stream: u32, chance: &mut Random, seen: &Seen) -> io::Result<()> {
        let upload = chance.below(2) == 0;
        let paths = if upload { UPLOADS } else { ANSWERING };
        let path = if chance.below(2) == 0 { paths[0] } else { paths[1] };
        let ended = if upload { 0 } else { flag::END_STREAM };
        let head = Block::request(if upload { "POST" } else { "GET" }, path).bytes();
        let mut frames = vec![Frame::headers(stream, flag::END_HEADERS | ended, head)];
        let mut window = self.window;
        for _ in 0..if upload { chance.below(4) } else { 0 } {
            let some = (1 + chance.below(5_000) as i64).min(self.credit).min(window); // below 5,001
            if some > 300 {
                self.credit -= some;
                window -= some;
                frames.push(piece(stream, some as usize, chance)); // above 300
            }
        }
        let cancel = chance.below(5);
        match cancel {
            0 => frames.push(Frame::reset(stream, code::CANCEL)),
            // Its end comes first.
            1 if upload => {
                frames.push(Frame::data(stream, flag::END_STREAM, ""));
                frames.push(Frame::reset(stream, code::CANCEL));
            }
            _ => {}
        }
        if self.received > ANSWERS / 2 {
            frames.push(Frame::window_update(0, std::mem::take(&mut self.received)));
        }
        self.wire.frames(frames).await?;
        self.until_pong(stream).await?;
        // An answer that has an end comes to it; one that has none must be cancelled, or it stays open.
        if cancel > 1 || path == ENDLESS {
            if cancel != 2 {
                sleep(Duration::from_micros(chance.below(2_000))).await;
            }
            self.wire.frames([Frame::reset(stream, code::CANCEL)]).await?;
        }
        seen.cancelled.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Reads until the server has seen everything.
    async fn until_pong(&mut self, number: u32) -> io::Result<()> {
        let opaque = u64::from(number).to_be_bytes();
        self.wire.frames([Frame::ping(opaque)]).await?;
        loop {
            let next = timeout(PONG, self.wire.next()).await.map_err(|_| io::ErrorKind::TimedOut)??;
            let frame = next.ok_or(io::ErrorKind::UnexpectedEof)?;
            match frame.kind {
                kind::WINDOW_UPDATE if frame.stream == 0 => {
                    self.credit += i64::from(frame.number(0).unwrap_or(0));
                }
                kind::DATA => self.received += u32::try_from(frame.payload.len()).unwrap_or(0),
                kind::SETTINGS if !frame.has(flag::ACK) => {
                    self.window = initial_window(&frame).unwrap_or(self.window);
                    self.wire.frames([Frame::settings_ack()]).await?;
                }
                kind::PING if frame.payload == opaque[..] => return Ok(()),
                // Is it still there? Who does not say so is sent away.
                kind::PING if !frame.has(flag::ACK) => {
                    self.wire.frames([Frame::new(kind::PING, flag::ACK, 0, frame.payload)]).await?;
                }
                _ => {}
            }
        }
    }
}

/// A DATA frame of so many bytes, with padding or without.
fn piece(stream: u32, bytes: usize, chance: &mut Random) -> Frame {
    let mut payload = vec![0; bytes];
    if chance.below(2) == 0 {
        return Frame::data(stream, 0, payload);
    }
    if let Some(padding) = payload.first_mut() {
        *padding = 255;
    }
    Frame::data(stream, flag::PADDED, payload)
}
