//! What became of an item: it is in, or it is here again.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// What became of an item that was offered. Whatever is not in the channel is in here.
///
/// It has to be looked at; to send and forget does not compile where unused results are denied:
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// async fn careless(sender: tidegate::channel::Sender<String>) -> Result<(), tidegate::channel::Closed<String>> {
///     sender.send("gone, perhaps".to_owned()).await?;
///     Ok(())
/// }
/// ```
///
/// ```
/// #![deny(unused_must_use)]
/// use tidegate::channel::{Closed, Sender};
///
/// async fn careful(sender: Sender<String>) -> Result<usize, Closed<String>> {
///     let sent = sender.send("gone, perhaps".to_owned()).await?;
///     Ok(sent.into_returned().count())
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an item that was not taken, or that had to leave, is in here"]
#[non_exhaustive]
pub enum Sent<T> {
    /// It is in the channel.
    Accepted,
    /// Policy pushed these out: older ones that made room ([`DropOldest`](super::Overflow::DropOldest)), or the
    /// offered one itself ([`DropNewest`](super::Overflow::DropNewest)). Never more than the channel's
    /// [`max_items`](super::Config::max_items).
    Displaced(Vec<T>),
    /// It was not taken.
    Refused(Full<T>),
    /// It is in the other channel ([`Reroute`](super::Overflow::Reroute)).
    Rerouted,
}

impl<T> Sent<T> {
    /// Is the item in the channel, and did nobody have to leave for it?
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted)
    }

    /// The items that had to leave (none, if it is in), or the refusal as an error.
    ///
    /// # Errors
    /// [`Full`], with the item in it, if it was refused.
    pub fn into_result(self) -> Result<Vec<T>, Full<T>> {
        match self {
            Self::Accepted | Self::Rerouted => Ok(Vec::new()),
            Self::Displaced(items) => Ok(items),
            Self::Refused(full) => Err(full),
        }
    }

    /// Whatever is not in a channel, one by one.
    pub fn into_returned(self) -> impl Iterator<Item = T> {
        let (many, one) = match self {
            Self::Accepted | Self::Rerouted => (Vec::new(), None),
            Self::Displaced(items) => (items, None),
            Self::Refused(full) => (Vec::new(), Some(full.item)),
        };
        many.into_iter().chain(one)
    }
}

/// Why an item was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// There is no room, and it was not to wait.
    NoRoom,
    /// There is no room, and as many senders wait as may.
    LineFull,
    /// It is larger than the whole channel.
    Oversize,
    /// It would have waited past its deadline.
    Deadline,
    /// It has waited until its deadline.
    Expired,
    /// The budget behind the channel is spent.
    Memory,
}

impl Why {
    /// Every cause, in the order of [`Why::index`].
    pub const ALL: [Self; 6] =
        [Self::NoRoom, Self::LineFull, Self::Oversize, Self::Deadline, Self::Expired, Self::Memory];

    /// Position in [`Why::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name used in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoRoom => "no_room",
            Self::LineFull => "line_full",
            Self::Oversize => "oversize",
            Self::Deadline => "deadline",
            Self::Expired => "expired",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No room: the item comes back, with what it would have needed and when there may be room.
#[derive(Clone, PartialEq, Eq)]
#[must_use = "the item is in here"]
#[non_exhaustive]
pub struct Full<T = ()> {
    /// The item.
    pub item: T,
    /// Bytes that it needs, its own share of the queue among them.
    pub need: u64,
    /// Bytes that were free.
    pub free: u64,
    /// When there will be room at the present pace, if that can be said. What a `Retry-After` wants.
    pub retry_after: Option<Duration>,
    /// Why.
    pub why: Why,
}

impl<T> Full<T> {
    /// The same refusal of another thing.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Full<U> {
        let Self { item, need, free, retry_after, why } = self;
        Full { item: change(item), need, free, retry_after, why }
    }
}

impl<T> fmt::Debug for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Full")
            .field("why", &self.why)
            .field("need", &self.need)
            .field("free", &self.free)
            .field("retry_after", &self.retry_after)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused by a channel: {}, {} bytes needed, {} free", self.why, self.need, self.free)
    }
}

impl<T> Error for Full<T> {}

/// The receiver is gone or takes no more: the item comes back.
#[derive(Clone, PartialEq, Eq)]
pub struct Closed<T = ()>(pub T);

impl<T> fmt::Debug for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closed").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the receiver takes no more")
    }
}

impl<T> Error for Closed<T> {}

/// Room was not reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReserveError {
    /// There is none.
    Full(Full),
    /// The receiver is gone or takes no more.
    Closed,
}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(full) => full.fmt(f),
            Self::Closed => Closed(()).fmt(f),
        }
    }
}

impl Error for ReserveError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_indexed() {
        for (position, why) in Why::ALL.into_iter().enumerate() {
            assert_eq!(why.index(), position);
            assert_eq!(Why::ALL.iter().filter(|other| other.name() == why.name()).count(), 1);
        }
    }

    #[test]
    fn whatever_is_not_in_comes_back() {
        let full = Full { item: 7, need: 9, free: 3, retry_after: None, why: Why::NoRoom };
        assert_eq!(full.to_string(), "refused by a channel: no_room, 9 bytes needed, 3 free");
        assert_eq!(Sent::Refused(full.clone()).into_returned().collect::<Vec<_>>(), [7]);
        assert_eq!(Sent::Displaced(vec![1, 2]).into_returned().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(Sent::<u8>::Rerouted.into_returned().count(), 0);
        assert_eq!(Sent::Refused(full).into_result().unwrap_err().map(|_| ()).item, ());
    }
}
