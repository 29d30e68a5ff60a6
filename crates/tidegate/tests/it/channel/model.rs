//! The channel against a naive model: some lists, some sums.
//!
//! After every step the two agree on who is in, who waits, who was granted room and how much is free. With that hold: queued and
//! leased never pass the bound, but for one oversize item alone (I1); every item is accounted for (I2); whoever fits is granted
//! its room and woken (I3); what is dropped gives its credit back before the drop returns (I4); a snapshot is of one moment (I5).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use proptest::prelude::*;
use tidegate::channel::{Leased, Overflow, Oversize, Permit, Reserve, Sender, Sending, Sent, Why};

use super::lists::{Model, Policy};
use super::{Bag, Rings, channel, exactly};

#[derive(Clone, Debug)]
enum Step {
    Offer(u64),
    Send(u64),
    Reserve(u64),
    TryReserve(u64),
    Poll(usize),
    Cancel(usize),
    Receive,
    Drop(usize),
    Split(usize, u64),
    Use(usize),
    Shrink(usize, u64),
    GiveUp(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (weight, which) = (0..9u64, 0..64usize);
    prop_oneof![
        4 => weight.clone().prop_map(Step::Offer),
        4 => weight.clone().prop_map(Step::Send),
        2 => weight.clone().prop_map(Step::Reserve),
        1 => weight.clone().prop_map(Step::TryReserve),
        4 => which.clone().prop_map(Step::Poll),
        1 => which.clone().prop_map(Step::Cancel),
        5 => Just(Step::Receive),
        5 => which.clone().prop_map(Step::Drop),
        1 => (which.clone(), weight.clone()).prop_map(|(which, weight)| Step::Split(which, weight)),
        2 => which.clone().prop_map(Step::Use),
        1 => (which.clone(), weight).prop_map(|(which, weight)| Step::Shrink(which, weight)),
        1 => which.prop_map(Step::GiveUp),
    ]
}

enum Waiting<'s> {
    Sending(Pin<Box<Sending<'s, Bag>>>),
    Reserve(Pin<Box<Reserve<'s, Bag>>>),
}

struct Sleeper<'s> {
    who: u32,
    weight: u64,
    future: Waiting<'s>,
    rings: Arc<Rings>,
    polls: usize,
}

/// What the real one holds, beside the model.
struct World<'s> {
    sender: &'s Sender<Bag>,
    model: Model,
    sleepers: Vec<Sleeper<'s>>,
    permits: Vec<Permit<Bag>>,
    leases: Vec<Leased<Bag>>,
    parts: Vec<tidegate::channel::Charge>,
    offered: u64,
}

impl<'s> World<'s> {
    fn offer(&mut self, who: u32, weight: u64, sent: Sent<Bag>) {
        let model = &mut self.model;
        if model.oversize(weight) {
            assert!(
                matches!(sent, Sent::Refused(full) if full.why == Why::Oversize && full.item == (who, weight))
            );
        } else if model.has_room(weight) {
            assert_eq!(sent, Sent::Accepted);
            model.queue.push((who, weight));
        } else if model.policy == Policy::DropNewest {
            assert_eq!(sent, Sent::Displaced(vec![(who, weight)]));
        } else if let Some(gone) =
            if model.policy == Policy::DropOldest { model.displace(weight) } else { None }
        {
            assert_eq!(sent, Sent::Displaced(gone));
            model.queue.push((who, weight));
            model.serve();
        } else {
            let Sent::Refused(full) = sent else { panic!("{sent:?}") };
            assert_eq!((full.item, full.need, full.why), ((who, weight), weight, Why::NoRoom));
        }
    }

    /// A future is polled: it is through exactly if the model granted it room.
    fn poll(&mut self, at: usize) {
        let Some(mut sleeper) = (at < self.sleepers.len()).then(|| self.sleepers.swap_remove(at)) else {
            return;
        };
        let granted = self.model.granted.iter().position(|it| it.0 == sleeper.who);
        assert!(
            granted.is_none() || sleeper.polls == 0 || sleeper.rings.heard() > 0,
            "granted and not woken"
        );
        let rings = Arc::new(Rings::default());
        let waker = Arc::clone(&rings).into();
        let mut cx = Context::from_waker(&waker);
        let ready = match &mut sleeper.future {
            Waiting::Sending(future) => match future.as_mut().poll(&mut cx) {
                Poll::Ready(sent) => {
                    assert_eq!(sent, Ok(Sent::Accepted));
                    self.model.queue.push((sleeper.who, sleeper.weight));
                    true
                }
                Poll::Pending => false,
            },
            Waiting::Reserve(future) => match future.as_mut().poll(&mut cx) {
                Poll::Ready(permit) => {
                    let permit = permit.unwrap();
                    self.model.held.0 += permit.bytes();
                    self.model.held.1 += 1;
                    self.permits.push(permit);
                    true
                }
                Poll::Pending => false,
            },
        };
        assert_eq!(ready, granted.is_some());
        if let Some(granted) = granted {
            self.model.granted.remove(granted);
        } else {
            sleeper.rings = rings;
            sleeper.polls += 1;
            self.sleepers.push(sleeper);
        }
    }

