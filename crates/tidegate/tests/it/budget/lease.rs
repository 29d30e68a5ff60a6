//! Leases: taken, changed, moved, given back; and what can be seen of them.

use std::time::Duration;

use tidegate::budget::{Budget, Urgency};
use tidegate::{Reason, Refused};

#[test]
fn a_lease_is_charged_to_all_above_or_to_none() {
    let process = Budget::new("process", 100);
    let tenant = process.child("tenant").limit(50).build();
    let stream = tenant.child("connection").build().child("stream").limit(40).build();
    let lease = stream.try_lease(40).unwrap();
    assert_eq!((process.used(), tenant.used(), stream.used(), stream.free()), (40, 40, 40, 0));
    let full = stream.try_lease(1).unwrap_err();
    assert_eq!((&*full.at, full.need, full.free, full.ever), ("stream", 1, 0, true));
    let full = tenant.try_lease(60).unwrap_err();
    assert_eq!((&*full.at, full.ever), ("tenant", false));
    assert_eq!(full.to_string(), "no room for 60 bytes in tenant (10 free): memory, nor ever");
    assert_eq!(Refused::from(full).reason(), Reason::Memory);
    assert_eq!(process.used(), 40);
    drop(lease);
    assert_eq!((process.used(), process.peak(), process.limit(), stream.limit()), (0, 40, 100, 40));
}

#[test]
fn a_lease_keeps_its_budget_and_what_is_above() {
    let process = Budget::new("process", 100);
    let lease = process.child("tenant").limit(10).build().child("stream").build().try_lease(10).unwrap();
    assert_eq!(process.snapshot().children[0].children[0].used, 10);
    drop(lease);
    assert!(process.snapshot().children.is_empty());
}

#[test]
fn parts_of_a_lease_add_up() {
    let budget = Budget::new("budget", 100);
    let mut lease = budget.try_lease(60).unwrap();
    assert!(lease.split(61).is_none());
    let part = lease.split(20).unwrap();
    assert_eq!((lease.bytes(), part.bytes(), budget.used()), (40, 20, 60));
    assert!(lease.try_grow(41).is_err());
    lease.try_grow(40).unwrap();
    lease.shrink_to(30);
    lease.shrink_to(50);
    assert_eq!((lease.bytes(), budget.used()), (30, 50));
    lease.merge(part).unwrap();
    let other = Budget::new("other", 1).try_lease(1).unwrap();
    assert_eq!(lease.merge(other).unwrap_err().bytes(), 1);
    drop(lease);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_transfer_moves_the_charge_and_fits_where_nothing_else_would() {
    let process = Budget::new("process", 100);
    let [read, write] = ["read", "write"].map(|name| process.child(name).limit(100).build());
    let mut lease = read.try_lease(100).unwrap();
    lease.transfer(&write).unwrap();
    assert_eq!((read.used(), write.used(), process.used(), process.peak()), (0, 100, 100, 100));
    let small = process.child("small").limit(99).build();
    assert!(!lease.transfer(&small).unwrap_err().ever);
    assert_eq!((lease.budget().name(), write.used()), ("write", 100));
    let elsewhere = Budget::new("elsewhere", 100);
    lease.transfer(&elsewhere).unwrap();
    assert_eq!((process.used(), elsewhere.used()), (0, 100));
}

#[test]
fn a_lowered_limit_is_a_debt() {
    let budget = Budget::new("budget", 100);
    let (one, two) = (budget.try_lease(60).unwrap(), budget.try_lease(40).unwrap());
    budget.set_limit(70);
    assert_eq!((budget.free(), budget.limit()), (0, 70));
    drop(two);
    assert!(budget.try_lease(11).is_err());
    assert!(budget.try_lease(10).is_ok());
    drop(one);
}

#[test]
fn nothing_costs_nothing() {
    let budget = Budget::new("budget", 10);
    let all = budget.try_lease(10).unwrap();
    let none = budget.try_lease(0).unwrap();
    budget.set_limit(0);
    assert!(budget.try_lease(0).is_ok());
    drop((all, none));
    assert_eq!(budget.used(), 0);
    assert!(Budget::new("huge", u64::MAX).try_lease(u64::MAX).is_ok());
}

#[test]
fn only_the_oldest_work_may_use_the_reserve() {
    let process = Budget::root("process", 1000).reserve(20).build();
    let [first, second] = ["first", "second"].map(|name| process.child(name).work().build());
    let _most = process.try_lease(980).unwrap();
    assert!(second.try_lease(1).is_err());
    drop(first.try_lease(20).unwrap());
    drop(first);
    assert!(second.try_lease(20).is_ok());
    assert!(process.try_lease_for(Urgency::New, 1).is_err());
}

#[tokio::test(start_paused = true)]
async fn who_holds_much_for_long_comes_first() {
    let process = Budget::new("process", 1000);
    let peer = process.child("peer").limit(800).build();
    let old = peer.child("old").build().try_lease(100).unwrap();
    tokio::time::advance(Duration::from_secs(30)).await;
    let large = peer.child("large").build().try_lease(500).unwrap();
    let own = process.try_lease(50).unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    let holders = process.holders(10);
    let seen: Vec<_> =
        holders.iter().map(|holder| (&*holder.who, holder.bytes, holder.held.as_secs())).collect();
    assert_eq!(seen, [("peer/old", 100, 31), ("peer/large", 500, 1), ("process", 50, 1)]);
    assert_eq!(peer.holders(1)[0].who, "old");

    let snapshot = process.snapshot();
    assert_eq!((snapshot.used, snapshot.direct, snapshot.limit), (650, 50, Some(1000)));
    let [peer] = &*snapshot.children else { panic!("{snapshot:?}") };
    let below: Vec<_> = peer.children.iter().map(|child| (&*child.name, child.used, child.limit)).collect();
    assert_eq!(below, [("large", 500, None), ("old", 100, None)]);
    drop((old, large, own));
    assert!(process.holders(10).is_empty());
}

#[test]
fn a_snapshot_is_bounded() {
    let process = Budget::new("process", 1000);
    let leases: Vec<_> =
        (1..=100).map(|at| process.child(at.to_string()).build().try_lease(at.min(5)).unwrap()).collect();
    let snapshot = process.snapshot();
    assert_eq!((snapshot.children.len(), snapshot.unlisted, snapshot.unlisted_bytes), (64, 36, 170));
    assert_eq!(process.holders(7).len(), 7);
    drop(leases);
}
