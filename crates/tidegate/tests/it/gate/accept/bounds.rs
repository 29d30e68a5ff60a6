//! How many connections there may be.

use std::time::Duration;

use tidegate::gate::accept::{Accept, BoundBy, WhenFull};
use tidegate::{Limiter, QueueConfig, Readiness};
use tokio::time::sleep;

use super::peers::{accept_of, backlog_of, client, is_pending, listener, read_all, soon, told};

#[tokio::test]
async fn ten_thousand_connections_for_a_small_pool_cannot_be_written() {
    let pool = Limiter::builder().name("pool").limit(2).queue(QueueConfig::bounded(3)).build().unwrap();
    let accept = accept_of(10_000).await.linked_to(&pool);
    assert_eq!((accept.bound().connections, accept.bound().by), (5, BoundBy::Linked));
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(client(&accept).await);
    }
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(soon(accept.accept()).await.unwrap());
    }
    assert!(is_pending(&accept).await);
    backlog_of(&accept, 45).await;
    // The limit behind rises: more may come in, and nobody has to say so.
    pool.set_limit(4);
    for _ in 0..2 {
        held.push(soon(accept.accept()).await.unwrap());
    }
    assert!(is_pending(&accept).await);
    // One ends: one comes in.
    held.pop();
    held.push(soon(accept.accept()).await.unwrap());
    assert!(is_pending(&accept).await);
}

#[tokio::test]
async fn an_accept_that_nobody_comes_to_hears_that_the_pool_drains() {
    let pool = Limiter::fixed(2);
    let accept = accept_of(10).await.linked_to(&pool);
    let (ended, _) = soon(async {
        tokio::join!(accept.accept(), async {
            sleep(Duration::from_millis(20)).await;
            pool.drain().await
        })
    })
    .await;
    assert!(ended.unwrap_err().is_draining());
}

#[tokio::test]
async fn nobody_comes_in_while_the_pool_would_refuse_what_it_asks() {
    let pool = Limiter::builder().name("pool").limit(2).queue(QueueConfig::bounded(1)).build().unwrap();
    let accept = accept_of(10_000).await.linked_to(&pool);
    let _client = client(&accept).await;
    let held = pool.try_acquire(2).unwrap();
    let waiting = pool.enqueue(1).unwrap();
    assert!(is_pending(&accept).await, "one connection would be refused by the pool");
    assert!(matches!(accept.readiness(), Readiness::Busy { ahead: 1, .. }));
    let (next, ()) = soon(async {
        tokio::join!(accept.accept(), async {
            sleep(Duration::from_millis(20)).await;
            drop(waiting);
        })
    })
    .await;
    next.unwrap();
    drop(held);
    drop(pool.drain());
    let _client = client(&accept).await;
    assert!(soon(accept.accept()).await.unwrap_err().is_draining(), "who is linked ends with the pool");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn listeners_that_share_a_limiter_share_the_bound() {
    let pool = Limiter::builder().limit(3).queue(QueueConfig::bounded(2)).build().unwrap();
    let connections = Limiter::fixed(10_000);
    let mut servers = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..2 {
        let accept = Accept::new(listener().await, connections.clone()).unwrap().linked_to(&pool);
        for _ in 0..60 {
            clients.push(client(&accept).await);
        }
        let connections = connections.clone();
        servers.push(tokio::spawn(async move {
            for _ in 0..60 {
                let held = accept.accept().await.unwrap();
                assert!(connections.stats().in_flight <= 6, "five, and one that is just looking");
                tokio::task::yield_now().await;
                drop(held);
            }
        }));
    }
    for server in servers {
        soon(server).await.unwrap();
    }
    assert_eq!(connections.stats().in_flight, 0);
}

#[tokio::test]
async fn a_limit_that_changes_is_obeyed_and_heard_of() {
    let accept = accept_of(1).await;
    accept.connections().set_limit(0);
    let _client = client(&accept).await;
    assert!(is_pending(&accept).await);
    let (next, ()) =
        soon(async { tokio::join!(accept.accept(), async { accept.connections().set_limit(1) }) }).await;
    next.unwrap();
}

#[tokio::test]
async fn a_saturated_pool_is_told_to_whoever_is_refused_for_it() {
    let pool = Limiter::builder().name("pool").limit(1).queue(QueueConfig::none()).build().unwrap();
    let accept = accept_of(10).await.linked_to(&pool).when_full(WhenFull::Answer503);
    let held = pool.try_acquire(1).unwrap();
    assert!(matches!(accept.readiness(), Readiness::Saturated { .. }));
    let refused = client(&accept).await;
    let said = told(&accept, read_all(refused)).await;
    assert!(said.contains(r#""reason":"connections""#), "{said}");
    assert_eq!(pool.stats().refused_total(), 0, "the pool itself was not asked");
    drop(held);
    let _client = client(&accept).await;
    soon(accept.accept()).await.unwrap();
}

#[tokio::test]
async fn each_connection_is_a_holder_of_its_own() {
    let connections = Limiter::builder().limit(3).one_permit_per_holder(true).build().unwrap();
    let accept = Accept::new(listener().await, connections.clone()).unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        let _client = client(&accept).await;
        held.push(soon(accept.accept()).await.unwrap());
    }
    let _client = client(&accept).await;
    assert!(is_pending(&accept).await);
    let mut names: Vec<_> = connections.holders().iter().map(|holder| holder.who.clone()).collect();
    names.dedup();
    assert_eq!(names.len(), 3, "{names:?}");
    held.pop();
    soon(accept.accept()).await.unwrap();
}
