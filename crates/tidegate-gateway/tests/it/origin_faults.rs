//! Origins that fail, and the connections that are kept to them.

use std::time::Duration;

use bytes::Bytes;
use tidegate_gateway::origin::OriginSettings;
use tokio::time::sleep;

use crate::origin::Origin;
use crate::script::Script;
use crate::stand::{Place, Stand, bounded, eventually, get, post};
use crate::wire2::{Wire2, post2, whole};

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let stand = Stand::new("").await;
    for _ in 0..20 {
        assert_eq!(stand.get("/hello").await.status, 200);
        assert_eq!(stand.ask(post("/echo", "x")).await.status, 200);
    }
    assert_eq!(stand.origin.connections(), 1);
    assert_eq!(stand.metric("tidegate_origin_dials_total"), 1.0);
    assert_eq!(stand.metric("tidegate_origin_connections"), 1.0);
    eventually("it is idle", || stand.metric("tidegate_origin_connections_idle") == 1.0).await;
}

#[tokio::test]
async fn a_dead_kept_connection_costs_one_repeat_and_only_what_may_be_repeated() {
    let script = Script::start().await;
    let stand = Stand::facing(&script, "limit = 4").await;
    for (request, repeated) in [(get("/x"), true), (post("/x", "body"), false)] {
        let mut client = stand.connect().await;
        client.send(get("/first")).await;
        let mut kept = script.accept().await;
        kept.request_head().await;
        kept.send(HELLO).await;
        assert_eq!(client.answer().await.text(), "hello");
        client.send(&request).await;
        // It arrives, and the connection dies over it.
        kept.request_head().await;
        drop(kept);
        if repeated {
            let mut fresh = script.accept().await;
            assert!(fresh.request_head().await[0].starts_with("GET /x"));
            // No third time.
            drop(fresh);
        }
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.reason().as_str()), (502, "origin_down"));
    }
    assert_eq!(stand.metric("tidegate_origin_repeats_total"), 1.0);
    assert_eq!(stand.in_flight(), 0);
}

#[tokio::test]
async fn a_request_that_kills_its_origin_is_not_sent_over_every_connection() {
    let script = Script::start().await;
    let stand = Stand::facing(&script, "limit = 10").await;
    let mut kept = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = stand.connect().await;
        client.send(get("/")).await;
        let mut wire = script.accept().await;
        wire.request_head().await;
        kept.push(wire);
        clients.push(client);
    }
    for (wire, client) in kept.iter_mut().zip(&mut clients) {
        wire.send(HELLO).await;
        client.answer().await;
    }
    let mut seen = tokio::task::JoinSet::new();
    for mut wire in kept {
        seen.spawn(async move {
            usize::from(wire.line().await.is_some_and(|line| line.starts_with("GET /poison")))
        });
    }
    let mut client = stand.connect().await;
    client.send(get("/poison")).await;
    let mut fresh = script.accept().await;
    fresh.request_head().await;
    drop(fresh);
    assert_eq!(client.answer().await.status, 502);
    drop(stand);
    let seen = bounded("kept connections close", seen.join_all()).await;
    assert_eq!(seen.iter().sum::<usize>(), 1, "one kept connection, then a new one");
}

#[tokio::test]
async fn an_origin_that_is_not_there_is_said_at_once() {
    let nobody = Place::new();
    let stand = Stand::facing(format!("http://{}", nobody.address()), "limit = 1").await;
    for _ in 0..3 {
        let answer = stand.get("/").await;
        assert_eq!((answer.status, answer.reason().as_str()), (502, "origin_down"));
        assert_eq!(answer.header("retry-after"), "");
    }
    assert_eq!(stand.metric("tidegate_origin_dials_failed_total"), 3.0);
    assert_eq!((stand.metric("tidegate_origin_connections"), stand.in_flight()), (0.0, 0));
    let stand = Stand::facing("unix:/nowhere/at/all", "").await;
    assert_eq!(stand.get("/").await.status, 502);
    let stand = Stand::facing("http://no-such-host.invalid", "").await;
    assert!(matches!(stand.get("/").await.status, 502 | 504));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_is_killed_under_load_gives_502_and_works_again_when_it_returns() {
    let place = Place::new();
    let stand = Stand::before(Origin::on(place.listen().await), "limit = 3", |_| ()).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = stand.connect().await;
        client.send(get("/hold")).await;
        clients.push(client);
    }
    eventually("the limit is taken", || stand.origin.now() == 3 && stand.waiting() == 3).await;
    stand.origin.fall();
    for client in &mut clients {
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.reason().as_str()), (502, "origin_down"));
    }
    eventually("no permit is lost", || stand.in_flight() == 0).await;
    assert_eq!(stand.get("/").await.status, 502);
    let again = Origin::on(place.listen().await);
    assert_eq!(stand.get("/hello").await.status, 200);
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut client = stand.connect().await;
        client.send(get("/hold")).await;
        held.push(client);
    }
    eventually("the whole limit is admitted", || again.now() == 3).await;
    again.release(3);
    for client in &mut held {
        assert_eq!(client.answer().await.status, 200);
    }
    assert!(again.peak() <= 3);
}

/// Nothing stands between a return and the first request but the dial that has begun: no breaker, no back-off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_any_number_of_failures_the_first_request_finds_the_origin_again() {
    assert!(OriginSettings::default().connect_timeout <= Duration::from_secs(2), "the longest dial");
    let place = Place::new();
    let stand = Stand::before(Origin::on(place.listen().await), "", |_| ()).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = stand.connect().await;
        client.send(get("/hold")).await;
        clients.push(client);
    }
    eventually("they are there", || stand.origin.now() == 4).await;
    stand.origin.fall();
    for client in &mut clients {
        assert_eq!(client.answer().await.status, 502);
    }
    for _ in 0..200 {
        let answer = stand.get("/").await;
        assert_eq!((answer.status, answer.reason().as_str()), (502, "origin_down"));
    }
    eventually("no permit is lost", || stand.in_flight() == 0).await;
    let again = Origin::on(place.listen().await);
    for _ in 0..50 {
        assert_eq!(stand.get("/hello").await.status, 200);
    }
    assert_eq!((again.count(), stand.waiting()), (50, 0));
}

