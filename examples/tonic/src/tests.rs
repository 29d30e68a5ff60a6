//! The example under a clock that is paused, over a pipe.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use hyper_util::rt::TokioIo;
use tidegate::Limiter;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};

use crate::search::{HITS, SEARCH};
use crate::{PLACES, SEARCHES, client, limiter, serve};

struct Incoming(mpsc::Receiver<DuplexStream>);

impl Stream for Incoming {
    type Item = std::io::Result<DuplexStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|next| next.map(Ok))
    }
}

/// The server, and a client's way to it.
fn stand() -> (Limiter, Channel) {
    let limiter = limiter().unwrap();
    let (say, hear) = mpsc::channel(1);
    tokio::spawn(serve(Incoming(hear), limiter.clone()));
    let connect = move |_: Uri| {
        let say = say.clone();
        async move {
            let (client, server) = tokio::io::duplex(1 << 16);
            say.send(server).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(TokioIo::new(client))
        }
    };
    (limiter, Endpoint::from_static("http://search").connect_with_connector_lazy(tower::service_fn(connect)))
}

async fn until(limiter: &Limiter, held: u64, waiting: u64) {
    while (limiter.stats().in_flight, limiter.stats().waiting) != (held, waiting) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn full(limiter: &Limiter, channel: &Channel) -> Vec<tokio::task::JoinHandle<Result<String, Status>>> {
    let mut calls = Vec::new();
    for n in 1..=SEARCHES + PLACES {
        let channel = channel.clone();
        calls.push(tokio::spawn(async move { client::find(&channel, Request::new("it".to_owned())).await }));
        until(limiter, n.min(SEARCHES), n.saturating_sub(SEARCHES)).await;
    }
    calls
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_hears_when_to_come_back_and_is_served_then() {
    let (limiter, channel) = stand();
    let calls = full(&limiter, &channel).await;
    let refused = client::find(&channel, Request::new("more".to_owned())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.message(), "The service is full and so is the queue before it.");
    assert!(client::pushback(&refused).is_some());
    let refused = client::watch(&channel, "more").await.unwrap_err();
    assert!(client::pushback(&refused).is_some(), "a stream is refused with its first answer: {refused:?}");

    let (found, refused) = client::find_patiently(&channel, "more", 5).await.unwrap();
    assert_eq!((found.as_str(), refused), ("found more", 1));
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "found it");
    }
    until(&limiter, 0, 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_says_stay_away() {
    let (limiter, channel) = stand();
    let _drained = limiter.drain();
    let refused = client::find_patiently(&channel, "it", 5).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
}

#[tokio::test(start_paused = true)]
async fn a_stream_holds_its_permit_until_it_ends_or_its_client_leaves() {
    let (limiter, channel) = stand();
    let mut hits = client::watch(&channel, "hit").await.unwrap();
    for n in 1..=HITS {
        assert_eq!(limiter.stats().in_flight, 1);
        assert_eq!(hits.message().await.unwrap(), Some(format!("hit {n}")));
    }
    assert_eq!(hits.message().await.unwrap(), None);
    until(&limiter, 0, 0).await;

    let mut hits = client::watch(&channel, "hit").await.unwrap();
    assert!(hits.message().await.unwrap().is_some());
    assert_eq!(limiter.stats().in_flight, 1);
    drop(hits);
    until(&limiter, 0, 0).await;
}

#[tokio::test(start_paused = true)]
async fn who_goes_while_it_waits_leaves_the_queue() {
    let (limiter, channel) = stand();
    let mut calls = full(&limiter, &channel).await;
    calls.pop().unwrap().abort();
    until(&limiter, SEARCHES, PLACES - 1).await;
    calls.remove(0).abort();
    until(&limiter, SEARCHES, PLACES - 2).await;
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "found it");
    }
    until(&limiter, 0, 0).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_grpc_timeout_says() {
    let (limiter, channel) = stand();
    let _held = limiter.try_acquire(SEARCHES).unwrap();
    let mut hurried = Request::new("it".to_owned());
    // Only the server reads it: a client that watched its own clock would not wait for the answer.
    hurried.metadata_mut().insert("grpc-timeout", "50m".parse().unwrap());
    let begun = tokio::time::Instant::now();
    let late = client::find(&channel, hurried).await.unwrap_err();
    assert!(begun.elapsed() < SEARCH, "{late:?} after {:?}", begun.elapsed());
    until(&limiter, SEARCHES, 0).await;
}
