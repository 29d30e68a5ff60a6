//! Clients that speak HTTP/2.

use bytes::Bytes;
use h2::client::Builder;
use http::HeaderMap;
use tokio::net::TcpStream;

use crate::stand::{Stand, bounded, eventually};
use crate::wire2::{Wire2, get2, post2, whole};

#[tokio::test]
async fn a_request_and_its_answer_pass() {
    let stand = Stand::new("").await;
    let mut client = Wire2::connect(stand.address).await;
    let mut request = get2("/hello?a");
    request.headers_mut().append("cookie", "a=1".parse().unwrap());
    request.headers_mut().append("cookie", "b=2".parse().unwrap());
    let (answer, _) = client.begin(request, true).await;
    let answer = whole(answer).await.unwrap();
    assert_eq!((answer.head.status.as_u16(), answer.body.as_slice()), (200, &b"hello"[..]));
    assert_eq!(answer.head.headers["via"], "1.1 tidegate");
    let seen = stand.origin.last();
    assert_eq!((seen.target.as_str(), seen.header("host")), ("/hello?a", "a.example"));
    assert_eq!((seen.header("via"), seen.header("cookie")), ("2 tidegate", "a=1; b=2"));
    let head = http::Request::head("http://a.example/hello").body(()).unwrap();
    let (answer, _) = client.begin(head, true).await;
    let answer = whole(answer).await.unwrap();
    assert_eq!((answer.header("content-length"), answer.body.len()), ("5", 0));
    assert_eq!(client.get("/modified").await.head.status, 304);
    let mut bad = get2("/x");
    bad.headers_mut().insert("host", "other.example".parse().unwrap());
    let (answer, _) = client.begin(bad, true).await;
    assert_eq!(whole(answer).await.unwrap().head.status, 400);
}

#[tokio::test]
async fn bodies_pass_with_trailers() {
    let stand = Stand::new("limit = 2").await;
    let mut client = Wire2::connect(stand.address).await;
    let request = post2("/echo").header("te", "trailers").header("trailer", "x-sum").body(()).unwrap();
    let (answer, mut stream) = client.begin(request, false).await;
    stream.send_data(Bytes::from_static(b"abc"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "3".parse().unwrap());
    stream.send_trailers(trailers.clone()).unwrap();
    let answer = whole(answer).await.unwrap();
    assert_eq!(answer.body, b"abc");
    assert_eq!(answer.trailers["x-sum"], "3");
    assert_eq!(stand.origin.last().header("connection"), "te");
    // Towards HTTP/1 only those that were named (docs/http-semantics.md); the body is whole without them.
    let request = post2("/echo").header("te", "trailers").body(()).unwrap();
    let (answer, mut stream) = client.begin(request, false).await;
    stream.send_data(Bytes::from_static(b"abc"), false).unwrap();
    stream.send_trailers(trailers).unwrap();
    let answer = whole(answer).await.unwrap();
    assert_eq!((answer.body.as_slice(), answer.trailers.len()), (&b"abc"[..], 0));
    let answer = client.get("/big/3000000").await;
    assert_eq!(answer.body.len(), 3_000_000);
    stand.is_whole(2).await;
}

#[tokio::test]
async fn an_upload_moves_as_the_origin_reads_it() {
    const SIZE: usize = 5_000_000;
    let stand = Stand::new("limit = 2").await;
    let mut client = Wire2::connect(stand.address).await;
    let (answer, mut stream) = client.begin(post2("/count").body(()).unwrap(), false).await;
    let mut left = SIZE;
    while left > 0 {
        stream.reserve_capacity(left.min(100_000));
        let room = bounded("credit", std::future::poll_fn(|cx| stream.poll_capacity(cx))).await;
        let some = room.unwrap().unwrap().min(left);
        left -= some;
        stream.send_data(Bytes::from(vec![0; some]), left == 0).unwrap();
    }
    assert_eq!(whole(answer).await.unwrap().head.status, 200);
    assert_eq!(stand.origin.last().body, Some(SIZE));
    stand.is_whole(2).await;
}

#[tokio::test]
async fn a_stream_that_is_not_read_does_not_hold_up_others() {
    let stand = Stand::new("limit = 3").await;
    let mut builder = Builder::new();
    builder.initial_connection_window_size(10_000_000);
    let stream = TcpStream::connect(stand.address).await.unwrap();
    let mut client = Wire2::over(stream, &builder).await;
    let (slow, _) = client.begin(get2("/big/1000000"), true).await;
    let mut unread = bounded("a head", slow).await.unwrap().into_body();
    for _ in 0..5 {
        assert_eq!(client.get("/big/200000").await.body.len(), 200_000);
    }
    let mut read = 0;
    while let Some(data) = bounded("data", unread.data()).await {
        let data = data.unwrap();
        read += data.len();
        unread.flow_control().release_capacity(data.len()).unwrap();
    }
    assert_eq!(read, 1_000_000);
    stand.is_whole(3).await;
}

#[tokio::test]
async fn an_early_answer_ends_the_upload() {
    let stand = Stand::new("limit = 1").await;
    let mut client = Wire2::connect(stand.address).await;
    for _ in 0..5 {
        let (answer, mut stream) = client.begin(post2("/unread").body(()).unwrap(), false).await;
        stream.send_data(Bytes::from_static(&[0; 10_000]), false).unwrap();
        assert_eq!(whole(answer).await.unwrap().body, b"unread");
    }
    eventually("all is back", || stand.in_flight() == 0).await;
    stand.is_whole(1).await;
}

#[tokio::test]
async fn a_broken_answer_is_a_reset() {
    let stand = Stand::new("limit = 1").await;
    let mut client = Wire2::connect(stand.address).await;
    for _ in 0..3 {
        let (answer, _) = client.begin(get2("/break"), true).await;
        assert!(whole(answer).await.unwrap_err().is_reset());
    }
    stand.is_whole(1).await;
}
