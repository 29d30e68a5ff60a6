//! HTTP/2 clients that do not answer what they must. Time is paused: it goes on when nobody has anything to do.

use std::time::Duration;

use tidegate_lab::frames::{Block, Frame, PREFACE, Wire, code, flag, kind, setting};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};

use crate::stand::{Stand, eventually};

/// Holds time up now and then: else hours would pass while the system, which knows nothing of it, brings bytes from one socket
/// to the other.
pub(crate) fn paced() -> JoinSet<()> {
    let mut pace = JoinSet::new();
    pace.spawn(async {
        loop {
            // Time stands while a thread is blocked.
            #[allow(clippy::disallowed_methods)] // real time is meant
            let _ = spawn_blocking(|| std::thread::sleep(Duration::from_millis(1))).await;
            sleep(Duration::from_millis(100)).await;
        }
    });
    pace
}

/// Says the preface; the gate's settings are not acknowledged.
async fn connect(stand: &Stand) -> Wire {
    let mut wire = Wire::connect(stand.address).await.unwrap();
    let mut first = PREFACE.to_vec();
    first.extend([Frame::settings(&[])]);
    wire.send(&first).await.unwrap();
    wire
}

/// The same as [`next`], with every settings acknowledged.
pub(crate) async fn next_of(wire: &mut Wire, wanted: u8) -> Option<Frame> {
    loop {
        let frame = wire.next().await.ok()??;
        if frame.kind == wanted {
            return Some(frame);
        }
        if frame.kind == kind::SETTINGS && !frame.has(flag::ACK) {
            wire.frames([Frame::settings_ack()]).await.ok()?;
        }
    }
}

/// The next frame of this kind; `None` at the end of the connection.
async fn next(wire: &mut Wire, wanted: u8) -> Option<Frame> {
    loop {
        let frame = wire.next().await.ok()??;
        if frame.kind == wanted {
            return Some(frame);
        }
    }
}

pub(crate) fn is_about(time: Duration, seconds: u64) -> bool {
    (Duration::from_secs(seconds)..Duration::from_secs(seconds + 1)).contains(&time)
}

