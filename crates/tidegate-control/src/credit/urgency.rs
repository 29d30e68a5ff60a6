//! What bytes are asked for, and how full a shared node may be for that.

/// What bytes are asked for. Finishing goes before growing, and growing before starting: work that was begun gives its
/// bytes back when it can go on, work that begins holds them longer.
///
/// The shares are those of libp2p's resource manager (its priorities of 40, 60, 80 and 100 % of a scope), with what its
/// first two are used for taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Urgency {
    /// Something begins: a connection, a request. Until what is shared is 60 % full.
    New,
    /// Something that works would work faster: a larger window, a read ahead. Until 80 %.
    Growth,
    /// Something that was begun needs it to go on. Until 100 %. The default.
    #[default]
    InProgress,
}

impl Urgency {
    /// How much of `limit` bytes may be charged for this. Rounded up, so that nothing is cut off a limit of a few bytes.
    #[must_use]
    pub const fn ceiling(self, limit: u64) -> u64 {
        match self {
            Self::New => limit - limit / 5 * 2,
            Self::Growth => limit - limit / 5,
            Self::InProgress => limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_are_shares_of_the_limit() {
        let of = |limit| [Urgency::New, Urgency::Growth, Urgency::InProgress].map(|u| u.ceiling(limit));
        assert_eq!(of(100), [60, 80, 100]);
        assert_eq!(of(1), [1, 1, 1]);
        assert_eq!(of(u64::MAX)[2], u64::MAX);
    }
}
