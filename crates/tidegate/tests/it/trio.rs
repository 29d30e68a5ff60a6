//! trio's `CapacityLimiter`, behaviour by behaviour.
//!
//! | trio | here | test |
//! |---|---|---|
//! | `total_tokens`, read | [`Limiter::limit`] | `figures` |
//! | `total_tokens` set higher wakes as many as fit | [`Limiter::set_limit`] | `raising_the_limit_admits_as_many_as_fit` |
//! | `total_tokens` set lower lets holders finish, admits nobody until below | [`Limiter::set_limit`] | `lowering_the_limit_lets_holders_finish` |
//! | `total_tokens = 0` (since trio#3321) | `set_limit(0)`; a builder takes 1 at least | `a_limit_of_zero_admits_nobody_until_it_is_raised` |
//! | `total_tokens = inf` | [`Limiter::MAX_LIMIT`] | `as_good_as_no_limit` |
//! | `borrowed_tokens`, `available_tokens` | [`Limiter::in_flight`], [`Limiter::available`] (0, never negative, in debt) | `figures` |
//! | `acquire_nowait` fails with nobody's token free, or while somebody waits | [`Limiter::try_acquire`] | `nobody_passes_those_that_wait` |
//! | `acquire` waits in order; canceled, it leaves nothing behind | [`Limiter::acquire`] | `waiting_is_in_order_and_leaves_nothing_behind` |
//! | `acquire_on_behalf_of[_nowait](borrower)` | [`Demand::holder`] | `somebody_else_can_be_the_holder` |
//! | `RuntimeError`: the borrower has a token already | `one_permit_per_holder`, `AlreadyHeld` | `a_second_permit_for_a_holder_is_an_error` and below |
//! | the borrower is the task where none is named | the same | `the_task_is_the_holder_where_none_is_named` |
//! | `release`, `release_on_behalf_of`, by somebody who is no borrower: `RuntimeError` | a [`Permit`](tidegate::Permit) is the proof: it cannot be given back twice, or by who has none | `a_permit_is_given_back_by_whoever_has_it` |
//! | `statistics()` of one moment | [`Limiter::occupants`] | `statistics_are_of_one_moment` |
//! | `async with` | a [`Permit`](tidegate::Permit) given back by its drop, and [`Limiter::run`] | `work_runs_under_a_permit` |

use std::collections::BTreeSet;

use tidegate::{
    Admission, Demand, Limiter, LimiterBuilder, Occupant, QueueConfig, Reason, RunError, Ticket,
    TryClaimError,
};

fn tracked(limit: u64) -> Limiter {
    Limiter::builder().limit(limit).track_occupants(true).build().unwrap()
}

fn one_each(limit: u64) -> LimiterBuilder {
    Limiter::builder().name("sack").limit(limit).one_permit_per_holder(true)
}

fn named(who: &'static str) -> Demand {
    Demand::ONE.holder(who)
}

fn ticket(limiter: &Limiter, demand: Demand) -> Ticket {
    match limiter.enqueue(demand).unwrap() {
        Admission::Waiting(ticket) => ticket,
        Admission::Admitted(_) => panic!("admitted at once"),
    }
}

fn names(occupants: &[Occupant]) -> BTreeSet<&str> {
    occupants.iter().map(|occupant| occupant.who.as_ref()).collect()
}

#[test]
fn figures() {
    let limiter = Limiter::fixed(2);
    assert_eq!((limiter.limit(), limiter.in_flight(), limiter.available()), (2, 0, 2));
    let permit = limiter.try_acquire(1).unwrap();
    assert_eq!((limiter.limit(), limiter.in_flight(), limiter.available()), (2, 1, 1));
    limiter.set_limit(0);
    assert_eq!((limiter.limit(), limiter.in_flight(), limiter.available()), (0, 1, 0), "in debt");
    drop(permit);
    assert_eq!((limiter.in_flight(), limiter.available()), (0, 0));
}

#[test]
fn raising_the_limit_admits_as_many_as_fit() {
    let limiter = tracked(2);
    let _held = ["0", "1"].map(|who| limiter.try_acquire(named(who)).unwrap());
    let tickets = ["2", "3", "4"].map(|who| ticket(&limiter, named(who)));
    limiter.set_limit(4);
    let now = limiter.occupants();
    assert_eq!(names(&now.holders), BTreeSet::from(["0", "1", "2", "3"]));
    assert_eq!(names(&now.waiters), BTreeSet::from(["4"]));
    let claimed = tickets.map(Ticket::try_claim);
    assert!(matches!(claimed, [Ok(_), Ok(_), Err(TryClaimError::NotYet(_))]));
}