    /// A sender or reserver that has to wait joins both lines.
    fn join(&mut self, who: u32, weight: u64, future: Waiting<'s>, rings: Arc<Rings>) {
        self.model.line.push((who, weight));
        self.model.serve();
        self.sleepers.push(Sleeper { who, weight, future, rings, polls: 1 });
    }

    fn send(&mut self, who: u32, weight: u64) {
        self.offered += 1;
        let mut future = Box::pin(self.sender.send((who, weight)));
        let (rings, waker) = Rings::waker();
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        let model = &mut self.model;
        let waits = model.policy == Policy::Wait && !model.oversize(weight) && !model.has_room(weight);
        if !waits {
            let Poll::Ready(Ok(sent)) = polled else { panic!("it does not have to wait") };
            return self.offer(who, weight, sent);
        }
        if model.line.len() >= model.places {
            assert!(matches!(polled, Poll::Ready(Ok(Sent::Refused(full))) if full.why == Why::LineFull));
            return;
        }
        // One that may pass is through at once.
        if polled.is_ready() {
            assert_eq!(polled, Poll::Ready(Ok(Sent::Accepted)));
            model.line.push((who, weight));
            model.serve();
            let granted = model.granted.iter().position(|it| it.0 == who).expect("it passed");
            model.granted.remove(granted);
            model.queue.push((who, weight));
        } else {
            self.join(who, weight, Waiting::Sending(future), rings);
            assert!(!self.model.granted.iter().any(|it| it.0 == who), "it could have passed");
        }
    }

    fn reserve(&mut self, who: u32, weight: u64) {
        let mut future = Box::pin(self.sender.reserve(weight));
        let (rings, waker) = Rings::waker();
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        let model = &mut self.model;
        let refused = model.oversize(weight) || !model.has_room(weight) && model.line.len() >= model.places;
        match polled {
            Poll::Ready(Ok(permit)) => {
                assert!(!refused);
                if !model.has_room(weight) {
                    model.line.push((who, weight));
                    model.serve();
                    let granted = model.granted.iter().position(|it| it.0 == who).expect("it passed");
                    model.granted.remove(granted);
                }
                model.held.0 += weight;
                model.held.1 += 1;
                self.permits.push(permit);
            }
            Poll::Ready(Err(_)) => assert!(refused),
            Poll::Pending => {
                assert!(!refused && !model.has_room(weight));
                self.join(who, weight, Waiting::Reserve(future), rings);
            }
        }
    }

    fn agree(&self) {
        let seen = self.sender.snapshot();
        let (bytes, items) = self.model.charged();
        let queued: u64 = self.model.queue.iter().map(|bag| bag.1).sum();
        assert_eq!((seen.items, seen.queued_bytes), (self.model.queue.len(), queued));
        assert_eq!(seen.items + seen.reserved_items + seen.leased_items, items);
        assert_eq!(seen.queued_bytes + seen.reserved_bytes + seen.leased_bytes, bytes);
        assert_eq!(seen.free, self.model.bytes.saturating_sub(bytes));
        let waiting: u64 = self.model.line.iter().map(|it| it.1).sum();
        assert_eq!((seen.waiters, seen.waiting_bytes), (self.model.line.len(), waiting));
        assert!(items <= self.model.items, "too many items");
        assert!(bytes <= self.model.bytes || self.model.alone, "too many bytes");
        let leased: u64 =
            self.leases.iter().map(Leased::bytes).chain(self.parts.iter().map(|it| it.bytes())).sum();
        assert_eq!((seen.leased_items, seen.leased_bytes), (self.leases.len(), leased));
        let tally = seen.tally;
        let sleeping =
            self.sleepers.iter().filter(|sleeper| matches!(sleeper.future, Waiting::Sending(_))).count();
        assert_eq!(tally.settled() + sleeping as u64, self.offered);
        assert_eq!(tally.accepted, tally.delivered + tally.displaced_oldest + seen.items as u64);
        let borrowed: u64 = seen.borrowers.iter().map(|borrower| borrower.bytes).sum();
        assert_eq!(borrowed, bytes);
    }
}

