//! Clients that leave.

use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};

use crate::script::Script;
use crate::stand::{Stand, eventually, get, post};
use crate::wire::Wire;
use crate::wire2::{Wire2, get2, post2};

#[tokio::test]
async fn who_leaves_the_queue_is_never_seen_by_the_origin() {
    let stand = Stand::new("limit = 1").await;
    let mut first = stand.connect().await;
    first.send(get("/hold")).await;
    eventually("the place is taken", || stand.origin.now() == 1).await;
    let head = "POST /gone HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    // Bytes are unread when the client goes, though no more than the window takes: its end must get through.
    let unread = format!("{head}{}", "1\r\nx\r\n".repeat(15_000));
    for request in
        [get("/gone"), post("/gone", "read ahead"), unread, format!("{}{}", get("/gone"), get("/gone"))]
    {
        let mut wire = stand.connect().await;
        wire.send(&request).await;
        eventually("it waits", || stand.waiting() == 1).await;
        drop(wire);
        eventually("it has left", || stand.waiting() == 0).await;
    }
    assert_eq!(stand.metric("tidegate_clients_left_total{stage=\"waiting\"}"), 4.0);
    assert_eq!(stand.metric("tidegate_canceled_total"), 4.0);
    stand.origin.release(1);
    assert_eq!(first.answer().await.status, 200);
    stand.is_whole(1).await;
    assert!(stand.origin.seen().iter().all(|seen| seen.target == "/hold"));
}

#[tokio::test]
async fn who_leaves_while_its_body_is_read_ahead_needs_nothing_any_more() {
    let stand = Stand::new("limit = 1").await;
    let mut wire = stand.connect().await;
    wire.send("POST /gone HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").await;
    eventually("it is read", || stand.metric("tidegate_queue_bytes") == 10.0).await;
    assert_eq!((stand.in_flight(), stand.waiting()), (0, 0), "a slow upload holds no permit");
    drop(wire);
    eventually("it has left", || stand.metric("tidegate_queue_bytes") == 0.0).await;
    let mut client = Wire2::connect(stand.address).await;
    let request = post2("/gone").header("content-length", "10").body(()).unwrap();
    let both = client.begin(request, false).await;
    eventually("it is read", || stand.metric("tidegate_queue_bytes") == 10.0).await;
    drop(both);
    eventually("it has left", || stand.metric("tidegate_queue_bytes") == 0.0).await;
    assert_eq!(stand.metric("tidegate_clients_left_total{stage=\"reading\"}"), 2.0);
    assert_eq!(stand.origin.count(), 0);
    stand.is_whole(1).await;
}

/// Whoever sees the end first, the body's reader or the connection's watch: it has left, and was not wrong.
#[tokio::test]
async fn who_leaves_in_the_middle_of_its_body_is_not_malformed() {
    let stand = Stand::new("limit = 1").await;
    let left = |stage: &str| stand.metric(&format!("tidegate_clients_left_total{{stage=\"{stage}\"}}"));
    let read_ahead = "Content-Length: 10\r\n\r\nhalf";
    let at_the_origin = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    for round in 0..60 {
        let (framing, stage) =
            if round % 2 == 0 { (read_ahead, "reading") } else { (at_the_origin, "origin") };
        let before = left(stage);
        let mut wire = stand.connect().await;
        wire.send(format!("POST /gone HTTP/1.1\r\nHost: a\r\n{framing}")).await;
        let begun = || stand.metric("tidegate_queue_bytes") == 10.0 || stand.origin.now() == 1;
        eventually("its body is read", begun).await;
        match round % 6 {
            0 | 1 => drop(wire),
            2 | 3 => {
                SockRef::from(&wire.stream).set_linger(Some(Duration::ZERO)).unwrap();
                drop(wire);
            }
            _ => {
                wire.stream.shutdown().await.unwrap();
                wire.rest().await;
            }
        }
        eventually("it has left", || left(stage) == before + 1.0 && stand.in_flight() == 0).await;
        eventually("the origin has nobody", || stand.origin.now() == 0).await;
    }
    assert_eq!(stand.metric("tidegate_refused_total{reason=\"malformed\"}"), 0.0);
    stand.is_whole(1).await;
}

#[tokio::test]
async fn an_http2_stream_that_is_reset_leaves_the_queue() {
    let stand = Stand::new("limit = 1").await;
    let mut client = Wire2::connect(stand.address).await;
    let (first, _) = client.begin(get2("/hold"), true).await;
    eventually("the place is taken", || stand.origin.now() == 1).await;
    let (answer, mut stream) = client.begin(post2("/gone").body(()).unwrap(), false).await;
    stream.send_data(Bytes::from_static(&[b'x'; 50_000]), false).unwrap();
    let (other, _) = client.begin(get2("/gone"), true).await;
    eventually("they wait", || stand.waiting() == 2).await;
    drop((answer, stream, other));
    eventually("they have left", || stand.waiting() == 0).await;
    stand.origin.release(1);
    assert_eq!(crate::wire2::whole(first).await.unwrap().body, b"held");
    // All at once, with the connection.
    let (_held, _) = client.begin(get2("/hold"), true).await;
    eventually("the place is taken", || stand.origin.now() == 1).await;
    let (_waits, _) = client.begin(get2("/gone"), true).await;
    eventually("it waits", || stand.waiting() == 1).await;
    client.connection.abort();
    eventually("it has left", || stand.waiting() == 0).await;
    stand.origin.release(1);
    stand.is_whole(1).await;
    assert!(stand.origin.seen().iter().all(|seen| seen.target == "/hold"));
}