#[test]
fn lowering_the_limit_lets_holders_finish() {
    let limiter = tracked(4);
    let held = ["0", "1", "2", "3"].map(|who| limiter.try_acquire(named(who)).unwrap());
    let last = ticket(&limiter, named("4"));
    limiter.set_limit(1);
    assert_eq!((limiter.in_flight(), limiter.limit()), (4, 1));
    let [zero, one, two, three] = held;
    drop((zero, one, two));
    let now = limiter.occupants();
    assert_eq!(
        (names(&now.holders), now.waiters.len()),
        (BTreeSet::from(["3"]), 1),
        "below, not at, the limit"
    );
    drop(three);
    let now = limiter.occupants();
    assert_eq!((names(&now.holders), now.waiters.len()), (BTreeSet::from(["4"]), 0));
    drop(last);
}

#[test]
fn a_limit_of_zero_admits_nobody_until_it_is_raised() {
    let limiter = tracked(1);
    let held = limiter.try_acquire(1).unwrap();
    limiter.set_limit(0);
    drop(held);
    assert_eq!(limiter.try_acquire(1).unwrap_err().reason(), Reason::QueueFull);
    assert!(!limiter.readiness().is_ready());
    // Nor one that goes alone because it is heavier than the limit.
    let waiting = [1, 1, 7].map(|units| ticket(&limiter, Demand::weight(units)));
    assert_eq!((limiter.in_flight(), limiter.stats().waiting), (0, 3));
    limiter.set_limit(2);
    assert_eq!((limiter.in_flight(), limiter.stats().waiting), (2, 1));
    let [first, second, heavy] = waiting;
    drop((first, second));
    assert_eq!(heavy.try_claim().unwrap().weight(), 7);
    assert!(Limiter::builder().limit(0).build().is_err(), "more likely a slip than a wish");
}

#[test]
fn as_good_as_no_limit() {
    let limiter = Limiter::fixed(Limiter::MAX_LIMIT);
    let held: Vec<_> = (0..1000).map(|_| limiter.try_acquire(1 << 40).unwrap()).collect();
    assert_eq!(limiter.in_flight(), 1000 << 40);
    limiter.set_limit(1);
    assert!(limiter.try_acquire(1).is_err());
    limiter.set_limit(u64::MAX);
    assert_eq!(limiter.limit(), Limiter::MAX_LIMIT);
    assert_eq!(limiter.available(), Limiter::MAX_LIMIT - (1000 << 40));
    drop(held);
    assert_eq!((limiter.in_flight(), limiter.available()), (0, Limiter::MAX_LIMIT));
}

#[test]
fn nobody_passes_those_that_wait() {
    let limiter = one_each(2).build().unwrap();
    let [_one, two] = ["value 1", "value 2"].map(|who| limiter.try_acquire(named(who)).unwrap());
    let third = ticket(&limiter, named("value 3"));
    drop(two);
    assert_eq!(limiter.in_flight(), 2, "handed over");
    assert_eq!(limiter.try_acquire(named("me")).unwrap_err().reason(), Reason::QueueFull);
    assert!(third.try_claim().is_ok());
}

#[test]
fn waiting_is_in_order_and_leaves_nothing_behind() {
    let limiter = one_each(1).build().unwrap();
    let held = limiter.try_acquire(named("holder")).unwrap();
    let [first, second, third] = ["a", "b", "c"].map(|who| ticket(&limiter, named(who)));
    drop(second);
    assert_eq!(names(&limiter.waiters()), BTreeSet::from(["a", "c"]));
    drop(held);
    let first = first.try_claim().unwrap();
    drop(first);
    drop(third);
    let now = limiter.occupants();
    assert_eq!((now.stats.in_flight, now.holders.len(), now.waiters.len()), (0, 0, 0));
    for who in ["holder", "a", "b", "c"] {
        assert!(limiter.try_acquire(named(who)).is_ok(), "{who} is remembered");
    }
}

#[test]
fn somebody_else_can_be_the_holder() {
    let limiter = one_each(2).build().unwrap();
    let _mine = limiter.try_acquire(named("me")).unwrap();
    let _other = limiter.try_acquire(named("someone")).unwrap();
    assert_eq!(names(&limiter.holders()), BTreeSet::from(["me", "someone"]));
    assert_eq!(limiter.try_acquire(named("third party")).unwrap_err().reason(), Reason::QueueFull);
}

#[tokio::test]
async fn a_second_permit_for_a_holder_is_an_error() {
    let limiter = one_each(2).build().unwrap();
    let permit = limiter.acquire(named("me")).await.unwrap();
    let refused = limiter.try_acquire(named("me")).unwrap_err();
    assert_eq!((refused.reason(), refused.worth_retrying()), (Reason::AlreadyHeld, false));
    assert_eq!(refused.to_string(), "refused by sack: already_held");
    assert_eq!(limiter.acquire(named("me")).await.unwrap_err().reason(), Reason::AlreadyHeld);
    assert_eq!(limiter.in_flight(), 1, "there was room, and it stays");
    permit.success();
    assert!(limiter.acquire(named("me")).await.is_ok());
}