#[tokio::test(start_paused = true)]
async fn settings_that_are_never_acknowledged_end_the_connection() {
    let _pace = paced();
    let stand = Stand::new("memory = '64MiB'").await;
    let begun = Instant::now();
    let mut wire = connect(&stand).await;
    let away = next(&mut wire, kind::GOAWAY).await.expect("it is told why");
    assert_eq!(away.number(4), Some(code::ENHANCE_YOUR_CALM));
    assert!(is_about(begun.elapsed(), 10), "{:?}", begun.elapsed());
    assert_eq!(next(&mut wire, kind::DATA).await, None);
    assert!(is_about(begun.elapsed(), 10) || is_about(begun.elapsed(), 11), "{:?}", begun.elapsed());

    // One that does acknowledge stays.
    let begun = Instant::now();
    let mut wire = connect(&stand).await;
    assert!(next_of(&mut wire, kind::PING).await.is_some());
    assert!(is_about(begun.elapsed(), 30), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_no_ping_has_gone() {
    let _pace = paced();
    let stand = Stand::new("memory = '64MiB'\nidle-timeout = '10m'\norigin-timeout = '10m'").await;
    let begun = Instant::now();
    let mut wire = connect(&stand).await;
    // Its request goes with it.
    let whole = flag::END_HEADERS | flag::END_STREAM;
    wire.frames([Frame::headers(1, whole, Block::get("/hold").bytes())]).await.unwrap();
    // Three are answered, each thirty seconds after the last answer.
    for count in 1..=3 {
        let ping = next_of(&mut wire, kind::PING).await.expect("a ping");
        assert!(!ping.has(flag::ACK) && is_about(begun.elapsed(), 30 * count), "{:?}", begun.elapsed());
        assert_eq!(stand.in_flight(), 1);
        wire.frames([Frame::new(kind::PING, flag::ACK, 0, ping.payload)]).await.unwrap();
    }
    // The fourth is not.
    assert!(next_of(&mut wire, kind::PING).await.is_some());
    assert!(is_about(begun.elapsed(), 120), "{:?}", begun.elapsed());
    assert_eq!(next_of(&mut wire, kind::PING).await, None);
    assert!(is_about(begun.elapsed(), 140), "{:?}", begun.elapsed());
    assert_eq!(stand.gateway.limiter().stats().waiting, 0);
}

/// The gate may be late itself: what has come counts, whether it has been read or not.
#[tokio::test(start_paused = true)]
async fn settings_are_acknowledged_in_time_if_that_was_not_read_in_time() {
    let _pace = paced();
    for round in 0..20 {
        let stand = Stand::new("memory = '64MiB'").await;
        let mut wire = connect(&stand).await;
        assert!(next(&mut wire, kind::SETTINGS).await.is_some());
        wire.frames([Frame::settings_ack()]).await.unwrap();
        tokio::time::advance(Duration::from_secs(11)).await;
        assert!(next_of(&mut wire, kind::PING).await.is_some(), "round {round}: it has acknowledged them");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_in_time_if_that_was_not_read_in_time() {
    let _pace = paced();
    for round in 0..10 {
        let stand = Stand::new("memory = '64MiB'\nidle-timeout = '10m'").await;
        let mut wire = connect(&stand).await;
        let ping = next_of(&mut wire, kind::PING).await.unwrap();
        wire.frames([Frame::new(kind::PING, flag::ACK, 0, ping.payload)]).await.unwrap();
        tokio::time::advance(Duration::from_secs(21)).await;
        assert!(next_of(&mut wire, kind::PING).await.is_some(), "round {round}: it has answered");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_given_no_credit_is_reset_in_its_time() {
    let _pace = paced();
    let stand = Stand::new("memory = '64MiB'\nstall-timeout = '3s'").await;
    let mut wire = Wire::connect(stand.address).await.unwrap();
    let mut first = PREFACE.to_vec();
    first.extend([Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 0)])]);
    let whole = flag::END_HEADERS | flag::END_STREAM;
    first.extend((0..3).map(|index| Frame::headers(2 * index + 1, whole, Block::get("/big/100000").bytes())));
    wire.send(&first).await.unwrap();
    for _ in 0..3 {
        assert!(next_of(&mut wire, kind::HEADERS).await.is_some());
    }
    let answered = Instant::now();
    let mut reset = Vec::new();
    while reset.len() < 3 {
        let frame = next_of(&mut wire, kind::RST_STREAM).await.expect("the connection is good");
        assert!(is_about(answered.elapsed(), 3), "{:?}", answered.elapsed());
        reset.push(frame.stream);
    }
    reset.sort_unstable();
    assert_eq!(reset, [1, 3, 5]);
    eventually("all is back", || stand.in_flight() == 0).await;
}

/// The same with all settings acknowledged, which a block that has begun would not allow.
async fn settled(stand: &Stand) -> Wire {
    let mut wire = connect(stand).await;
    wire.frames([Frame::ping([1; 8])]).await.unwrap();
    assert!(next_of(&mut wire, kind::PING).await.is_some());
    wire
}

/// What of a head is sent, and nothing after it.
fn begun() -> [Vec<Frame>; 4] {
    let head = || Block::get("/hello").bytes();
    let some = Frame::headers(1, flag::END_STREAM, head());
    [
        vec![some.clone()],
        vec![Frame::headers(1, flag::END_STREAM, Vec::new())],
        vec![some.clone(), Frame::continuation(1, 0, Block::new().field("a", "b").bytes())],
        vec![some, Frame::continuation(1, 0, vec![0, 5, b'a'])],
    ]
}

#[tokio::test(start_paused = true)]
async fn a_header_block_that_never_ends_ends_its_connection() {
    let _pace = paced();
    for memory in ["", "memory = '64MiB'"] {
        let stand = Stand::new(&format!("head-timeout = '4s'\n{memory}")).await;
        let rest = stand.metric("tidegate_memory_charged_bytes");
        for (nth, frames) in begun().into_iter().enumerate() {
            let mut wire = settled(&stand).await;
            let since = Instant::now();
            wire.frames(frames).await.unwrap();
            let away = next_of(&mut wire, kind::GOAWAY).await.expect("it is told why");
            assert_eq!(away.number(4), Some(code::ENHANCE_YOUR_CALM));
            assert!(is_about(since.elapsed(), 4), "{nth}: {:?}", since.elapsed());
            assert_eq!(next_of(&mut wire, kind::DATA).await, None);
            assert_eq!(stand.metric("tidegate_refused_total{reason=\"malformed\"}"), nth as f64 + 1.0);
        }
        // Nor one of which only the last frame does not come whole.
        let mut wire = settled(&stand).await;
        let since = Instant::now();
        let mut half = Vec::new();
        Frame::headers(1, flag::END_HEADERS, Block::get("/hello").bytes()).put(&mut half);
        wire.send(&half[..half.len() - 1]).await.unwrap();
        assert!(next_of(&mut wire, kind::GOAWAY).await.is_some() && is_about(since.elapsed(), 4));
        eventually("all is back", || stand.metric("tidegate_memory_charged_bytes") == rest).await;
        assert_eq!(stand.origin.count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn each_header_block_has_its_own_time() {
    let _pace = paced();
    let stand = Stand::new("memory = '64MiB'\nhead-timeout = '4s'").await;
    let mut wire = settled(&stand).await;
    let begin = |stream| Frame::headers(stream, flag::END_STREAM, Block::get("/hello").bytes());
    let end = |stream| Frame::continuation(stream, flag::END_HEADERS, Vec::new());
    wire.frames([begin(1)]).await.unwrap();
    // One ends and the next begins in the same moment: there is always one that has not ended.
    for stream in (1..9).step_by(2) {
        sleep(Duration::from_secs(3)).await;
        wire.frames([end(stream), begin(stream + 2)]).await.unwrap();
        let answer = next_of(&mut wire, kind::DATA).await.expect("it is answered");
        assert_eq!(answer.stream, stream);
    }
    let since = Instant::now();
    assert!(next_of(&mut wire, kind::GOAWAY).await.is_some());
    assert!(is_about(since.elapsed(), 4), "{:?}", since.elapsed());
}
