//! Pausing: who waits in the kernel's queue.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tidegate::gate::accept::{Accept, AcceptError, Lane};
use tidegate::{AskReady, Limiter, Readiness};
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::peers::{accept_of, backlog_of, client, is_pending, listener, soon};

#[tokio::test]
async fn pause_leaves_connections_in_the_kernels_queue_and_shows_them() {
    let accept = accept_of(2).await;
    assert!(is_pending(&accept).await);
    assert_eq!(accept.connections().stats().in_flight, 0, "an idle listener holds no permit");
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(client(&accept).await);
    }
    let first = soon(accept.accept()).await.unwrap();
    let _second = soon(accept.accept()).await.unwrap();
    assert!(is_pending(&accept).await);
    backlog_of(&accept, 3).await;
    let backlog = accept.backlog().unwrap();
    assert_eq!((backlog.waiting, backlog.is_full()), (3, false));
    assert!(backlog.capacity >= 5);
    assert!(matches!(AskReady::readiness(&accept), Readiness::Busy { ahead: 3, .. }));

    let (next, ()) = soon(async {
        tokio::join!(accept.accept(), async {
            sleep(Duration::from_millis(20)).await;
            drop(first);
        })
    })
    .await;
    assert_eq!((next.unwrap().lane, accept.backlog().unwrap().waiting), (Lane::Main, 2));
    let stats = accept.stats();
    assert_eq!((stats.accepted, stats.refused, stats.shortages), (3, 0, 0));
    assert_eq!(accept.connections().stats().refused_total(), 0);
}

#[tokio::test]
async fn whoever_left_while_it_paused_is_not_handed_out() {
    let accept = accept_of(1).await;
    let _first = client(&accept).await;
    let held = soon(accept.accept()).await.unwrap();
    let leaver = client(&accept).await;
    let mut stayer = client(&accept).await;
    leaver.set_zero_linger().unwrap();
    drop(leaver);
    stayer.write_all(b"here").await.unwrap();
    let (next, ()) = soon(async {
        tokio::join!(accept.accept(), async {
            sleep(Duration::from_millis(50)).await;
            drop(held);
        })
    })
    .await;
    let mut said = [0; 4];
    soon(next.unwrap().stream.read_exact(&mut said)).await.unwrap();
    assert_eq!((&said, accept.stats().gone), (b"here", 1));
}

#[tokio::test]
async fn a_full_accept_queue_shows() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let accept = Accept::new(socket.listen(2).unwrap(), Limiter::fixed(1)).unwrap();
    let _first = client(&accept).await;
    let _held = soon(accept.accept()).await.unwrap();
    let mut clients = Vec::new();
    for waiting in 1..=3 {
        assert!(matches!(accept.readiness(), Readiness::Busy { .. }));
        clients.push(client(&accept).await);
        backlog_of(&accept, waiting).await;
        assert_eq!((accept.backlog().unwrap().waiting, accept.backlog().unwrap().capacity), (waiting, 2));
    }
    assert!(accept.backlog().unwrap().is_full());
    assert!(matches!(accept.readiness(), Readiness::Saturated { .. }));
}

#[tokio::test]
async fn a_listener_that_was_shut_down_is_an_error_not_a_loop() {
    let listener = listener().await.into_std().unwrap();
    let other = std::net::TcpStream::from(OwnedFd::from(listener.try_clone().unwrap()));
    let accept = Accept::new(TcpListener::from_std(listener).unwrap(), Limiter::fixed(1)).unwrap();
    other.shutdown(std::net::Shutdown::Both).unwrap();
    let error = soon(accept.accept()).await.unwrap_err();
    assert!(matches!(error, AcceptError::Listener(_)), "{error}");
    assert_eq!(accept.connections().stats().in_flight, 0);
}
