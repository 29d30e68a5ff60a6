//! The windows of a connection, step by step.

use super::*;

const LARGEST: u32 = 8 << 20;
const MOST: u32 = 2 * LARGEST;

fn window() -> (Window, Instant) {
    let now = Instant::now();
    let mut window = Window::new(now, LARGEST);
    window.acknowledged(false);
    (window, now)
}

fn read(bytes: u64, readers: usize) -> Taken {
    Taken { read: bytes, readers, ..Taken::default() }
}

fn dropped(bytes: u64) -> Taken {
    Taken { dropped: bytes, left: 1, ..Taken::default() }
}

fn none() -> Unread {
    Unread::default()
}

/// So many streams that hold so much.
fn unread(streams: usize, held: u64) -> Unread {
    Unread(vec![held; streams])
}

/// What the connection's window should be then.
fn after(window: &mut Window, taken: Taken, now: Instant) -> Option<u32> {
    window.consumed(taken, now, none).map(|sizes| sizes.all)
}

fn follow(window: &mut Window, sizes: Option<Sizes>, now: Instant) {
    window.resize(sizes.unwrap());
    window.say(now);
    window.acknowledged(true);
}

fn grown(to: u32) -> (Window, Instant) {
    let (mut window, now) = window();
    while window.target() < to {
        let sizes = window.consumed(read(window.look_after(1), 1), now, none);
        follow(&mut window, sizes, now);
    }
    (window, now)
}

#[test]
fn a_window_grows_while_it_is_used_up_quickly() {
    let (mut window, now) = window();
    assert_eq!((window.cost(), window.look_after(1)), (98_303, 16 * 1024));
    assert_eq!(after(&mut window, read(16_383, 1), now), None);
    let sizes = window.consumed(read(1, 1), now, none).unwrap();
    assert_eq!((sizes.all, window.cost_of(sizes)), (131_070, 196_605));
    window.resize(sizes);
    assert_eq!((window.state(), window.cost(), window.say(now)), (State::Grown, 196_605, Some(32_767)));
    // Slowly used up, it stays.
    assert_eq!(after(&mut window, read(32_767, 1), now + QUICK + QUICK), None);
    assert_eq!(after(&mut window, read(32_767, 1), now + QUICK * 3), Some(262_140));
    let (mut window, now) = grown(LARGEST);
    assert_eq!(after(&mut window, read(u64::from(LARGEST), 1), now), None, "there is an end");
}

#[test]
fn one_body_on_a_long_line_comes_to_the_largest_window() {
    let (mut window, mut now) = window();
    let (round_trip, mut turns) = (Duration::from_millis(400), 0);
    while window.target() < LARGEST {
        now += round_trip;
        // All that its stream may be sent, which is far less than the connection may.
        let sizes = window.consumed(read(u64::from(window.stream), 1), now, none);
        follow(&mut window, sizes, now);
        turns += 1;
    }
    assert_eq!((turns, window.stream), (8, LARGEST / 4));
}

#[test]
fn several_bodies_share_the_connections_window() {
    let (mut window, now) = window();
    assert_eq!(after(&mut window, read(32 * 1024, 3), now), None, "three can be sent half as much again");
    // The two others have read nothing since.
    assert_eq!(after(&mut window, read(16 * 1024, 1), now), Some(131_070));
    assert_eq!(window.look_after(100), u64::from(LEAST_WINDOW));
}

#[test]
fn a_shrinking_window_is_charged_until_it_is_used_up() {
    let (mut window, now) = grown(1 << 20);
    let before = window.cost();
    window.shrink(unread(0, 0));
    assert_eq!((window.state(), window.target(), window.cost()), (State::Shrinking, LEAST_WINDOW, before));
    assert_eq!(window.say(now), Some(LEAST_STREAM));
    assert_eq!(after(&mut window, read(500_000, 1), now), None, "it does not grow meanwhile");
    assert!(window.cost() < before && window.cost() > 98_303);
    window.consumed(read(2 << 20, 1), now, none);
    assert_eq!((window.state(), window.cost()), (State::Floor, 98_303));
}

