//! Large bodies, uploads that wait, and peers that take more than they give.

use std::time::Duration;

use tidegate_lab::attack::{Attack, Plan, open};
use tidegate_lab::frames::{Frame, PREFACE, Wire, flag, kind, setting};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::{origin, quick};

async fn ask(address: std::net::SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    tcp.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(20), tcp.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    answer
}

#[tokio::test]
async fn bodies_are_as_large_as_asked_for() {
    let origin = origin(quick()).await;
    let answer = ask(origin, "GET", "/.lab/bytes/200000", "").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-length: 200000") && body.len() == 200_000, "{head}");
    assert!(ask(origin, "GET", "/.lab/bytes/0", "").await.ends_with("\r\n\r\n"));
    assert!(ask(origin, "POST", "/.lab/echo", "what comes").await.ends_with("what comes"));
    assert!(ask(origin, "POST", "/.lab/sink", "twelve bytes").await.ends_with("\r\n12\n"));
}

#[tokio::test]
async fn an_upload_waits_for_its_release() {
    let origin = origin(quick()).await;
    let waiting = tokio::spawn(async move { ask(origin, "POST", "/.lab/unread", "ten bytes!").await });
    sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    assert!(ask(origin, "POST", "/.lab/release", "").await.ends_with("released\n"));
    assert!(waiting.await.unwrap().ends_with("\r\n10\n"));
}

#[tokio::test]
async fn slow_readers_read_a_byte_and_stay() {
    let origin = origin(quick()).await;
    let crowd = open(Attack::Slow, &Plan::new(origin, "/.lab/endless", 20, 1)).await.unwrap();
    let all = async {
        while crowd.report().answered < 20 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), all).await.expect("all are answered");
    assert_eq!((crowd.report().begun, crowd.report().ended), (20, 0));
}

/// A server of the test's own: what does an uploader do with the credit it is given?
#[tokio::test]
async fn uploads_keep_to_their_credit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut plan = Plan::new(listener.local_addr().unwrap(), "/", 1, 2);
    plan.upload = 50_000;
    let mut crowd = open(Attack::Hold, &plan).await.unwrap();
    let (mut tcp, _) = listener.accept().await.unwrap();
    let mut preface = vec![0; PREFACE.len()];
    tcp.read_exact(&mut preface).await.unwrap();
    assert_eq!(preface, PREFACE);
    let mut wire = Wire::over(tcp);
    wire.frames([Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 20_000)])]).await.unwrap();
    let (mut sent, mut acknowledged) = ([0usize; 4], 0);
    let mut next = async |wire: &mut Wire| {
        let frame = timeout(Duration::from_secs(20), wire.next()).await.expect("a frame").unwrap().unwrap();
        acknowledged += u32::from(frame.kind == kind::SETTINGS && frame.has(flag::ACK));
        (frame, acknowledged)
    };
    let mut until = async |wire: &mut Wire, all: usize| {
        while sent.iter().sum::<usize>() < all {
            let (frame, _) = next(wire).await;
            if frame.kind == kind::DATA {
                sent[frame.stream as usize] += frame.payload.len();
            }
        }
        sent
    };
    assert_eq!(until(&mut wire, 40_000).await, [0, 20_000, 0, 20_000]);
    // More for both by the setting; then the connection's 65,535 are what is missing.
    wire.frames([Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 60_000)])]).await.unwrap();
    assert_eq!(until(&mut wire, 65_535).await.iter().sum::<usize>(), 65_535);
    wire.frames([Frame::window_update(0, 100_000)]).await.unwrap();
    assert_eq!(until(&mut wire, 100_000).await, [0, 50_000, 0, 50_000]);
    // It is there, and says so.
    wire.frames([Frame::ping([7; 8])]).await.unwrap();
    let ping = timeout(Duration::from_secs(20), wire.next()).await.expect("a frame").unwrap().unwrap();
    assert_eq!((ping.kind, ping.flags, &ping.payload[..]), (kind::PING, flag::ACK, &[7; 8][..]));
    let answer = |stream| Frame::headers(stream, flag::END_HEADERS | flag::END_STREAM, vec![0x88]);
    wire.frames([answer(1), answer(3)]).await.unwrap();
    timeout(Duration::from_secs(20), crowd.ended()).await.expect("it has done what it wanted");
    let report = crowd.report();
    assert_eq!((report.answered, report.refused, report.sent), (2, 0, 100_000), "{report:?}");
}
