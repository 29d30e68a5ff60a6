//! What became of every item that was ever offered.

use super::sent::Why;

/// What became of the items, counted since the channel was made. Nothing is lost without being counted here:
///
/// - `offered` = `accepted` + everything refused + `displaced_newest` + `rerouted` + `returned` + `canceled` + what
///   waits now;
/// - `accepted` = `delivered` + `displaced_oldest` + `abandoned` + what is queued now.
///
/// Room that was reserved counts when an item is sent with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Items that came in.
    pub accepted: u64,
    /// Items that the receiver took.
    pub delivered: u64,
    /// Items that were in and handed back to make room.
    pub displaced_oldest: u64,
    /// Items that were handed back in place of entering.
    pub displaced_newest: u64,
    /// Items that went to another channel.
    pub rerouted: u64,
    /// Items handed back because the receiver takes no more.
    pub returned: u64,
    /// Items whose sender went away, with them, while it waited.
    pub canceled: u64,
    /// Items that were in when the receiver went away.
    pub abandoned: u64,
    /// Bytes whose lease was given up while the item lives on ([`Leased::into_inner`](super::Leased::into_inner)).
    pub unaccounted_bytes: u64,
    pub(super) refused: [u64; Why::ALL.len()],
}

impl Tally {
    /// Items refused for this cause.
    #[must_use]
    pub fn refused(&self, why: Why) -> u64 {
        self.refused.get(why.index()).copied().unwrap_or_default()
    }

    /// Items refused for any cause.
    #[must_use]
    pub fn refused_in_all(&self) -> u64 {
        self.refused.iter().sum()
    }

    /// Items ever offered of which the fate is known.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.accepted
            + self.refused_in_all()
            + self.displaced_newest
            + self.rerouted
            + self.returned
            + self.canceled
    }

    pub(super) fn refuse(&mut self, why: Why) {
        if let Some(count) = self.refused.get_mut(why.index()) {
            *count += 1;
        }
    }
}