#[tokio::test]
async fn the_origin_is_told_and_the_permit_stays_until_it_answers() {
    let script = Script::start().await;
    let stand = Stand::facing(&script, "limit = 1").await;
    let mut client = stand.connect().await;
    client.send(get("/work")).await;
    let mut origin = script.accept().await;
    origin.request_head().await;
    drop(client);
    assert!(origin.rest().await.is_empty(), "the origin sees our half close");
    eventually("its work goes on", || stand.metric("tidegate_lingering") == 1.0).await;
    let mut next = stand.connect().await;
    next.send(get("/next")).await;
    eventually("the next one waits", || stand.waiting() == 1).await;
    sleep(Duration::from_millis(50)).await;
    assert_eq!((stand.in_flight(), stand.waiting()), (1, 1), "the work is still being done");
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let mut second = script.accept().await;
    assert!(second.request_head().await[0].starts_with("GET /next"));
    second.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(next.answer().await.text(), "ok");
    eventually("all is back", || stand.in_flight() == 0).await;
    assert_eq!(stand.metric("tidegate_lingering"), 0.0);
    assert_eq!(stand.metric("tidegate_clients_left_total{stage=\"origin\"}"), 1.0);
}

#[tokio::test]
async fn work_for_nobody_is_counted_no_longer_than_work_usually_takes() {
    let stand = Stand::new("limit = 1").await;
    let mut client = stand.connect().await;
    stand.origin.release(40);
    for _ in 0..40 {
        client.send(get("/hold")).await;
        assert_eq!(client.answer().await.status, 200);
    }
    // The next one does not end.
    client.send(get("/hold")).await;
    eventually("it is there", || stand.origin.now() == 1).await;
    assert_eq!(stand.in_flight(), 1);
    drop(client);
    eventually("the permit is back", || stand.in_flight() == 0).await;
    assert_eq!(stand.origin.now(), 1, "though the origin still works on it");
    stand.origin.release(1);
}

#[tokio::test]
async fn a_client_that_leaves_in_its_upload_ends_the_exchange() {
    let script = Script::start().await;
    let stand = Stand::facing(&script, "limit = 1").await;
    let mut client = stand.connect().await;
    client.send("POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    let mut origin = script.accept().await;
    origin.request_head().await;
    origin.bytes(10).await;
    drop(client);
    let rest = origin.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a broken body passed for a whole one: {rest:?}");
    eventually("the permit is back", || stand.in_flight() == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_its_answer_closes_the_origins_connection() {
    let script = Script::start().await;
    let stand = Stand::facing(&script, "limit = 1").await;
    for protocol in 1..=2 {
        let mut client = stand.connect().await;
        let mut client2 = Wire2::connect(stand.address).await;
        if protocol == 1 {
            client.send(get("/")).await;
        }
        let answer = if protocol == 2 { Some(client2.begin(get2("/"), true).await) } else { None };
        let mut origin = script.accept().await;
        origin.request_head().await;
        origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
        match answer {
            None => assert_eq!(client.head().await.unwrap().0, 200),
            Some((answer, stream)) => {
                drop(stream);
                let mut body = answer.await.unwrap().into_body();
                assert_eq!(body.data().await.unwrap().unwrap(), "hello");
            }
        }
        drop(client);
        assert!(origin.rest().await.is_empty(), "our side is closed");
        eventually("the permit is back", || stand.in_flight() == 0).await;
        let left = stand.metric("tidegate_clients_left_total{stage=\"answering\"}");
        assert_eq!(left, f64::from(protocol));
    }
}

/// Sends until nobody takes any more: the kernels' buffers on both sides are full.
async fn fill(wire: &mut Wire) -> usize {
    let chunk = [b'x'; 16 * 1024];
    let mut sent = 0;
    // Silence for so long says that the window is closed.
    while let Ok(Ok(some)) = timeout(Duration::from_millis(200), wire.stream.write(&chunk)).await {
        sent += some;
    }
    sent
}

#[tokio::test]
async fn a_reset_is_noticed_behind_a_full_window() {
    let stand = Stand::new("limit = 1").await;
    let mut first = stand.connect().await;
    first.send(get("/hold")).await;
    eventually("the place is taken", || stand.origin.now() == 1).await;
    for framing in ["Content-Length: 100000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5F5E100\r\n"] {
        let mut wire = stand.connect().await;
        wire.send(format!("POST /gone HTTP/1.1\r\nHost: a\r\n{framing}")).await;
        assert!(fill(&mut wire).await > 64 * 1024);
        eventually("it waits", || stand.waiting() == 1).await;
        SockRef::from(&wire.stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(wire);
        eventually("it has left", || stand.waiting() == 0).await;
    }
    assert_eq!(stand.metric("tidegate_clients_left_total{stage=\"waiting\"}"), 2.0);
    assert_eq!(stand.metric("tidegate_expired_total"), 0.0);
    stand.origin.release(1);
    assert_eq!(first.answer().await.status, 200);
    stand.is_whole(1).await;
    // The same at the origin, which does not read.
    let script = Script::start().await;
    let stand = Stand::facing(&script, "limit = 1").await;
    let mut wire = stand.connect().await;
    wire.send("POST /gone HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5F5E100\r\n").await;
    let mut origin = script.accept().await;
    origin.request_head().await;
    fill(&mut wire).await;
    SockRef::from(&wire.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(wire);
    eventually("it has left", || stand.metric("tidegate_clients_left_total{stage=\"origin\"}") == 1.0).await;
    drop(origin);
    eventually("the permit is back", || stand.in_flight() == 0).await;
}