#[test]
fn the_documents_say_when_a_silent_origin_is_gone() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/defaults.md")).unwrap();
    let settings = OriginSettings::default();
    let (probed, gone) = (settings.probe_after().as_secs(), settings.gone_after().as_secs());
    let row = format!("| silent connection to the origin | probed after {probed} s, gone after {gone} s |");
    assert!(text.contains(&row), "docs/defaults.md: no {row}");
}

#[tokio::test]
async fn a_silent_origin_is_given_up_after_its_time() {
    let script = Script::start().await;
    let stand = Stand::facing(&script, "limit = 1\norigin-timeout = '1s'").await;
    let mut client = stand.connect().await;
    client.send(get("/")).await;
    let mut origin = script.accept().await;
    origin.request_head().await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.reason().as_str()), (504, "origin_timeout"));
    assert!(origin.rest().await.is_empty(), "its connection is closed");
    assert_eq!(stand.in_flight(), 0);
    // The same in the middle of an answer: the client must see that it is not whole.
    client.send(get("/")).await;
    let mut origin = script.accept().await;
    origin.request_head().await;
    origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.whole), (200, false));
    eventually("the permit is back", || stand.in_flight() == 0).await;
}

#[tokio::test]
async fn an_upload_may_take_longer_than_an_answer() {
    let script = Script::start().await;
    let stand = Stand::facing(&script, "limit = 1\norigin-timeout = '2s'").await;
    let mut client = stand.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let mut origin = script.accept().await;
    origin.request_head().await;
    for _ in 0..12 {
        client.send("1\r\nx\r\n").await;
        sleep(Duration::from_millis(200)).await;
    }
    client.send("0\r\n\r\n").await;
    origin.bytes(12 * 6 + 5).await;
    origin.send(HELLO).await;
    assert_eq!(client.answer().await.text(), "hello");
}

#[tokio::test]
async fn what_is_not_an_answer_is_not_passed_on() {
    for garbage in [
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 99999 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nBad Name: 1\r\n\r\n",
        "\0\0\0\0\0\0\r\n\r\n",
    ] {
        let script = Script::start().await;
        let stand = Stand::facing(&script, "limit = 1").await;
        let mut client = stand.connect().await;
        client.send(get("/")).await;
        let mut origin = script.accept().await;
        origin.request_head().await;
        origin.send(garbage).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.reason().as_str()), (502, "origin_down"), "{garbage:?}");
        eventually("the permit is back", || stand.in_flight() == 0).await;
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_as_broken() {
    let stand = Stand::new("limit = 2").await;
    for _ in 0..5 {
        let answer = stand.get("/break").await;
        assert_eq!(answer.status, 200);
        assert!(!answer.whole, "{} bytes passed for a whole answer", answer.body.len());
    }
    stand.is_whole(2).await;
    // A connection with an early answer and an unread body serves nobody else.
    for _ in 0..5 {
        let mut client = stand.connect().await;
        client
            .send("POST /unread HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .await;
        assert_eq!(client.answer().await.text(), "unread");
        assert_eq!(stand.get("/hello").await.text(), "hello");
    }
    stand.is_whole(2).await;
}

/// It would go on without a permit, and the next who takes its connection would wait in vain.
#[tokio::test]
async fn an_upload_does_not_outlive_its_answer() {
    let script = Script::start().await;
    let stand = Stand::facing(&script, "limit = 1").await;
    for version in [1, 2] {
        let (mut client, mut client2) = (stand.connect().await, Wire2::connect(stand.address).await);
        let mut open = None;
        if version == 1 {
            let head = "POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
            client.send(head).await;
        } else {
            let (answer, mut stream) = client2.begin(post2("/early").body(()).unwrap(), false).await;
            stream.send_data(Bytes::from_static(b"hello"), false).unwrap();
            open = Some((answer, stream));
        }
        let mut origin = script.accept().await;
        origin.request_head().await;
        origin.bytes(10).await;
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").await;
        let said = match open {
            None => client.answer().await.body,
            Some((answer, _stream)) => whole(answer).await.unwrap().body,
        };
        assert_eq!(said, b"early");
        assert!(origin.rest().await.is_empty(), "its connection is closed");
        eventually("the permit is back", || stand.in_flight() == 0).await;
        // One whose body ends in the same moment as its answer begins is kept.
        let mut client = stand.connect().await;
        client.send(post("/", "hello")).await;
        let mut origin = script.accept().await;
        for _ in 0..3 {
            origin.request_head().await;
            assert_eq!(origin.bytes(5).await, b"hello");
            origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            assert_eq!(client.answer().await.text(), "ok");
            client.send(post("/", "hello")).await;
        }
        origin.request_head().await;
    }
}

#[tokio::test]
async fn a_unix_socket_is_an_origin() {
    let path = std::env::temp_dir().join(format!("tidegate-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let stand = Stand::before(Origin::at(&path), "limit = 2", |_| ()).await;
    assert_eq!(stand.ask("GET /hello HTTP/1.0\r\n\r\n").await.text(), "hello");
    assert_eq!(stand.origin.last().header("host"), "localhost");
    stand.is_whole(2).await;
    std::fs::remove_file(&path).unwrap();
}
