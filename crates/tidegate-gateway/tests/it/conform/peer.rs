//! The other end of a connection with the gate: sends whatever frames, and remembers what came.

use tidegate_lab::frames::{Block, Frame, PREFACE, Wire, flag, kind, setting};

use std::time::Duration;

use tokio::time::timeout;

use crate::stand::{Stand, bounded};

/// Silence for so long says that nothing comes. Shorter than the `head-timeout` of the stand, so that a connection which ends
/// for that is not taken for one that ends at once.
const SILENCE: Duration = Duration::from_secs(60);

pub(super) struct Peer {
    wire: Wire,
    /// Everything that came, SETTINGS and their acknowledgements aside.
    pub(super) came: Vec<Frame>,
    /// Settings of ours that the gate has acknowledged.
    pub(super) acknowledged: usize,
    /// What the gate said of itself.
    pub(super) settings: Vec<(u16, u32)>,
    /// Something was waited for that never came: the gate neither sent it nor closed.
    pub(super) in_vain: bool,
}

impl Peer {
    /// Connects and says these settings, and that it wants no table, so that a status can be read.
    pub(super) async fn open(stand: &Stand, settings: &[(u16, u32)]) -> Self {
        let mut peer = Self::silent(stand).await;
        let mut first = PREFACE.to_vec();
        first.extend([Frame::settings(&[&[(setting::HEADER_TABLE_SIZE, 0)], settings].concat())]);
        peer.send(&first).await;
        while peer.settings.is_empty() {
            peer.next().await.expect("the gate closed before its settings");
        }
        peer
    }

    /// Connects and says nothing.
    pub(super) async fn silent(stand: &Stand) -> Self {
        let wire = bounded("a connection", Wire::connect(stand.address)).await.unwrap();
        Self { wire, came: Vec::new(), acknowledged: 0, settings: Vec::new(), in_vain: false }
    }

    /// Sends bytes; that the gate has closed is seen when reading.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _ = bounded("bytes are taken", self.wire.send(bytes)).await;
    }

    pub(super) async fn frames(&mut self, frames: impl IntoIterator<Item = Frame>) {
        let mut bytes = Vec::new();
        bytes.extend(frames);
        self.send(&bytes).await;
    }

    /// The next frame, SETTINGS included; `None` when the gate has closed, or nothing comes.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        let Ok(next) = timeout(SILENCE, self.wire.next()).await else {
            self.in_vain = true;
            return None;
        };
        let frame = next.ok()??;
        if frame.kind != kind::SETTINGS {
            self.came.push(frame.clone());
        } else if frame.has(flag::ACK) {
            self.acknowledged += 1;
        } else {
            let field = |entry: &[u8]| {
                (
                    u16::from_be_bytes([entry[0], entry[1]]),
                    u32::from_be_bytes(entry[2..6].try_into().unwrap()),
                )
            };
            self.settings.extend(frame.payload.chunks(6).map(field));
            self.frames([Frame::settings_ack()]).await;
        }
        Some(frame)
    }

    /// Reads until `done` says so of all that came; false if the gate closed before, or nothing came any more.
    pub(super) async fn until(&mut self, mut done: impl FnMut(&[Frame]) -> bool) -> bool {
        while !done(&self.came) {
            if self.next().await.is_none() {
                return false;
            }
        }
        true
    }

    /// Reads until the gate closes; false if it does not.
    pub(super) async fn closed(&mut self) -> bool {
        while self.next().await.is_some() {}
        !self.in_vain
    }

    /// Asks with a PING whether the connection is alive. What the gate did at once for frames before it has come too.
    pub(super) async fn alive(&mut self) -> bool {
        let opaque = u64::try_from(self.came.len()).unwrap().to_be_bytes();
        self.frames([Frame::ping(opaque)]).await;
        self.until(|came| came.iter().any(|f| f.kind == kind::PING && f.payload == opaque[..])).await
    }

    /// The body of a stream as far as it came, frame by frame.
    pub(super) fn data(&self, stream: u32) -> Vec<&[u8]> {
        let of_stream = self.came.iter().filter(|f| f.kind == kind::DATA && f.stream == stream);
        of_stream.map(|f| &f.payload[..]).filter(|payload| !payload.is_empty()).collect()
    }

    /// Credit that came for a stream, or for the connection (0).
    pub(super) fn credit(&self, stream: u32) -> u64 {
        let updates = self.came.iter().filter(|f| f.kind == kind::WINDOW_UPDATE && f.stream == stream);
        updates.map(|f| u64::from(f.number(0).unwrap())).sum()
    }
}

/// Has the stream ended, one way or another?
pub(super) fn ended(came: &[Frame], stream: u32) -> bool {
    let last = |f: &Frame| matches!(f.kind, kind::DATA | kind::HEADERS) && f.has(flag::END_STREAM);
    came.iter().any(|f| f.stream == stream && (last(f) || f.kind == kind::RST_STREAM))
}

/// A whole GET.
pub(super) fn get(stream: u32, path: &str) -> Frame {
    Frame::headers(stream, flag::END_HEADERS | flag::END_STREAM, Block::get(path).bytes())
}

/// The head of a POST; its body follows.
pub(super) fn post(stream: u32, path: &str) -> Frame {
    Frame::headers(stream, flag::END_HEADERS, Block::request("POST", path).bytes())
}
