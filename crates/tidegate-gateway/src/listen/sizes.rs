//! [`Sizes`]: how large the windows of an HTTP/2 connection are, so that what nobody reads leaves the others theirs. Pure.
//!
//! The law. Bodies that are read have a part of the connection's window, and a stream a quarter of that part. What the
//! others hold, or may take with a stream's window each, comes on top, so that it takes nothing from that part. There is
//! an end to what both are together. From there on a stream's window is as large as leaves four times as much to those that
//! are read, if each of the others took all it may: a threshold for every queue of a shared memory (Choudhury and Hahne,
//! *Dynamic Queue Length Thresholds for Shared-Memory Packet Switches*, 1998, with α = 1/4), beside what is held beyond it
//! since before, as water fills a vessel with steps (Bertsekas and Gallager, *Data Networks*, §6.5.2).

use crate::memory::LEAST_WINDOW;

/// The least window of a stream: a frame of the usual size.
pub(super) const LEAST_STREAM: u32 = 16 * 1024;
/// A stream has this part of what bodies that are read have together: one that stops being read leaves three of it.
const PART: u64 = 4;

/// The windows of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// What bodies that are read have together, whatever the others hold.
    pub(super) read: u32,
    /// The connection's: that, and what the others may hold.
    pub(super) all: u32,
    /// Each stream's.
    pub(super) stream: u32,
}

impl Sizes {
    /// The smallest.
    pub(super) const LEAST: Self = Self { read: LEAST_WINDOW, all: LEAST_WINDOW, stream: LEAST_STREAM };

    /// `read` for bodies that are read, or less if that and what others hold are more than `most` together. Of those, `takers`
    /// (what each holds, most first) may take a stream's window each, and the rest take no more than their `rest` bytes. Never
    /// less than the smallest, which may be beyond `most`.
    pub(super) fn new(read: u32, takers: &[u64], rest: u64, most: u32) -> Self {
        let whole = u64::from(read) / PART;
        let stream =
            whole.min(level(takers, u64::from(most).saturating_sub(rest))).max(u64::from(LEAST_STREAM));
        let read = if stream < whole { PART * stream } else { u64::from(read) };
        let read = read.max(u64::from(LEAST_WINDOW));
        let aside = takers.iter().fold(rest, |sum, held| sum.saturating_add(stream.max(*held)));
        Self { read: window(read), all: window(read.saturating_add(aside)), stream: window(stream) }
    }

    /// The smallest, beside what others hold.
    pub(super) fn least(takers: &[u64]) -> Self {
        Self::new(LEAST_WINDOW, takers, 0, 0)
    }
}

/// What each may have if four parts of it, and one for each of these, are to be no more than `all` together, and those that
/// hold more (first) keep it.
fn level(held: &[u64], all: u64) -> u64 {
    let (mut left, mut parts) = (all, PART.saturating_add(held.len() as u64));
    for more in held {
        if *more <= left / parts {
            break;
        }
        (left, parts) = (left.saturating_sub(*more), parts - 1);
    }
    left / parts
}

/// RFC 9113 §6.9.1: no window is larger than this.
fn window(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX).min(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const READ: u32 = 8 << 20;
    const MOST: u32 = 2 * READ;

    #[test]
    fn what_nobody_reads_comes_on_top() {
        let sizes = |takers: &[u64], rest| {
            let Sizes { read, all, stream } = Sizes::new(1 << 20, takers, rest, MOST);
            (read, all, stream)
        };
        let (mib, quarter) = (1 << 20, 1 << 18);
        assert_eq!(sizes(&[], 0), (mib, mib, quarter));
        assert_eq!(sizes(&[], 1000), (mib, mib + 1000, quarter));
        assert_eq!(sizes(&[700, 300, 0], 1000), (mib, mib + 3 * quarter + 1000, quarter));
        assert_eq!(
            sizes(&[3 << 20, 5], 0),
            (mib, 4 * mib + quarter, quarter),
            "one holds more than it may by now"
        );
    }

    #[test]
    fn there_is_an_end_to_it() {
        // Four that are not read fit on top of the largest.
        assert_eq!(Sizes::new(READ, &[0; 4], 0, MOST), Sizes { read: READ, all: MOST, stream: READ / 4 });
        // Twelve share with those that are read, which have four times a stream's window.
        assert_eq!(
            Sizes::new(READ, &[0; 12], 0, MOST),
            Sizes { read: READ / 2, all: MOST, stream: READ / 8 }
        );
        // Half of it is held by one, or by some of whom nothing comes any more.
        let half = Sizes { read: 8 * READ / 16, all: MOST, stream: READ / 8 };
        assert_eq!(Sizes::new(READ, &[READ.into(), 0, 0, 0, 0], 0, MOST), half);
        assert_eq!(Sizes::new(READ, &[0; 4], READ.into(), MOST), half);
        // They hold all of it already.
        let least = Sizes { read: 4 * LEAST_STREAM, all: MOST + 5 * LEAST_STREAM, stream: LEAST_STREAM };
        assert_eq!(Sizes::new(READ, &[MOST.into(), 0], 0, MOST), least);
        assert_eq!(Sizes::new(u32::MAX, &[u64::MAX; 2], u64::MAX, u32::MAX).all, u32::MAX / 2);
    }

    proptest! {
        #[test]
        fn the_law_is_what_its_words_say(
            read in LEAST_WINDOW..=READ,
            mut takers in prop::collection::vec(prop_oneof![0..64 * 1024u64, 0..u64::from(MOST)], 0..300),
            rest in prop_oneof![Just(0), 0..u64::from(MOST)],
        ) {
            takers.sort_unstable_by(|a, b| b.cmp(a));
            let of = |takers: &[u64]| Sizes::new(read, takers, rest, MOST);
            let Sizes { read: has, all, stream } = of(&takers);
            prop_assert!((LEAST_WINDOW..=read).contains(&has) || has == 4 * LEAST_STREAM);
            prop_assert!(stream >= LEAST_STREAM && stream <= (read / 4).max(LEAST_STREAM));
            // Whatever the others hold or take, a body that is read finds its stream's window, four times.
            let taken = |stream: u32| rest + takers.iter().map(|held| u64::from(stream).max(*held)).sum::<u64>();
            prop_assert_eq!(u64::from(all), (u64::from(has) + taken(stream)).min(u64::from(u32::MAX / 2)));
            prop_assert!(has >= stream * 4 || has == LEAST_WINDOW);
            // There is an end, but for the least; and not before it must be.
            prop_assert!(all <= MOST || stream == LEAST_STREAM);
            let more = stream + 1;
            prop_assert!(
                stream >= read / 4 || stream == LEAST_STREAM || u64::from(more) * 4 + taken(more) > u64::from(MOST)
            );
            // Fewer others are never worse.
            let fewer = of(takers.get(1..).unwrap_or_default());
            prop_assert!(fewer.stream >= stream && fewer.read >= has);
            if takers.is_empty() && rest == 0 {
                prop_assert_eq!((has, all), (read, read));
            }
        }
    }
}
