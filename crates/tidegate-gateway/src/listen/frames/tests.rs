use super::*;
use tokio::io::AsyncReadExt;

fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0, (length >> 8) as u8, length as u8, kind, flags, 0, 0, 0, 1];
    bytes.resize(FRAME_HEAD + length, b'x');
    bytes
}

#[tokio::test]
async fn acknowledgements_are_seen_wherever_reads_end() {
    let sent = [
        vec![b'P'; PREFACE],
        frame(SETTINGS, 0, 12),
        frame(0, ACK, 300),
        frame(SETTINGS, ACK, 0),
        frame(HEADERS, 4, 50),
        frame(SETTINGS, ACK, 0),
    ]
    .concat();
    for step in 1..sent.len() {
        let chunks = tokio_test_reader(&sent, step);
        let (mut frames, seen) = Frames::new(chunks);
        let mut read = vec![0; sent.len()];
        frames.read_exact(&mut read).await.unwrap();
        assert_eq!((seen.acks(), read == sent), (2, true), "{step}");
        assert_eq!(seen.round.load(Relaxed), ROUND - 59, "{step}");
    }
}

#[tokio::test]
async fn blocks_are_seen_that_have_not_ended() {
    let steps = [
        (frame(HEADERS, 4, 50)[..58].to_vec(), Some((1, 0, false))),
        (vec![b'x'], None),
        (frame(HEADERS, 0, 50), Some((2, 50, true))),
        (frame(CONTINUATION, 4, 7)[..12].to_vec(), Some((2, 57, false))),
        (vec![b'x'; 4], None),
        (frame(DATA, 0, 7), None),
        (frame(HEADERS, 0, 0), Some((3, 0, true))),
        ([frame(CONTINUATION, 4, 0), frame(HEADERS, 1, 1)].concat(), Some((4, 1, true))),
    ];
    let sent = steps.iter().flat_map(|(bytes, _)| bytes.clone());
    let sent: Vec<u8> = [b'P'; PREFACE].into_iter().chain(sent).collect();
    let (mut frames, seen) = Frames::new(tokio_test_reader(&sent, 5));
    frames.read_exact(&mut [0; PREFACE]).await.unwrap();
    for (bytes, open) in steps {
        let mut read = vec![0; bytes.len()];
        let mut reading = std::pin::pin!(frames.read_exact(&mut read));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while reading.as_mut().poll(&mut cx).is_pending() {
            let block = seen.unfinished().expect("it stops for nothing else");
            assert!(!block.whole);
            seen.allow(block.bytes);
        }
        assert_eq!(seen.unfinished().map(|block| (block.number, block.bytes, block.whole)), open);
    }
}

#[tokio::test]
async fn a_frame_of_a_block_that_goes_on_is_not_read_before_it_is_allowed() {
    let sent = [
        vec![b'P'; PREFACE],
        frame(HEADERS, 0, 3000),
        frame(CONTINUATION, 4, 500),
        frame(HEADERS, 4, 700),
        frame(HEADERS, 0, 20),
    ]
    .concat();
    let mut steps = tokio_test_reader(&sent, sent.len());
    steps.many = true;
    let (mut frames, seen) = Frames::new(steps);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut read = [0; 4096];
    // As h2 does: the head, then the payload.
    let mut next =
        |length: usize| Pin::new(&mut frames).poll_read(&mut cx, &mut ReadBuf::new(&mut read[..length]));
    assert!(next(PREFACE).is_ready() && next(FRAME_HEAD).is_ready());
    for allowed in [0, 2999] {
        seen.allow(allowed);
        assert!(next(3000).is_pending());
        assert!(seen.next_round(), "the driver hears of it");
    }
    seen.allow(3000);
    assert!(next(3000).is_ready() && next(FRAME_HEAD).is_ready());
    assert_eq!(seen.unfinished(), Some(Block { number: 1, bytes: 3500, whole: false }));
    assert!(next(500).is_pending());
    seen.allow(3500);
    assert!(next(500).is_ready());
    assert_eq!(seen.unfinished(), None);
    // One of a single frame is not asked about; what was allowed is so for one block.
    assert!(next(FRAME_HEAD).is_ready() && next(700).is_ready() && next(FRAME_HEAD).is_ready());
    assert!(next(20).is_pending());
}

#[tokio::test]
async fn a_round_has_an_end() {
    let sent = [vec![b'P'; PREFACE], frame(HEADERS, 5, 1000).repeat(100)].concat();
    let (mut frames, seen) = Frames::new(tokio_test_reader(&sent, 1000));
    let mut read = Vec::with_capacity(sent.len());
    let mut rounds = 0;
    while read.len() < sent.len() {
        let before = read.len();
        let mut reading = std::pin::pin!(async { while frames.read_buf(&mut read).await.unwrap() > 0 {} });
        let waker = std::task::Waker::noop();
        let _ = reading.as_mut().poll(&mut Context::from_waker(waker));
        assert!(read.len() - before <= ROUND + 1009, "{}", read.len() - before);
        rounds += usize::from(seen.next_round());
    }
    assert!(rounds >= 10, "{rounds}");
}

#[tokio::test]
async fn a_head_comes_with_the_payload_before_it() {
    let payload = 1000;
    let sent = [vec![b'P'; PREFACE], frame(DATA, 0, payload).repeat(100)].concat();
    for step in [1, 7, 500, 1009, sent.len()] {
        let mut steps = tokio_test_reader(&sent, step);
        steps.many = true;
        let (mut frames, seen) = Frames::new(steps);
        let mut read = vec![0; PREFACE + FRAME_HEAD];
        frames.read_exact(&mut read).await.unwrap();
        frames.inner.reads = 0;
        // As h2 does: so much room as the frame needs, then the next head.
        for _ in 0..99 {
            for more in [payload, FRAME_HEAD] {
                let begin = read.len();
                read.resize(begin + more, 0);
                frames.read_exact(&mut read[begin..]).await.unwrap();
            }
            seen.many_crumbs();
        }
        assert!(sent.starts_with(&read) && read.len() > 99 * payload, "{step}");
        if step > payload {
            assert_eq!(frames.inner.reads, 99, "{step}");
        }
    }
}

/// Gives `step` bytes a read, or as many as are asked for if those are fewer.
struct Steps {
    bytes: std::collections::VecDeque<u8>,
    step: usize,
    many: bool,
    reads: usize,
}

fn tokio_test_reader(bytes: &[u8], step: usize) -> Steps {
    Steps { bytes: bytes.iter().copied().collect(), step, many: false, reads: 0 }
}

impl AsyncRead for Steps {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.as_mut().poll_read_beyond(cx, to, &mut []).map_ok(|_| ())
    }
}

impl ReadBeyond for Steps {
    fn poll_read_beyond(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
        beyond: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.reads += 1;
        let wanted = to.remaining() + if self.many { beyond.len() } else { 0 };
        let some = self.step.min(self.bytes.len()).min(wanted);
        let some: Vec<u8> = self.bytes.drain(..some).collect();
        let (first, rest) = some.split_at(some.len().min(to.remaining()));
        to.put_slice(first);
        beyond[..rest.len()].copy_from_slice(rest);
        Poll::Ready(Ok(rest.len()))
    }
}
