//! The health lane, and the end.

use std::sync::Arc;
use std::time::Duration;

use tidegate::Readiness;
use tidegate::gate::accept::{Lane, WhenFull};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::peers::{accept_of, backlog_of, client, is_pending, listener, read_all, soon};

#[tokio::test]
async fn the_health_lane_is_served_while_everything_is_full() {
    let accept = accept_of(1).await.health_lane(listener().await).unwrap();
    let health = accept.health_addr().unwrap().unwrap();
    let _first = client(&accept).await;
    let _held = soon(accept.accept()).await.unwrap();
    let _waiting = client(&accept).await;
    for _ in 0..20 {
        let _probe = TcpStream::connect(health).await.unwrap();
        assert_eq!(soon(accept.accept()).await.unwrap().lane, Lane::Health);
    }
    backlog_of(&accept, 1).await;
    assert_eq!(accept.stats().health, 20);
}

#[tokio::test]
async fn a_flood_of_probes_does_not_starve_the_main_lane() {
    let accept = accept_of(100).await.health_lane(listener().await).unwrap();
    let health = accept.health_addr().unwrap().unwrap();
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(client(&accept).await);
        clients.push(TcpStream::connect(health).await.unwrap());
    }
    let mut lanes = Vec::new();
    let mut held = Vec::new();
    for _ in 0..20 {
        let next = soon(accept.accept()).await.unwrap();
        lanes.push(next.lane);
        held.push(next);
    }
    assert!(lanes.chunks(2).all(|turn| turn[0] != turn[1]), "{lanes:?}");
}

#[tokio::test]
async fn a_drain_ends_it_and_the_health_lane_last() {
    let accept = accept_of(10).await.health_lane(listener().await).unwrap();
    let health = accept.health_addr().unwrap().unwrap();
    let _first = client(&accept).await;
    let held = soon(accept.accept()).await.unwrap();
    let drained = accept.connections().drain();
    let _late = client(&accept).await;
    assert!(matches!(accept.readiness(), Readiness::Draining { .. }));
    assert!(is_pending(&accept).await);
    let _probe = TcpStream::connect(health).await.unwrap();
    assert_eq!(soon(accept.accept()).await.unwrap().lane, Lane::Health);
    drop(held);
    assert!(soon(accept.accept()).await.unwrap_err().is_draining());
    soon(drained).await;
}

#[tokio::test]
async fn a_drain_reaches_an_accept_that_waits_and_tells_those_in_the_queue() {
    let accept = Arc::new(accept_of(1).await.when_full(WhenFull::Answer503));
    let waiting = tokio::spawn({
        let accept = Arc::clone(&accept);
        async move { accept.accept().await }
    });
    sleep(Duration::from_millis(20)).await;
    drop(accept.connections().drain());
    assert!(soon(waiting).await.unwrap().unwrap_err().is_draining());
    let late = client(&accept).await;
    assert!(soon(accept.accept()).await.unwrap_err().is_draining());
    let said = read_all(late).await;
    assert!(said.contains(r#""reason":"draining""#), "{said}");
}

#[tokio::test]
async fn newcomers_hear_of_a_drain_while_the_health_lane_goes_on() {
    let accept = accept_of(10).await.when_full(WhenFull::Answer503).health_lane(listener().await).unwrap();
    let _first = client(&accept).await;
    let held = soon(accept.accept()).await.unwrap();
    drop(accept.connections().drain());
    let accept = Arc::new(accept);
    let accepting = tokio::spawn({
        let accept = Arc::clone(&accept);
        async move { accept.accept().await.map(|_| ()) }
    });
    for _ in 0..3 {
        let said = read_all(client(&accept).await).await;
        assert!(said.contains(r#""reason":"draining""#), "{said}");
    }
    assert!(!accepting.is_finished(), "one is still being served");
    drop(held);
    assert!(soon(accepting).await.unwrap().unwrap_err().is_draining());
}
