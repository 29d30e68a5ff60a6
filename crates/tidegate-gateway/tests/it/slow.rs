//! Clients that are slower than they may be.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::stand::{Stand, bounded, eventually, get, post};
use crate::wire2::{Wire2, get2, post2, whole};

#[tokio::test]
async fn a_head_must_arrive_in_time() {
    let stand = Stand::new("limit = 2\nhead-timeout = '1s'").await;
    for part in ["GET / HTTP/1.1\r\nHo", "POST "] {
        let answer = stand.ask(part).await;
        assert_eq!((answer.status, answer.reason().as_str()), (408, "malformed"));
    }
    // One that keeps dripping is not better off, also on a connection that was good before.
    let mut wire = stand.connect().await;
    wire.send(get("/hello")).await;
    assert_eq!(wire.answer().await.status, 200);
    bounded("the drip is cut", async {
        let _ = wire.stream.write_all(b"GET / HTTP/1.1\r\n").await;
        while wire.stream.write_all(b"X: y\r\n").await.is_ok() && wire.stream.try_read(&mut [0; 4]).is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    // Silence from the start is closed without a word.
    assert!(stand.connect().await.rest().await.is_empty());
    eventually("nobody is left", || stand.metric("tidegate_connections") == 0.0).await;
    assert_eq!(stand.origin.count(), 1);
    stand.is_whole(2).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let stand = Stand::new("limit = 2\nidle-timeout = '1s'").await;
    let mut wire = stand.connect().await;
    wire.send(get("/hello")).await;
    assert_eq!(wire.answer().await.status, 200);
    assert!(wire.answer_or_end().await.is_none());
    let mut client = Wire2::connect(stand.address).await;
    assert_eq!(client.get("/hello").await.head.status, 200);
    assert!(bounded("GOAWAY", client.connection).await.unwrap().is_ok());
    eventually("nobody is left", || stand.metric("tidegate_connections") == 0.0).await;
}

#[tokio::test]
async fn a_body_must_arrive_in_time() {
    let stand = Stand::new("limit = 2\nstall-timeout = '200ms'").await;
    for head in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let answer = stand.ask(format!("POST /count HTTP/1.1\r\nHost: a\r\n{head}")).await;
        assert_eq!((answer.status, answer.reason().as_str()), (408, "malformed"), "{head}");
        let mut client = Wire2::connect(stand.address).await;
        let (answer, mut stream) = client.begin(post2("/count").body(()).unwrap(), false).await;
        stream.send_data("half".into(), false).unwrap();
        let answer = whole(answer).await.unwrap();
        assert_eq!(answer.head.status, 408);
    }
    stand.is_whole(2).await;
}

#[tokio::test]
async fn what_only_calls_itself_a_call_must_arrive_in_time_as_well() {
    // Before an HTTP/1 origin, and from an HTTP/1 client, there are no calls that may pause.
    let stand = Stand::new("limit = 2\nstall-timeout = '200ms'").await;
    let call = "Content-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let answer = stand.ask(format!("POST /count HTTP/1.1\r\nHost: a\r\n{call}")).await;
    assert_ne!(answer.header("grpc-status"), "0", "{answer:?}");
    let mut client = Wire2::connect(stand.address).await;
    let call = post2("/count").header("content-type", "application/grpc").body(()).unwrap();
    let (answer, mut stream) = client.begin(call, false).await;
    stream.send_data("half".into(), false).unwrap();
    let answer = bounded("an answer", whole(answer)).await.unwrap();
    assert_ne!(answer.header("grpc-status"), "0", "{answer:?}");
    stand.is_whole(2).await;
}

#[tokio::test]
async fn a_trickle_is_cut_off() {
    let stand = Stand::with("limit = 2", |effective| {
        effective.listen_settings.pace.grace = Duration::from_millis(200);
        effective.listen_settings.pace.rate = 100_000;
    })
    .await;
    let mut wire = stand.connect().await;
    wire.send("POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let (mut read, mut write) = wire.stream.into_split();
    let trickle = tokio::spawn(async move {
        while write.write_all(b"1\r\nx\r\n").await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    let mut answer = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut answer);
    let _ = bounded("the answer", reading).await;
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    drop(read);
    bounded("the trickle ends", trickle).await.unwrap();
    stand.is_whole(2).await;
}

#[tokio::test]
async fn so_is_one_of_http2_and_its_neighbour_stays() {
    let stand = Stand::with("limit = 2", |effective| {
        effective.listen_settings.pace.grace = Duration::from_millis(200);
        effective.listen_settings.pace.rate = 100_000;
    })
    .await;
    let mut client = Wire2::connect(stand.address).await;
    let (answer, mut stream) = client.begin(post2("/count").body(()).unwrap(), false).await;
    let (neighbour, _) = client.begin(get2("/hold"), true).await;
    let trickle = tokio::spawn(async move {
        while stream.send_data("x".into(), false).is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    let answer = whole(answer).await.unwrap();
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.head.status.as_u16(), &problem["reason"]), (408, &"malformed".into()));
    bounded("the trickle ends", trickle).await.unwrap();
    // That much of it is not taken for a whole one, and the connection goes on.
    eventually("only the neighbour is there", || stand.in_flight() == 1 && stand.origin.now() == 1).await;
    stand.origin.release(1);
    assert_eq!(whole(neighbour).await.unwrap().body, b"held");
    assert_eq!(client.get("/hello").await.body, b"hello");
    stand.is_whole(2).await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_gives_its_permit_back() {
    // Less than the second after which it would count as a stream.
    let stand = Stand::new("limit = 2\nstall-timeout = '900ms'").await;
    let mut wire = stand.connect().await;
    wire.send(get("/big/100000000")).await;
    assert_eq!(wire.head().await.unwrap().0, 200);
    let mut client = Wire2::connect(stand.address).await;
    let (answer, _) = client.begin(get2("/big/100000000"), true).await;
    let mut unread = bounded("a head", answer).await.unwrap().into_body();
    // Both held a permit, for however long a busy machine took until here.
    assert_eq!(stand.metric("tidegate_admitted_total"), 2.0);
    eventually("both are cut off", || stand.in_flight() == 0).await;
    let end = loop {
        if let Err(error) = bounded("the end", unread.data()).await.expect("it ended well") {
            break error;
        }
    };
    assert!(end.is_reset());
    drop(unread);
    assert_eq!(client.get("/hello").await.head.status, 200, "the connection itself is good");
    stand.is_whole(2).await;
}

#[tokio::test]
async fn a_connection_whose_answers_are_not_read_does_not_stay_until_it_is_idle() {
    let stand =
        Stand::new("limit = 4\nstall-timeout = '400ms'\nhead-timeout = '2s'\nidle-timeout = '1h'").await;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let mut silent = Wire2::over(TcpStream::connect(stand.address).await.unwrap(), &builder).await;
    let mut reads = Wire2::connect(stand.address).await;
    assert_eq!(reads.get("/hello").await.head.status, 200);
    let answers =
        [silent.begin(get2("/big/20000"), true).await, silent.begin(get2("/big/20000"), true).await];
    for (answer, _) in answers {
        let mut unread = bounded("a head", answer).await.unwrap().into_body();
        assert!(bounded("its end", unread.data()).await.unwrap().unwrap_err().is_reset());
    }
    assert!(bounded("GOAWAY", &mut silent.connection).await.unwrap().is_ok());
    assert_eq!(reads.get("/hello").await.head.status, 200, "who reads stays");
    drop(reads);
    eventually("nobody is left", || stand.metric("tidegate_connections") == 0.0).await;
    stand.is_whole(4).await;
}

#[tokio::test]
async fn readers_that_do_not_read_leave_the_limit_to_others() {
    // Without that the limit would be frozen until the end of time, as far as this test is concerned.
    let stand = Stand::new("limit = 4\nmax-wait = '1h'\nclient-timeout = '10h'\nstall-timeout = '1h'").await;
    let (mut wires, mut streams) = (Vec::new(), Vec::new());
    // No credit at all, not even for the first byte.
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let mut client = Wire2::over(TcpStream::connect(stand.address).await.unwrap(), &builder).await;
    for _ in 0..4 {
        let mut wire = stand.connect().await;
        wire.send(get("/big/100000000")).await;
        wires.push(wire);
        streams.push(client.begin(get2("/big/20000"), true).await);
    }
    let mut other = Wire2::connect(stand.address).await;
    for _ in 0..4 {
        assert_eq!(other.get("/hello").await.body, b"hello");
        assert_eq!(stand.get("/hello").await.text(), "hello");
    }
    eventually("they count as streams", || stand.metric("tidegate_streams") == 8.0).await;
    assert_eq!(stand.in_flight(), 0);
    drop((wires, streams, client));
    eventually("nothing is left of them", || stand.metric("tidegate_streams") == 0.0).await;
    stand.is_whole(4).await;
}

#[tokio::test]
async fn a_slow_reader_that_keeps_reading_is_served() {
    const SIZE: usize = 3_000_000;
    let stand = Stand::new("limit = 2\nstall-timeout = '5s'\nidle-timeout = '500ms'").await;
    let mut wire = stand.connect().await;
    // Of known length, so that the end of the work is far from the end of the reading.
    let body = "x".repeat(SIZE);
    wire.send(post("/echo", &body[..60_000])).await;
    assert_eq!(wire.answer().await.body.len(), 60_000);
    wire.send(get(&format!("/big/{SIZE}"))).await;
    assert_eq!(wire.head().await.unwrap().0, 200);
    let mut read = wire.bytes(SIZE - 600_000).await.len();
    while read < SIZE {
        sleep(Duration::from_millis(100)).await;
        let some = wire.bytes(50_000).await.len();
        assert!(some > 0, "cut off after {read} bytes");
        read += some;
    }
    stand.is_whole(2).await;
}