fn policy() -> impl Strategy<Value = Policy> {
    prop_oneof![
        3 => Just(Policy::Wait),
        1 => Just(Policy::Refuse),
        1 => Just(Policy::DropNewest),
        2 => Just(Policy::DropOldest),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn behaves_like_some_lists_and_some_sums(
        (bytes, items, places) in (1..12u64, 1..6usize, 0..12usize),
        (policy, alone) in (policy(), any::<bool>()),
        steps in prop::collection::vec(step(), 0..150),
    ) {
        let overflow = match policy {
            Policy::Wait => Overflow::Wait,
            Policy::Refuse => Overflow::Refuse,
            Policy::DropNewest => Overflow::DropNewest,
            Policy::DropOldest => Overflow::DropOldest,
        };
        let oversize = if alone { Oversize::AdmitAlone } else { Oversize::Refuse };
        let config = exactly(bytes).max_items(items).max_waiters(places).overflow(overflow).oversize(oversize);
        let (sender, mut receiver) = channel(config);
        let model = Model {
            bytes, items, places, alone, policy,
            queue: Vec::new(), held: (0, 0), line: Vec::new(), passed: 0, granted: Vec::new(),
        };
        let mut world = World {
            sender: &sender, model,
            sleepers: Vec::new(), permits: Vec::new(), leases: Vec::new(), parts: Vec::new(), offered: 0,
        };
        for (who, step) in (0u32..).zip(steps) {
            match step {
                Step::Offer(weight) => {
                    world.offered += 1;
                    let sent = sender.offer((who, weight)).unwrap();
                    world.offer(who, weight, sent);
                }
                Step::Send(weight) => world.send(who, weight),
                Step::Reserve(weight) => world.reserve(who, weight),
                Step::TryReserve(weight) => {
                    let possible = world.model.has_room(weight) && !world.model.oversize(weight);
                    let permit = sender.try_reserve(weight);
                    prop_assert_eq!(permit.is_ok(), possible);
                    if let Ok(permit) = permit {
                        world.model.held.0 += weight;
                        world.model.held.1 += 1;
                        world.permits.push(permit);
                    }
                }
                Step::Poll(which) if !world.sleepers.is_empty() => world.poll(which % world.sleepers.len()),
                Step::Cancel(which) if !world.sleepers.is_empty() => {
                    let sleeper = world.sleepers.swap_remove(which % world.sleepers.len());
                    drop(sleeper.future);
                    world.model.leave(sleeper.who);
                }
                Step::Receive => match receiver.try_recv() {
                    Ok(lease) => {
                        let bag = world.model.queue.remove(0);
                        prop_assert_eq!(lease.0, bag.0);
                        world.model.held.0 += lease.bytes();
                        world.model.held.1 += 1;
                        world.leases.push(lease);
                    }
                    Err(_) => prop_assert!(world.model.queue.is_empty()),
                },
                Step::Drop(which) if !world.leases.is_empty() => {
                    let lease = world.leases.swap_remove(which % world.leases.len());
                    world.model.held.0 -= lease.bytes();
                    world.model.held.1 -= 1;
                    drop(lease);
                    world.model.serve();
                    if let Some(part) = world.parts.pop() {
                        world.model.held.0 -= part.bytes();
                        drop(part);
                        world.model.serve();
                    }
                }
                Step::Split(which, weight) if !world.leases.is_empty() => {
                    let which = which % world.leases.len();
                    world.parts.push(world.leases[which].split(weight));
                }
                Step::Use(which) if !world.permits.is_empty() => {
                    let permit = world.permits.swap_remove(which % world.permits.len());
                    let weight = permit.bytes();
                    world.offered += 1;
                    permit.send((who, weight)).unwrap();
                    world.model.held.0 -= weight;
                    world.model.held.1 -= 1;
                    world.model.queue.push((who, weight));
                }
                Step::Shrink(which, weight) if !world.permits.is_empty() => {
                    let which = which % world.permits.len();
                    let permit = &mut world.permits[which];
                    let before = permit.bytes();
                    permit.shrink_to(weight);
                    world.model.held.0 -= before - permit.bytes();
                    world.model.serve();
                }
                Step::GiveUp(which) if !world.permits.is_empty() => {
                    let permit = world.permits.swap_remove(which % world.permits.len());
                    world.model.held.0 -= permit.bytes();
                    world.model.held.1 -= 1;
                    drop(permit);
                    world.model.serve();
                }
                _ => {}
            }
            world.agree();
        }
        let World { sleepers, permits, leases, parts, .. } = world;
        drop((leases, parts, sleepers, permits));
        while receiver.try_recv().is_ok() {}
        let seen = sender.snapshot();
        prop_assert_eq!((seen.free, seen.waiters, seen.items, seen.leased_items), (bytes, 0, 0, 0));
        prop_assert_eq!(seen.borrowers.len(), 0);
    }
}