#[test]
fn a_quench_holds_when_it_is_acknowledged() {
    let (mut window, now) = grown(LARGEST);
    let before = window.cost();
    window.quench();
    assert_eq!((window.say(now), window.say(now)), (Some(0), None));
    assert_eq!(window.cost(), before);
    window.acknowledged(false);
    assert_eq!((window.state(), window.cost(), window.cost_awake()), (State::Quenched, 0, before));
    // Awake, what was once given could be used again.
    window.wake();
    assert_eq!((window.state(), window.cost()), (State::Shrinking, before));
    assert_eq!(window.say(now), Some(LEAST_STREAM));
}

#[test]
fn a_quench_that_an_upload_overtakes_is_none() {
    let (mut window, now) = window();
    window.quench();
    assert_eq!(window.say(now), Some(0));
    window.wake();
    // Only one setting may be on its way.
    assert_eq!(window.say(now), None);
    window.acknowledged(true);
    assert_eq!((window.state(), window.cost()), (State::Floor, 98_303));
    assert_eq!(window.say(now), Some(LEAST_STREAM));
    // Nor is one for whom somebody still holds bytes.
    let (mut window, now) = grown(1 << 20);
    window.quench();
    window.say(now);
    window.acknowledged(true);
    assert_eq!(window.state(), State::Quenching);
    assert!(window.cost() > 0);
}

#[test]
fn what_nobody_reads_comes_on_top_at_every_step_and_goes_with_it() {
    let (mut window, now) = grown(1 << 20);
    let step = |window: &mut Window, unread: Unread| {
        let sizes = window.consumed(read(window.look_after(1), 1), now, || unread.clone());
        follow(window, sizes, now);
        (window.sizes.read, window.target(), window.stream)
    };
    // Others have as much as alone, and it has a stream's window.
    for _ in 0..3 {
        let (before, held) = (window.sizes.read, u64::from(window.stream));
        let (has, all, stream) = step(&mut window, unread(1, held));
        assert_eq!((has, all, stream), ((before * 2).min(LARGEST), has + has / 4, has / 4));
    }
    // They are more than fit.
    let twelve = unread(12, u64::from(LARGEST / 16));
    let (has, all, stream) = step(&mut window, twelve.clone());
    assert_eq!((has, stream), (MOST / 4, MOST / 16));
    // What is set aside for them is not theirs before they have heard that they may have no more.
    assert_eq!((u64::from(all), window.tight(twelve.clone())), (u64::from(has) + twelve.held(), None));
    let (has, all, stream) = step(&mut window, twelve);
    assert_eq!((has, all, stream), (MOST / 4, MOST, MOST / 16));
    let before = window.cost();
    let more = all - has;
    // They were reset: their part goes at once, and what it was charged with what is used up.
    let sizes = window.consumed(dropped(u64::from(stream)), now, none).unwrap();
    window.resize(sizes);
    assert_eq!((window.target(), window.cost()), (has, before));
    window.burn(read(u64::from(more), 1));
    assert_eq!(window.cost(), window_cost(u64::from(has)));
}

#[test]
fn what_nobody_has_read_is_no_reason_to_grow() {
    let (mut window, now) = window();
    for _ in 0..100 {
        assert_eq!(after(&mut window, dropped(u64::from(LEAST_WINDOW)), now), None);
    }
    assert_eq!(window.state(), State::Floor);
}

#[test]
fn who_finds_less_than_a_streams_window_is_seen_before_it_stands_still() {
    let (mut window, now) = grown(LARGEST);
    let stream = LARGEST / 4;
    assert_eq!(window.tight(unread(3, stream.into())), None);
    let sizes = window.tight(unread(4, stream.into())).unwrap();
    assert_eq!(sizes, Sizes { read: LARGEST, all: MOST, stream });
    // There is no memory for it: all share what there is.
    window.share(unread(4, u64::from(LARGEST / 16)));
    assert_eq!((window.target(), window.say(now)), (LARGEST, Some(LARGEST / 8)));
    window.acknowledged(true);
    // And have it again when they are read.
    window.share(unread(0, 0));
    assert_eq!((window.target(), window.say(now)), (LARGEST, Some(stream)));
    assert_eq!(window.tight(unread(0, 0)), None);
}

