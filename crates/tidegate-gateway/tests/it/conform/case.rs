//! [`Case`]: frames to send, and what the gate must do then.

use std::fmt::Write as _;

use tidegate_lab::frames::{Frame, flag, kind, setting, status};

use super::peer::{Peer, ended};
use crate::stand::{Stand, eventually};

pub(super) struct Case {
    name: &'static str,
    settings: Vec<(u16, u32)>,
    steps: Vec<Step>,
    then: Vec<Then>,
}

enum Step {
    Bytes(Vec<u8>),
    /// Waits until a stream has ended.
    Ended(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The connection is alive, and no stream was reset.
    Lives,
    /// A stream is answered with this status, to its end.
    Answers(u32, u16),
    /// A stream is reset with this code; the connection is alive.
    Resets(u32, u32),
    /// The connection ends, with this code in GOAWAY.
    Closes(u32),
}

/// Begins a case; its name begins with the section.
pub(super) fn case(name: &'static str) -> Case {
    Case { name, settings: Vec::new(), steps: Vec::new(), then: Vec::new() }
}

impl Case {
    pub(super) fn with(mut self, name: u16, value: u32) -> Self {
        self.settings.push((name, value));
        self
    }

    /// Answers have heads only, so that streams stay half closed.
    pub(super) fn without_credit(self) -> Self {
        self.with(setting::INITIAL_WINDOW_SIZE, 0)
    }

    pub(super) fn send(mut self, frames: impl IntoIterator<Item = Frame>) -> Self {
        let mut bytes = Vec::new();
        bytes.extend(frames);
        self.steps.push(Step::Bytes(bytes));
        self
    }

    pub(super) fn ended(mut self, stream: u32) -> Self {
        self.steps.push(Step::Ended(stream));
        self
    }

    pub(super) fn lives(self) -> Self {
        self.then(Then::Lives)
    }

    pub(super) fn answers(self, stream: u32, status: u16) -> Self {
        self.then(Then::Answers(stream, status))
    }

    pub(super) fn resets(self, stream: u32, code: u32) -> Self {
        self.then(Then::Resets(stream, code))
    }

    pub(super) fn closes(self, code: u32) -> Self {
        self.then(Then::Closes(code))
    }

    /// The RFC says what stands before; the h2 crate closes the connection with this code.
    pub(super) fn but_h2_closes(mut self, code: u32) -> Self {
        self.then.clear();
        self.closes(code)
    }

    fn then(mut self, then: Then) -> Self {
        self.then.push(then);
        self
    }

    /// What is wrong, if anything.
    async fn fails(&self, stand: &Stand) -> Option<String> {
        let mut peer = Peer::open(stand, &self.settings).await;
        for step in &self.steps {
            match step {
                Step::Bytes(bytes) => peer.send(bytes).await,
                Step::Ended(stream) => drop(peer.until(|came| ended(came, *stream)).await),
            }
        }
        let mut wrong = String::new();
        for then in &self.then {
            let holds = match *then {
                Then::Lives => peer.alive().await && !peer.came.iter().any(is_end),
                Then::Answers(stream, expected) => {
                    let whole = peer.until(|came| ended(came, stream)).await;
                    let head = peer.came.iter().find(|f| f.stream == stream && f.kind == kind::HEADERS);
                    whole && head.and_then(|head| status(&head.payload)) == Some(expected)
                }
                Then::Resets(stream, code) => {
                    let reset = |f: &Frame| f.stream == stream && f.kind == kind::RST_STREAM;
                    let came = peer.until(|came| came.iter().any(reset)).await;
                    let reset = peer.came.iter().find(|f| reset(f)).and_then(|f| f.number(0));
                    came && reset == Some(code) && peer.alive().await
                }
                Then::Closes(code) => {
                    let closed = peer.closed().await;
                    let goaway = peer.came.iter().find(|f| f.kind == kind::GOAWAY);
                    closed && goaway.and_then(|f| f.number(4)) == Some(code)
                }
            };
            if !holds {
                let came: Vec<_> =
                    peer.came.iter().map(|f| (f.kind, f.flags, f.stream, &f.payload)).collect();
                let rest = if peer.in_vain { " and nothing more" } else { "" };
                let _ = writeln!(wrong, "{}: expected {then:?}, came {came:?}{rest}", self.name);
                break;
            }
        }
        assert!(!self.then.is_empty(), "{} expects nothing", self.name);
        (!wrong.is_empty()).then_some(wrong)
    }
}

fn is_end(frame: &Frame) -> bool {
    matches!(frame.kind, kind::GOAWAY | kind::RST_STREAM)
}

/// Runs them all, each on a connection of its own; then the gate is as it was.
pub(super) async fn all(cases: impl IntoIterator<Item = Case>) {
    // An answer without credit holds its permit until it is seen that nobody reads: more than one case has streams.
    const LIMIT: usize = 110;
    let stand = Stand::new(&format!("limit = {LIMIT}")).await;
    let mut wrong = Vec::new();
    for case in cases {
        wrong.extend(case.fails(&stand).await);
    }
    assert!(wrong.is_empty(), "{} cases fail:\n{}", wrong.len(), wrong.concat());
    eventually("nobody is left", || stand.metric("tidegate_connections") == 0.0).await;
    eventually("no stream is left", || stand.metric("tidegate_streams") == 0.0).await;
    stand.is_whole(LIMIT).await;
}

/// Bytes with padding: its length before, zeros behind (RFC 9113 §6.1).
pub(super) fn padded(bytes: &[u8], padding: u8) -> Vec<u8> {
    [&[padding], bytes, &vec![0; usize::from(padding)]].concat()
}

pub(super) const WHOLE: u8 = flag::END_HEADERS | flag::END_STREAM;
