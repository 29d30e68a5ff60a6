//! [`Shutdown`]: one word to everybody that it is time to finish.

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    Draining,
    Closing,
    Over,
}

/// Says when to finish. Cheap to clone; clones share the word. There is no way back.
#[derive(Clone, Debug)]
pub struct Shutdown {
    phase: watch::Sender<Phase>,
}

impl Shutdown {
    /// Nobody has to finish yet.
    #[must_use]
    pub fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Running) }
    }

    /// Asks everybody to finish what they have begun.
    pub fn drain(&self) {
        self.advance(Phase::Draining);
    }

    /// Asks those that still wait to give up: there is no time left for their work, but for an answer.
    pub fn refuse_waiting(&self) {
        self.advance(Phase::Closing);
    }

    /// Asks everybody to stop now.
    pub fn abort(&self) {
        self.advance(Phase::Over);
    }

    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let news = *phase < to;
            *phase = (*phase).max(to);
            news
        });
    }

    /// Was [`drain`](Self::drain) or [`abort`](Self::abort) said?
    #[must_use]
    pub fn draining(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining
    }

    /// Was [`refuse_waiting`](Self::refuse_waiting) or [`abort`](Self::abort) said?
    #[must_use]
    pub fn refuses_waiting(&self) -> bool {
        *self.phase.borrow() >= Phase::Closing
    }

    /// Remembers the word of this moment.
    pub(super) fn ear(&self) -> Ear {
        Ear(self.phase.subscribe())
    }

    /// Resolves when it is time to finish. Cancel safe.
    pub async fn on_drain(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Resolves when it is time to stop. Cancel safe.
    pub async fn on_abort(&self) {
        self.reached(Phase::Over).await;
    }

    /// Resolves when it is time to finish; to whoever finishes already, when it is time to stop. Cancel safe.
    pub(super) async fn on_next(&self, finishes: bool) {
        self.reached(if finishes { Phase::Over } else { Phase::Draining }).await;
    }

    async fn reached(&self, wanted: Phase) {
        // The sender lives in `self`, so the only way for this to end is the phase.
        let _ = self.phase.subscribe().wait_for(|phase| *phase >= wanted).await;
    }
}

/// Tells without a lock whether there is news, for those who are polled much more often than there is.
#[derive(Debug)]
pub(super) struct Ear(watch::Receiver<Phase>);

impl Ear {
    /// Was there another word since this ear was made?
    pub(super) fn news(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}
