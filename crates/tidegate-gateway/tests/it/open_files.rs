//! As many connections to the origin as there are open files for, whoever wants more.

use tidegate_gateway::config::Effective;

use crate::stand::{Stand, eventually, get};

fn connections(most: usize) -> impl FnOnce(&mut Effective) {
    move |effective| effective.origin_settings.connections = Some(most)
}

#[tokio::test]
async fn who_finds_no_place_takes_that_of_a_connection_that_ends() {
    let stand = Stand::with("limit = 2", connections(1)).await;
    let (mut first, mut second) = (stand.connect().await, stand.connect().await);
    first.send(get("/hold")).await;
    eventually("the place is taken", || stand.origin.now() == 1).await;
    second.send(get("/hello")).await;
    eventually("both have a permit", || stand.in_flight() == 2).await;
    stand.origin.release(1);
    assert_eq!((first.answer().await.status, second.answer().await.status), (200, 200));
    assert_eq!(stand.gateway.origin_facts().open, 1);
    // An unused one serves the next.
    let before = stand.gateway.origin_facts().dials;
    assert_eq!(stand.get("/hello").await.status, 200);
    assert_eq!((stand.gateway.origin_facts().dials, stand.origin.peak()), (before, 1));
}

#[tokio::test]
async fn who_waits_in_vain_hears_that_it_is_not_the_service() {
    let stand = Stand::with("limit = 2\nconnect-timeout = '50ms'", connections(1)).await;
    let mut first = stand.connect().await;
    first.send(get("/hold")).await;
    eventually("the place is taken", || stand.origin.now() == 1).await;
    let answer = stand.get("/hello").await;
    assert_eq!((answer.status, answer.reason().as_str()), (503, "connections"));
    stand.origin.release(1);
    assert_eq!(first.answer().await.status, 200);
}

#[tokio::test]
async fn a_dry_run_has_no_more_connections_than_files() {
    let stand = Stand::with("limit = 1\ndry-run = true", connections(3)).await;
    let mut wires = Vec::new();
    for _ in 0..8 {
        let mut wire = stand.connect().await;
        wire.send(get("/hold")).await;
        wires.push(wire);
    }
    eventually("all are let in", || stand.in_flight() == 8).await;
    eventually("three are there", || stand.origin.now() == 3).await;
    stand.origin.release(8);
    for wire in &mut wires {
        assert_eq!(wire.answer().await.status, 200);
    }
    assert_eq!(stand.origin.peak(), 3);
}

#[tokio::test]
async fn the_limit_is_never_above_its_ceiling_and_says_so() {
    for (words, bound) in [("limit = 9", Some("open files")), ("limit = 5", None), ("", Some("open files"))] {
        let stand = Stand::with(words, |effective| effective.gateway.ceiling = Some(5)).await;
        let status = stand.gateway.status();
        assert_eq!((status.limit, status.why.bound_by), (5, bound), "{words}");
    }
    let stand = Stand::new("limit = 9").await;
    assert_eq!((stand.gateway.status().limit, stand.gateway.status().why.bound_by), (9, None));
}
