//! Uploads of declared length that come byte by byte. Time is paused: it goes on when nobody has anything to do.

use std::time::Duration;

use tidegate_lab::frames::{self, Block, Frame, PREFACE, flag, kind, setting};
use tokio::time::{Instant, sleep};

use crate::silence::{is_about, next_of, paced};
use crate::stand::{Stand, eventually};
use crate::wire::Wire;

const SECOND: Duration = Duration::from_secs(1);

/// A stand that waits for three seconds for the next byte, and five for the begin of a body.
async fn stand() -> Stand {
    Stand::new("limit = 2\nstall-timeout = '3s'").await
}

/// Begins an upload of so many bytes.
async fn begins(stand: &Stand, size: usize) -> Wire {
    let mut wire = stand.connect().await;
    wire.send(format!("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n")).await;
    wire
}

/// The same over HTTP/2, on a socket that sends at once: `Wire2`'s holds a byte back until the one before is acknowledged, and
/// the system knows nothing of paused time.
async fn begins2(stand: &Stand, size: usize) -> frames::Wire {
    let mut wire = frames::Wire::connect(stand.address).await.unwrap();
    let mut first = PREFACE.to_vec();
    first.extend([Frame::settings(&[(setting::HEADER_TABLE_SIZE, 0)])]);
    let head = Block::request("POST", "/count").field("content-length", &size.to_string());
    first.extend([Frame::headers(1, flag::END_HEADERS, head.bytes())]);
    wire.send(&first).await.unwrap();
    wire
}

async fn drip(wire: &mut frames::Wire, flags: u8) {
    wire.frames([Frame::data(1, flags, "x")]).await.unwrap();
}

async fn status(wire: &mut frames::Wire) -> u16 {
    let head = next_of(wire, kind::HEADERS).await.expect("an answer");
    frames::status(&head.payload).unwrap()
}

/// Nothing of an upload is anywhere.
async fn nothing_came(stand: &Stand) {
    assert_eq!((stand.origin.count(), stand.origin.connections()), (0, 0));
    assert_eq!(stand.metric("tidegate_admitted_total"), 0.0, "a slow upload holds no permit");
    eventually("its bytes are forgotten", || stand.metric("tidegate_queue_bytes") == 0.0).await;
}

#[tokio::test(start_paused = true)]
async fn the_begin_of_an_upload_must_arrive_in_its_time_however_it_drips() {
    let _pace = paced();
    let stand = stand().await;
    let begun = Instant::now();
    let mut wire = begins(&stand, 10).await;
    for _ in 0..4 {
        sleep(SECOND).await;
        wire.send("x").await;
    }
    assert_eq!(stand.metric("tidegate_queue_bytes"), 10.0, "it is being read");
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.reason().as_str()), (408, "malformed"));
    // Earlier than that no byte comes any more would be seen.
    assert!(is_about(begun.elapsed(), 5), "{:?}", begun.elapsed());
    nothing_came(&stand).await;

    let begun = Instant::now();
    let mut wire = begins2(&stand, 10).await;
    for _ in 0..4 {
        sleep(SECOND).await;
        drip(&mut wire, 0).await;
    }
    assert_eq!(status(&mut wire).await, 408);
    assert!(is_about(begun.elapsed(), 5), "{:?}", begun.elapsed());
    nothing_came(&stand).await;
    assert_eq!(stand.metric("tidegate_refused_total{reason=\"malformed\"}"), 2.0);
    stand.is_whole(2).await;
}

/// Neither who is done by then is cut off, nor the rest of what is longer than the part that is read before the door.
#[tokio::test(start_paused = true)]
async fn an_upload_whose_begin_has_come_may_go_on_dripping() {
    const AHEAD: usize = 64 * 1024;
    let _pace = paced();
    let stand = stand().await;
    for (at_once, drips) in [(0, 3), (AHEAD, 8)] {
        let size = at_once + drips;
        let mut wire = begins(&stand, size).await;
        wire.send(vec![b'x'; at_once]).await;
        for _ in 0..drips {
            sleep(SECOND).await;
            wire.send("x").await;
        }
        assert_eq!(wire.answer().await.status, 200, "{size}");
        assert_eq!(stand.origin.last().body, Some(size));
    }
    let mut wire = begins2(&stand, 3).await;
    for flags in [0, 0, flag::END_STREAM] {
        sleep(SECOND).await;
        drip(&mut wire, flags).await;
    }
    assert_eq!(status(&mut wire).await, 200);
    assert_eq!((stand.origin.last().body, stand.origin.count()), (Some(3), 3));
}
