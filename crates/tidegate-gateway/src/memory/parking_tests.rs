use std::time::Duration;

use tokio::time::timeout;

use super::super::{Kind, Plan};
use super::*;

fn memory() -> Memory {
    Memory::new(Plan::new(64 << 20, false, false))
}

fn peer(client: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, client], 1))
}

fn let_in(memory: &Memory, client: u8) -> Option<Arc<Account>> {
    match memory.arrive(peer(client), false, false) {
        Arrival::In(account) => Some(account),
        _ => None,
    }
}

/// As many as it gets, and one that is parked.
fn fill(memory: &Memory, client: u8) -> (Vec<Arc<Account>>, Parked) {
    let mut all = Vec::new();
    loop {
        match memory.arrive(peer(client), false, false) {
            Arrival::In(account) => all.push(account),
            Arrival::Parked(parked) => return (all, parked),
            Arrival::Full => panic!("the parking is full"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_alone_has_all_of_it_and_the_next_waits_for_what_comes_back() {
    let memory = memory();
    let rest = memory.facts();
    let (mut all, mut parked) = fill(&memory, 1);
    let floor = memory.plan().floor();
    assert!(all.len() as u64 * floor > memory.plan().spendable() / 100 * 85 - floor, "{}", all.len());
    assert_eq!((memory.facts().parked, memory.facts().parties), (1, 1));
    memory.let_in();
    assert!(parked.told.try_recv().is_err());
    all.pop();
    memory.let_in();
    let account = parked.let_in().await.unwrap();
    assert_eq!(memory.facts().parked, 0);
    drop((all, parked, account));
    assert_eq!(memory.facts().charged_bytes, rest.charged_bytes);
    assert_eq!((memory.facts().parties, memory.facts().holders), (0, 0));
    assert_eq!(memory.0.newcomers.left(), memory.plan().newcomers());
}

#[tokio::test(start_paused = true)]
async fn newcomers_have_what_is_kept_although_one_holds_all_the_rest() {
    let memory = memory();
    let (greedy, _parked) = fill(&memory, 1);
    let mut requests = Vec::new();
    greedy.iter().for_each(|account| account.speaks(Kind::Http1));
    while let Some(charge) = greedy[0].charge(memory.plan().request(), Tier::First) {
        requests.push(charge);
    }
    let charged = memory.facts().charged_bytes;
    assert!(charged + memory.plan().request() > memory.facts().limit_bytes, "it holds all");
    // Each has a connection, that may ask, and ask again.
    for round in 0..3 {
        let mut polite = Vec::new();
        for client in 2..12 {
            let account = let_in(&memory, client).unwrap_or_else(|| panic!("{client} in round {round}"));
            account.speaks(Kind::Http1);
            let charge = account.request(0, Duration::ZERO).await;
            polite.push((account, charge.unwrap_or_else(|| panic!("{client} in round {round}"))));
        }
        assert_eq!(memory.facts().charged_bytes, charged, "it was charged before");
        let shown = memory.parties(5);
        assert_eq!((shown.len(), shown[0].address.as_str(), shown[0].parked), (5, "127.0.0.1", 1));
    }
    assert_eq!(memory.0.newcomers.left(), memory.plan().newcomers());
    // Who waits for a request waits for what is kept as well, while it is another newcomer's.
    let first = fill(&memory, 2).0;
    let other = let_in(&memory, 3).unwrap();
    other.speaks(Kind::Http1);
    let all = std::iter::from_fn(|| memory.0.newcomers.take(1 << 16)).collect::<Vec<_>>();
    let (charge, ()) = tokio::join!(other.request(0, Duration::from_secs(9)), async { drop(first) });
    assert!(charge.is_some());
    all.into_iter().for_each(|lease| memory.0.newcomers.put(lease));
    // The greedy one's own come after the others': what comes free is not theirs while another one waits.
    assert!(greedy[1].request(0, Duration::from_secs(1)).await.is_none());
    drop(charge);
    let wanted = [&greedy[1], &greedy[2], &other].map(|account| account.request(0, Duration::from_secs(9)));
    let [mut one, mut two, mut three] = wanted.map(Box::pin);
    let all = std::iter::from_fn(|| memory.0.newcomers.take(1 << 16)).collect::<Vec<_>>();
    for waits in [&mut one, &mut two, &mut three] {
        assert!(timeout(Duration::from_millis(5), waits).await.is_err());
    }
    requests.pop();
    let three = three.await;
    assert!(three.is_some() && timeout(Duration::from_secs(1), &mut one).await.is_err());
    requests.pop();
    assert!(two.await.is_some());
    all.into_iter().for_each(|lease| memory.0.newcomers.put(lease));
}

#[tokio::test(start_paused = true)]
async fn what_comes_free_is_for_whoever_has_least() {
    let memory = memory();
    let (mut greedy, mut first) = fill(&memory, 1);
    let mut others: Vec<_> = (2..5).map(|client| fill(&memory, client)).collect();
    assert!(others[0].0.len() >= others[1].0.len() && others[1].0.len() > others[2].0.len());
    // The one with least has it.
    greedy.pop();
    memory.let_in();
    let account = others[2].1.told.try_recv().unwrap();
    assert!(first.told.try_recv().is_err() && others[0].1.told.try_recv().is_err());
    drop(account);
    memory.let_in();
    assert!(first.told.try_recv().is_err(), "there is room, and it has more than its share");
}

#[tokio::test(start_paused = true)]
async fn when_the_parking_is_full_the_largest_party_makes_room() {
    let memory = memory();
    let (_greedy, first) = fill(&memory, 1);
    let mut parked = vec![first];
    loop {
        match memory.arrive(peer(1), false, false) {
            Arrival::Parked(one) => parked.push(one),
            Arrival::Full => break,
            Arrival::In(account) => panic!("{account:?}"),
        }
    }
    assert_eq!((parked.len(), memory.facts().displaced), (memory.plan().places(), 1));
    let (mut in_all, mut wait) = (Vec::new(), Vec::new());
    for client in 2..102 {
        match memory.arrive(peer(client), false, false) {
            Arrival::In(account) => in_all.push(account),
            Arrival::Parked(one) => wait.push(one),
            Arrival::Full => panic!("{client} has found no place"),
        }
    }
    assert!(!in_all.is_empty() && !wait.is_empty());
    let lost = |one: &mut Parked| matches!(one.told.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(parked.iter_mut().map(lost).filter(|lost| *lost).count(), wait.len());
    assert_eq!(memory.facts().parked, memory.plan().places() as u64);
    // Those that are out leave nothing behind, in whatever order.
    drop(parked);
    assert_eq!(memory.facts().parked, wait.len() as u64);
    memory.empty_parking();
    assert_eq!(memory.facts().parked, 0);
    for mut one in wait {
        assert!(one.let_in().await.is_none());
    }
    assert_eq!(memory.facts().parked, 0);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_has_no_share_of_its_own_and_keeps_its_place() {
    let memory = memory();
    let small = let_in(&memory, 9);
    let mut through = Vec::new();
    while let Arrival::In(account) = memory.arrive(peer(1), true, false) {
        through.push(account);
    }
    let floor = memory.plan().floor();
    assert!(through.len() as u64 * floor > memory.plan().spendable() / 100 * 80, "{}", through.len());
    let mut parked = Vec::new();
    while memory.has_place() {
        match memory.arrive(peer(1), true, false) {
            Arrival::Parked(one) => parked.push(one),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(parked.len(), memory.plan().places());
    // Others find no place, until there is one; then the proxy's displace them.
    let mut others = Vec::new();
    let lost = loop {
        match memory.arrive(peer(9), false, false) {
            Arrival::In(account) => others.push(account),
            other => break other,
        }
    };
    assert!(matches!(lost, Arrival::Full), "{lost:?}");
    parked.pop();
    let Arrival::Parked(mut other) = memory.arrive(peer(9), false, false) else { panic!("there is a place") };
    assert!(memory.has_place(), "it may be displaced");
    let Arrival::Parked(one) = memory.arrive(peer(1), true, false) else { panic!("a proxy displaces it") };
    assert!(other.let_in().await.is_none() && !memory.has_place());
    drop((small, one));
}

#[tokio::test(start_paused = true)]
async fn a_request_beyond_its_share_does_not_take_what_a_newcomer_waits_for() {
    let memory = memory();
    let (greedy, _parked) = fill(&memory, 1);
    greedy.iter().for_each(|account| account.speaks(Kind::Http1));
    let mut requests = std::collections::VecDeque::new();
    while let Some(charge) = greedy[requests.len() % greedy.len()].request_now(0) {
        requests.push_back(charge);
    }
    // Another one comes, and keeps all of each floor. The first one's requests end, and it asks again at once.
    let mut inside = Vec::new();
    let mut waiting = Vec::new();
    for _ in 0..200 {
        match memory.arrive(peer(2), false, false) {
            Arrival::In(account) => inside.push(account),
            Arrival::Parked(parked) => waiting.push(parked),
            Arrival::Full => panic!("there are places"),
        }
    }
    for _ in 0..requests.len() * 2 {
        requests.pop_front();
        memory.let_in();
        requests.extend(greedy[0].request_now(0));
        waiting.retain_mut(|parked| match parked.told.try_recv() {
            Ok(account) => {
                inside.push(account);
                false
            }
            Err(_) => true,
        });
    }
    let share = memory.plan().tier(FLOOR_SHARE) / 2 / memory.plan().floor();
    assert!(inside.len() as u64 >= share * 9 / 10, "{} of {share}", inside.len());
    // Nobody within its share waits any more, so the first one may use the rest.
    assert!(!memory.is_any_owed() && !requests.is_empty());
    assert!(greedy[0].request_now(0).is_some());
}

/// Whatever happens at once, everything comes back.
#[test]
fn nothing_is_lost_when_all_come_and_go_at_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let memory = Memory::new(Plan::new(Plan::LEAST, false, false));
    let rest = memory.facts().charged_bytes;
    runtime.block_on(async {
        let letting_in = tokio::spawn({
            let memory = memory.clone();
            async move {
                loop {
                    memory.let_in();
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut all = tokio::task::JoinSet::new();
        for seed in 0..8u64 {
            let memory = memory.clone();
            all.spawn(async move {
                let mut chance = seed;
                let mut below = move |most: u64| {
                    chance = chance
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (chance >> 33) % most
                };
                let mut held = Vec::new();
                for _ in 0..3_000 {
                    let last = below(10) == 0;
                    let account = match memory.arrive(peer(below(20) as u8), below(20) == 0, last) {
                        Arrival::In(account) => Some(account),
                        // Some leave before it is their turn.
                        Arrival::Parked(mut parked) => {
                            let most = Duration::from_micros(below(300));
                            timeout(most, parked.let_in()).await.ok().flatten()
                        }
                        Arrival::Full => None,
                    };
                    if let Some(account) = account {
                        if below(2) == 0 {
                            account.speaks(Kind::Http1);
                            let most = Duration::from_micros(below(300));
                            let charge = timeout(most, account.request(below(9_000), most)).await;
                            held.push((Arc::clone(&account), charge.ok().flatten()));
                        }
                        held.push((account, None));
                    }
                    while held.len() > 10 {
                        held.swap_remove(below(held.len() as u64) as usize);
                    }
                }
            });
        }
        while let Some(done) = all.join_next().await {
            done.unwrap();
        }
        letting_in.abort();
        let _ = letting_in.await;
    });
    let facts = memory.facts();
    assert_eq!((facts.charged_bytes, facts.holders, facts.parties, facts.parked), (rest, 0, 0, 0));
    assert_eq!(memory.0.newcomers.left(), memory.plan().newcomers());
}
