//! What h2spec does not look at: credit that the gate gives, and whether it comes back exactly.

use tidegate_lab::frames::{Block, Frame, code, flag, kind, setting};

use super::case::{WHOLE, all, case, padded};
use super::peer::{Peer, ended, get, post};
use crate::stand::{Stand, eventually};

/// Credit of the protocol's begin (RFC 9113 §6.9.2).
const FIRST: u64 = 65_535;

/// What the gate lets one stream, and all streams of a connection, send before anything is read.
async fn windows(peer: &mut Peer) -> (u64, u64) {
    assert!(peer.alive().await);
    let said = peer.settings.iter().rev().find(|(name, _)| *name == setting::INITIAL_WINDOW_SIZE);
    (said.map_or(FIRST, |(_, window)| u64::from(*window)), FIRST + peer.credit(0))
}

/// DATA of so many bytes, in frames.
fn data(stream: u32, mut bytes: u64) -> Vec<Frame> {
    let mut frames = Vec::new();
    while bytes > 0 {
        let some = bytes.min(16_384);
        frames.push(Frame::data(stream, 0, vec![b'x'; some as usize]));
        bytes -= some;
    }
    frames
}

#[tokio::test]
async fn whoever_sends_more_than_its_credit_is_stopped() {
    // A whole origin's worth of permits is held, so that bodies wait unread.
    let stand = Stand::new("limit = 1\nmax-wait = '1h'\nclient-timeout = '10h'").await;
    let mut holder = Peer::open(&stand, &[]).await;
    holder.frames([get(1, "/hold")]).await;
    eventually("it is held", || stand.origin.now() == 1).await;
    // Of a stream: its window and a byte; others are not touched.
    let mut peer = Peer::open(&stand, &[]).await;
    let (stream, connection) = windows(&mut peer).await;
    peer.frames([post(1, "/")]).await;
    peer.frames(data(1, stream.min(connection))).await;
    assert!(peer.alive().await);
    assert!(!ended(&peer.came, 1), "what has credit is taken: {:?}", peer.came);
    peer.frames(data(1, 1)).await;
    let stopped = |came: &[Frame]| came.iter().any(|f| matches!(f.kind, kind::RST_STREAM | kind::GOAWAY));
    assert!(peer.until(stopped).await);
    let stop = peer.came.iter().find(|f| matches!(f.kind, kind::RST_STREAM | kind::GOAWAY)).unwrap();
    let at = if stop.kind == kind::GOAWAY { 4 } else { 0 };
    assert_eq!(stop.number(at), Some(code::FLOW_CONTROL_ERROR));
    drop(peer);
    // Of the connection: many streams that keep to their own.
    let mut peer = Peer::open(&stand, &[]).await;
    let (stream, connection) = windows(&mut peer).await;
    let mut left = connection + 1;
    for index in 0..100 {
        let some = left.min(stream);
        left -= some;
        peer.frames([post(2 * index + 1, "/")].into_iter().chain(data(2 * index + 1, some))).await;
    }
    assert_eq!(left, 0, "the streams' windows are smaller than the connection's");
    assert!(peer.closed().await, "the connection ends");
    let goaway = peer.came.iter().find(|f| f.kind == kind::GOAWAY).expect("a GOAWAY");
    assert_eq!(goaway.number(4), Some(code::FLOW_CONTROL_ERROR));
    stand.origin.release(1);
    drop((holder, peer));
    eventually("all is back", || stand.in_flight() == 0 && stand.metric("tidegate_connections") == 0.0).await;
    stand.is_whole(1).await;
}

/// The largest window of a connection (docs/defaults.md).
const LARGEST: u64 = 4 << 20;

/// Whatever becomes of a stream, its bytes' credit comes back: `around` is done often enough to use the connection's
/// credit up many times over, `bytes` each time.
async fn returns(stand: &Stand, bytes: u64, mut around: impl FnMut(u32) -> Vec<Frame>) {
    let mut peer = Peer::open(stand, &[]).await;
    let (_, connection) = windows(&mut peer).await;
    let (mut spent, mut stream, mut most) = (0, 1, connection);
    while spent < 4 * connection {
        // As a peer that keeps to its credit would.
        while spent + bytes > FIRST + peer.credit(0) {
            assert!(peer.next().await.is_some(), "closed after {spent}: {:?}", peer.came.last());
        }
        most = most.max(FIRST + peer.credit(0) - spent);
        peer.frames(around(stream)).await;
        assert!(peer.until(|came| ended(came, stream)).await, "closed after {spent}: {:?}", peer.came.last());
        peer.came.retain(|f| f.kind == kind::WINDOW_UPDATE);
        spent += bytes;
        stream += 2;
    }
    // Nothing is missing: what was spent is there again, or will be with what is too little to be told yet. A window that is
    // used up quickly grows meanwhile, so the most that was ever there is what must come back.
    assert!(peer.alive().await);
    let credit = FIRST + peer.credit(0) - spent;
    assert!(credit >= most / 2 && credit <= LARGEST, "{credit} of {most}");
}

#[tokio::test]
async fn padding_comes_back_as_credit() {
    let stand = Stand::new("limit = 2").await;
    // Of every 257 bytes one is the body's. Not more of them at once: h2 takes many small frames that are not read yet
    // for an attack.
    returns(&stand, 16 * 257, |stream| {
        let part = Frame::data(stream, flag::PADDED, padded(b"x", 255));
        let mut frames = vec![post(stream, "/")];
        frames.extend(vec![part; 16]);
        frames.push(Frame::data(stream, flag::END_STREAM, ""));
        frames
    })
    .await;
    stand.is_whole(2).await;
}

