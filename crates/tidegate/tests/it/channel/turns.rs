//! Large and small ones wait for the same bytes, and both are served. Order is asserted, not time.

use super::{channel, drain, exactly, poll};

const LARGE: u64 = 100;

#[test]
fn a_large_one_is_served_after_eight_that_passed_it() {
    let (sender, mut receiver) = channel(exactly(LARGE));
    for bag in 0..10 {
        assert!(sender.offer((bag, 10)).unwrap().is_accepted());
    }
    let mut large = sender.send((999, LARGE));
    assert!(poll(&mut large).is_pending());
    let (mut out, mut small) = (Vec::new(), Vec::new());
    for round in 0..40 {
        // A stream of small ones that never ends: two new ones for each that is served.
        for who in [1000 + 2 * round, 1001 + 2 * round] {
            small.push(sender.send((who, 10)));
        }
        small.retain_mut(|sending| poll(sending).is_pending());
        out.extend(receiver.try_recv().ok().map(|bag| bag.0));
        if poll(&mut large).is_ready() {
            break;
        }
    }
    out.extend(drain(&mut receiver));
    let at = out.iter().position(|who| *who == 999).expect("it was served");
    let passed: Vec<_> = out.iter().take(at).filter(|who| **who >= 1000).copied().collect();
    assert_eq!(passed, (1000..1008).collect::<Vec<_>>(), "eight, in their own order");
}

#[test]
fn a_small_one_is_served_between_large_ones() {
    let (sender, mut receiver) = channel(exactly(LARGE));
    assert!(sender.offer((0, LARGE - 10)).unwrap().is_accepted());
    // Large ones wait, and more come all the time.
    let mut large: Vec<_> = (1..=10).map(|who| sender.send((who, LARGE))).collect();
    large.retain_mut(|sending| poll(sending).is_pending());
    // What is left over is enough for the small one: it does not stand behind them at all.
    assert!(poll(&mut sender.send((999, 10))).is_ready());
    // With nothing left over, it has its turn like everybody.
    let mut small = sender.send((998, 10));
    assert!(poll(&mut small).is_pending());
    let mut out = Vec::new();
    for _ in 0..40 {
        out.extend(receiver.try_recv().ok().map(|bag| bag.0));
        large.retain_mut(|sending| poll(sending).is_pending());
        if !out.contains(&998) {
            _ = poll(&mut small);
        }
    }
    assert_eq!(out.iter().take(2).copied().collect::<Vec<_>>(), [0, 999]);
    let at = out.iter().position(|who| *who == 998).expect("it was served");
    assert!(at <= 3, "{out:?}");
    assert_eq!(out.len(), 13, "all were served: {out:?}");
}