#[test]
fn streams_that_nobody_reads_leave_the_others_a_window() {
    let (mut window, now) = window();
    assert_eq!(window.starved(&unread(0, 0)), None);
    assert_eq!(window.starved(&unread(3, 16_000)), None, "a frame is left");
    // They may have more, each as much as a stream may be sent.
    let wider = LEAST_WINDOW + 9 * LEAST_STREAM;
    let sizes = window.starved(&unread(9, 7_000)).unwrap();
    assert_eq!((sizes.all, sizes.stream), (wider, LEAST_STREAM));
    window.resize(sizes);
    assert_eq!((window.starved(&unread(9, 16_000)), window.cost()), (None, window_cost(u64::from(wider))));
    assert_eq!(window.say(now), None, "the streams' own stay");
    window.shrink(unread(9, 7_000));
    assert_eq!((window.state(), window.target()), (State::Grown, wider));
    window.shrink(unread(0, 0));
    assert_eq!((window.state(), window.target()), (State::Shrinking, LEAST_WINDOW));
}

#[test]
fn what_streams_held_before_their_windows_were_lowered_counts() {
    // Before it saw any settings, one stream took all there was.
    let (window, _) = window();
    let starved = |window: &Window, unread| window.starved(&unread).map(|sizes| sizes.all);
    assert_eq!(starved(&window, unread(1, u64::from(LEAST_WINDOW))), Some(2 * LEAST_WINDOW));
    // One took all of its large window, and memory is short more than once.
    let (mut window, now) = grown(1 << 20);
    let held = 1 << 18;
    window.shrink(unread(1, held));
    window.say(now);
    window.acknowledged(true);
    window.shrink(unread(1, held));
    assert_eq!((window.stream, window.target()), (LEAST_STREAM, (1 << 18) + LEAST_WINDOW));
    // What it was lowered to before is made good.
    window.shrink(unread(1, 0));
    assert_eq!(starved(&window, unread(1, held)), Some((1 << 18) + LEAST_WINDOW));
    // Some took all of the largest window before it could be said that they may not.
    let (window, _) = grown(LARGEST);
    assert_eq!(starved(&window, unread(4, (LARGEST / 4).into())), Some(LARGEST + LEAST_WINDOW));
    // There is an end.
    assert_eq!(starved(&window, unread(4, u64::MAX)), Some(MOST + 4 * LEAST_STREAM + LEAST_WINDOW));
    assert_eq!(starved(&window, unread(2000, u64::MAX)), Some(2 * MOST));
}

#[test]
fn what_is_never_acknowledged_is_due() {
    let now = Instant::now();
    let mut window = Window::new(now, LARGEST);
    assert_eq!(window.due(), Some(now + ACK_WITHIN));
    window.quench();
    assert_eq!(window.say(now), None, "the first settings are still on their way");
    window.acknowledged(false);
    assert_ne!(window.state(), State::Quenched, "that was not acknowledged");
    assert_eq!((window.due(), window.say(now), window.due()), (None, Some(0), Some(now + ACK_WITHIN)));
}

#[test]
fn the_time_in_which_nothing_is_read_is_not_the_clients() {
    let now = Instant::now();
    let mut window = Window::new(now, LARGEST);
    assert_eq!(window.due(), Some(now + ACK_WITHIN));
    let later = now + 9 * ACK_WITHIN / 10;
    window.reads_nothing(later);
    assert_eq!(window.due(), Some(later + ACK_WITHIN));
    window.acknowledged(false);
    window.reads_nothing(later);
    assert_eq!(window.due(), None);
}