#[tokio::test]
async fn credit_comes_back_from_bodies_that_nobody_reads() {
    let stand = Stand::new("limit = 2").await;
    const BODY: u64 = 16_384;
    let last = |stream, flags| Frame::data(stream, flags, vec![b'x'; BODY as usize]);
    // Read to the end.
    returns(&stand, BODY, |stream| vec![post(stream, "/"), last(stream, flag::END_STREAM)]).await;
    // The origin answers without reading.
    returns(&stand, BODY, |stream| vec![post(stream, "/unread"), last(stream, flag::END_STREAM)]).await;
    // More than was declared: a reset of ours.
    returns(&stand, BODY, |stream| {
        let head = Block::request("POST", "/").field("content-length", "5").bytes();
        vec![Frame::headers(stream, flag::END_HEADERS, head), last(stream, flag::END_STREAM)]
    })
    .await;
    stand.is_whole(2).await;
}

#[tokio::test]
async fn credit_comes_back_from_streams_that_are_reset() {
    // Enough for the whole test: protection against resets is `flood`'s business.
    let stand = Stand::new("limit = 2\nmax-wait = '1h'\nclient-timeout = '10h'").await;
    let mut peer = Peer::open(&stand, &[]).await;
    let (window, connection) = windows(&mut peer).await;
    let (mut spent, mut stream, mut most) = (0, 1, connection);
    for round in 0..60 {
        let bytes = [1, 100, 16_384, window.min(60_000)][round % 4];
        while spent + bytes > FIRST + peer.credit(0) {
            assert!(peer.next().await.is_some(), "closed after {spent}: {:?}", peer.came);
        }
        most = most.max(FIRST + peer.credit(0) - spent);
        let path = ["/echo", "/count", "/unread", "/big/100"][round / 4 % 4];
        peer.frames([post(stream, path)].into_iter().chain(data(stream, bytes))).await;
        if round % 3 == 0 {
            assert!(peer.alive().await);
        }
        peer.frames([Frame::reset(stream, code::CANCEL)]).await;
        // One byte more, that was on its way: counted by the connection, and given back.
        peer.frames(data(stream, 1)).await;
        spent += bytes + 1;
        stream += 2;
        eventually("the gate has let go", || stand.in_flight() == 0 && stand.waiting() == 0).await;
        assert!(peer.alive().await, "closed after {spent}: {:?}", peer.came);
        peer.came.retain(|f| f.kind == kind::WINDOW_UPDATE);
    }
    let credit = FIRST + peer.credit(0) - spent;
    assert!(credit >= most / 2 && credit <= LARGEST, "{credit} of {most} after {spent}");
    drop(peer);
    stand.is_whole(2).await;
}

#[tokio::test]
async fn a_stalled_upload_leaves_credit_to_the_others() {
    // One permit is held by an upload that the origin takes no byte of.
    let stand = Stand::new("limit = 2\nmax-wait = '1h'\nclient-timeout = '10h'\nstall-timeout = '1h'").await;
    let mut holders = Peer::open(&stand, &[]).await;
    holders.frames([get(1, "/hold"), get(3, "/hold")]).await;
    eventually("both are held", || stand.origin.now() == 2).await;
    let mut peer = Peer::open(&stand, &[]).await;
    let (window, connection) = windows(&mut peer).await;
    peer.frames([post(1, "/")].into_iter().chain(data(1, window.min(connection)))).await;
    assert!(peer.alive().await);
    assert!(connection - window.min(connection) >= connection / 4, "{window} of {connection}");
    // The others' bodies pass once there are permits, with what is left.
    stand.origin.release(1);
    let mut sent = window.min(connection);
    peer.frames([post(3, "/")]).await;
    for _ in 0..40 {
        while sent + 16_384 > FIRST + peer.credit(0) {
            assert!(peer.next().await.is_some());
        }
        peer.frames(data(3, 8_192)).await;
        sent += 8_192;
    }
    peer.frames([Frame::data(3, flag::END_STREAM, "")]).await;
    stand.origin.release(1);
    assert!(peer.until(|came| ended(came, 3)).await);
}

#[tokio::test]
async fn many_small_frames_are_bounded_or_stopped() {
    let tiny = |count: usize, bytes: &'static str| vec![Frame::data(1, 0, bytes); count];
    all([
        case("empty DATA without end")
            .send([post(1, "/hold")])
            .send(tiny(200_000, ""))
            .closes(code::ENHANCE_YOUR_CALM),
        case("a body byte by byte")
            .send([post(1, "/")])
            .send(tiny(100, "x"))
            .send([Frame::data(1, flag::END_STREAM, "")])
            .answers(1, 200),
        case("heads in many frames, none of them a request")
            .send((0..50).flat_map(|index| {
                [Frame::headers(2 * index + 1, 1, vec![]), Frame::continuation(2 * index + 1, 4, vec![])]
            }))
            .resets(99, code::PROTOCOL_ERROR),
        case("a request with the most frames it may have")
            .send([Frame::headers(1, 1, Block::get("/").bytes())])
            .send((0..4).map(|_| Frame::continuation(1, 0, Block::new().field("x", "1").bytes())))
            .send([Frame::continuation(1, flag::END_HEADERS, "")])
            .answers(1, 200),
        case("a whole request, then the end")
            .send([Frame::headers(1, WHOLE, Block::get("/").bytes())])
            .answers(1, 200),
    ])
    .await;
}