#[test]
fn a_second_place_for_a_holder_is_an_error_too() {
    // trio lets a borrower wait twice, and then holds two tokens under one entry.
    let limiter = one_each(1).build().unwrap();
    let held = limiter.try_acquire(named("holder")).unwrap();
    let waiting = ticket(&limiter, named("me"));
    assert_eq!(limiter.enqueue(named("me")).unwrap_err().reason(), Reason::AlreadyHeld);
    drop(held);
    // Granted and not claimed: it holds.
    assert_eq!(limiter.enqueue(named("me")).unwrap_err().reason(), Reason::AlreadyHeld);
    waiting.decline();
    assert!(limiter.try_acquire(named("me")).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_place_that_was_lost_is_no_place() {
    let queue = QueueConfig::bounded(1);
    let limiter = one_each(1).queue(queue).build().unwrap();
    let held = limiter.try_acquire(named("holder")).unwrap();
    let displaced = ticket(&limiter, named("me").class(tidegate::Criticality::Sheddable));
    let important = ticket(&limiter, named("boss"));
    drop(held);
    drop(important);
    assert!(limiter.try_acquire(named("me")).is_ok(), "displaced, though not told yet");
    drop(displaced);
    let held = limiter.try_acquire(named("holder")).unwrap();
    let expired = ticket(&limiter, named("me"));
    tokio::time::sleep(QueueConfig::DEFAULT_MAX_WAIT * 2).await;
    limiter.tick();
    drop(held);
    assert!(limiter.try_acquire(named("me")).is_ok(), "expired, though not told yet");
    drop(expired);
}

#[tokio::test]
async fn the_task_is_the_holder_where_none_is_named() {
    let limiter = one_each(8).build().unwrap();
    let own = limiter.clone();
    let (mine, second, listed) = tokio::spawn(async move {
        let permit = own.acquire(1).await.unwrap();
        let second = own.acquire(Demand::ONE.key("tenant")).await.map(drop).unwrap_err();
        (permit, second, format!("task {}", tokio::task::id()))
    })
    .await
    .unwrap();
    assert_eq!(second.reason(), Reason::AlreadyHeld);
    assert_eq!(names(&limiter.holders()), BTreeSet::from([listed.as_str()]), "also when the permit moved on");
    let own = limiter.clone();
    assert!(tokio::spawn(async move { own.acquire(1).await.is_ok() }).await.unwrap(), "another task");
    drop(mine);
    // Outside of a task there is nobody to look for.
    let [one, two] =
        std::thread::spawn(move || [limiter.try_acquire(1), limiter.try_acquire(1)]).join().unwrap();
    assert!(one.is_ok() && two.is_ok());
}

#[test]
fn where_it_was_not_asked_for_a_holder_may_have_many() {
    let limiter = tracked(2);
    let _both = [(); 2].map(|()| limiter.try_acquire(named("me")).unwrap());
    assert_eq!(limiter.holders().len(), 2);
}

#[test]
fn in_dry_run_a_second_permit_is_counted_and_given() {
    let limiter = one_each(4).dry_run(true).build().unwrap();
    let [first, second] = [(); 2].map(|()| limiter.try_acquire(named("me")).unwrap());
    let stats = limiter.stats();
    assert_eq!((stats.would_refuse, stats.refused(Reason::AlreadyHeld), stats.in_flight), (1, 1, 2));
    drop(first);
    let third = limiter.try_acquire(named("me")).unwrap();
    assert_eq!(limiter.stats().would_refuse, 2, "the second still holds");
    drop((second, third));
    drop(limiter.try_acquire(named("me")).unwrap());
    assert_eq!(limiter.stats().would_refuse, 2);
}

#[test]
fn a_permit_is_given_back_by_whoever_has_it() {
    let limiter = one_each(1).build().unwrap();
    let permit = limiter.try_acquire(named("me")).unwrap();
    std::thread::spawn(move || drop(permit)).join().unwrap();
    assert_eq!((limiter.in_flight(), limiter.holders().len()), (0, 0));
}

#[test]
fn statistics_are_of_one_moment() {
    let limiter = tracked(4);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..2000).for_each(|_| drop(limiter.enqueue(Demand::weight(2)))));
        }
        for _ in 0..500 {
            let now = limiter.occupants();
            assert_eq!(now.stats.in_flight, now.holders.iter().map(|holder| holder.weight).sum::<u64>());
            assert_eq!(now.stats.waiting, now.waiters.len() as u64);
        }
    });
}

#[tokio::test]
async fn work_runs_under_a_permit() {
    let limiter = one_each(1).build().unwrap();
    let nested = limiter.clone();
    let result = limiter
        .run(named("me"), async {
            assert_eq!(nested.in_flight(), 1);
            nested.run(named("me"), async { Ok::<_, std::convert::Infallible>(()) }).await
        })
        .await;
    let Err(RunError::Inner(RunError::Refused(refused))) = result else { panic!("it waited for itself") };
    assert_eq!((refused.reason(), limiter.in_flight()), (Reason::AlreadyHeld, 0));
}
