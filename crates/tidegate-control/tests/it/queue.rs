//! `ClassQueue` against a model that keeps one plain list per class.

use std::collections::VecDeque;

use proptest::prelude::*;
use tidegate_control::queue::{ClassQueue, Criticality, Entry, Place};

#[derive(Clone, Debug)]
enum Step {
    Push {
        class: usize,
        weight: u64,
        in_place: bool,
    },
    Pop,
    /// The first, without a move, where one class waits.
    ServeOnly,
    Remove(usize),
    /// Every one whose number leaves this rest.
    TakeAll(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4usize, 1..5u64, any::<bool>())
            .prop_map(|(class, weight, in_place)| Step::Push { class, weight, in_place }),
        3 => Just(Step::Pop),
        2 => Just(Step::ServeOnly),
        2 => (0..64usize).prop_map(Step::Remove),
        1 => (0..7u32).prop_map(Step::TakeAll),
    ]
}

/// (number, weight) per class, and the turns since the floor was last served.
#[derive(Default)]
struct Model {
    lines: [VecDeque<(u32, u64)>; 4],
    turns: u32,
}

impl Model {
    fn len(&self) -> usize {
        self.lines.iter().map(VecDeque::len).sum()
    }

    fn pop(&mut self) -> Option<u32> {
        let highest = self.lines.iter().rposition(|line| !line.is_empty())?;
        let lowest = self.lines.iter().position(|line| !line.is_empty())?;
        let floor = lowest < highest && self.turns == 19;
        self.turns = if floor || lowest == highest { 0 } else { self.turns + 1 };
        self.lines[if floor { lowest } else { highest }].pop_front().map(|(number, _)| number)
    }
}

proptest! {
    #[test]
    fn behaves_like_plain_lists(capacity in 0..12usize, steps in prop::collection::vec(step(), 0..300)) {
        let mut queue = ClassQueue::new(capacity);
        let mut model = Model::default();
        let mut places: Vec<(u32, Place)> = Vec::new();
        for (number, step) in (0u32..).zip(steps) {
            match step {
                Step::Push { class, weight, in_place: true } => {
                    let taken = queue.push_free(Criticality::ALL[class], weight, 0).map(|(place, value)| {
                        *value = number;
                        place
                    });
                    prop_assert_eq!(taken.is_some(), model.len() < capacity);
                    if let Some(place) = taken {
                        places.push((number, place));
                        model.lines[class].push_back((number, weight));
                    }
                }
                Step::Push { class, weight, in_place: false } => {
                    let entry = Entry { value: number, class: Criticality::ALL[class], weight, since: 0 };
                    let victim = (0..class).find(|below| !model.lines[*below].is_empty());
                    match (model.len() < capacity, victim) {
                        (true, _) => {
                            let pushed = queue.push(entry).unwrap();
                            prop_assert!(pushed.displaced.is_none());
                            places.push((number, pushed.place));
                            model.lines[class].push_back((number, weight));
                        }
                        (false, Some(below)) => {
                            let pushed = queue.push(entry).unwrap();
                            let (out, _) = model.lines[below].pop_back().unwrap();
                            prop_assert_eq!(pushed.displaced.map(|entry| entry.value), Some(out));
                            places.push((number, pushed.place));
                            model.lines[class].push_back((number, weight));
                        }
                        (false, None) => prop_assert_eq!(queue.push(entry).unwrap_err().value, number),
                    }
                }
                Step::Pop => prop_assert_eq!(queue.pop(u64::MAX).map(|entry| entry.value), model.pop()),
                Step::ServeOnly => {
                    let only = model.lines.iter().filter(|line| !line.is_empty()).count() == 1;
                    let len = queue.len();
                    prop_assert_eq!(queue.only_first().is_some(), only);
                    prop_assert_eq!(queue.len(), len, "it stays");
                    let first = queue.only_first().map(|mut first| {
                        let number = first.entry().map(|entry| entry.value).unwrap();
                        if number % 2 == 0 { first.serve() } else { first.serve_emptied() }
                        number
                    });
                    if only {
                        prop_assert_eq!(first, model.pop());
                    }
                }
                Step::TakeAll(rest) => {
                    let taken: Vec<u32> =
                        queue.take_all(|number| number % 7 == rest).into_iter().map(|entry| entry.value).collect();
                    let all = model.lines.iter().rev().flatten().map(|(number, _)| *number);
                    let expected: Vec<u32> = all.filter(|number| number % 7 == rest).collect();
                    prop_assert_eq!(taken, expected);
                    for line in &mut model.lines {
                        line.retain(|(number, _)| number % 7 != rest);
                    }
                }
                Step::Remove(which) if !places.is_empty() => {
                    let (number, place) = places[which % places.len()];
                    let mut removed = None;
                    for line in &mut model.lines {
                        if let Some(at) = line.iter().position(|(waiting, _)| *waiting == number) {
                            removed = line.remove(at).map(|(number, _)| number);
                        }
                    }
                    prop_assert_eq!(queue.remove(place).map(|entry| entry.value), removed);
                }
                Step::Remove(_) => {}
            }
            prop_assert_eq!(queue.len(), model.len());
            let order: Vec<u32> = queue.iter().map(|entry| entry.value).collect();
            let expected: Vec<u32> =
                model.lines.iter().rev().flatten().map(|(number, _)| *number).collect();
            prop_assert_eq!(order, expected);
            for (class, name) in Criticality::ALL.iter().enumerate() {
                let ahead: u64 = model.lines[class..].iter().flatten().map(|(_, weight)| weight).sum();
                prop_assert_eq!(queue.ahead_of(*name), ahead);
            }
            for (number, place) in &places {
                let class = model.lines.iter().position(|line| line.iter().any(|(waiting, _)| waiting == number));
                let expected = class.map(|class| {
                    let above: u64 = model.lines[class + 1..].iter().flatten().map(|(_, weight)| weight).sum();
                    let before = model.lines[class].iter().take_while(|(waiting, _)| waiting != number);
                    above + before.map(|(_, weight)| weight).sum::<u64>()
                });
                prop_assert_eq!(queue.ahead(*place), expected);
            }
        }
    }
}

fn entry(value: u32, weight: u64) -> Entry<u32> {
    Entry { value, class: Criticality::Critical, weight, since: 0 }
}

#[test]
fn at_most_eight_pass_one_that_does_not_fit() {
    let mut queue = ClassQueue::new(100);
    for number in 0..50 {
        let weight = if number == 0 { 10 } else { 1 };
        assert!(queue.push(entry(number, weight)).is_ok());
    }
    let passed: Vec<u32> = std::iter::from_fn(|| queue.pop(3).map(|entry| entry.value)).collect();
    assert_eq!(passed, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(queue.pop(10).map(|entry| entry.value), Some(0), "served as soon as there is room");
    assert_eq!(queue.pop(1).map(|entry| entry.value), Some(9));
}

#[test]
fn lowest_class_gets_one_turn_in_twenty() {
    let mut queue = ClassQueue::new(1000);
    for number in 0..400 {
        let class = if number % 2 == 0 { Criticality::Sheddable } else { Criticality::CriticalPlus };
        assert!(queue.push(Entry { class, ..entry(number, 1) }).is_ok());
    }
    let low = (0..200).filter_map(|_| queue.pop(1)).filter(|entry| entry.class == Criticality::Sheddable);
    assert_eq!(low.count(), 10);
}

#[test]
fn a_place_never_means_the_next_entry_in_the_same_memory() {
    let mut queue = ClassQueue::new(1);
    let first = queue.push(entry(1, 1)).unwrap().place;
    assert_eq!(queue.remove(first).map(|entry| entry.value), Some(1));
    let second = queue.push(entry(2, 1)).unwrap().place;
    assert_ne!(first, second);
    assert_eq!(queue.get(first), None);
    assert_eq!(queue.get_mut(first), None);
    assert_eq!(queue.remove(first), None);
    assert_eq!(queue.get_mut(second), Some(&mut 2));
}

#[test]
fn each_class_is_visited_from_its_first_until_it_is_enough() {
    let mut queue = ClassQueue::new(8);
    for (since, class) in [(1, 3), (2, 0), (3, 3), (4, 0), (5, 0)] {
        let entry = Entry { value: (), class: Criticality::ALL[class], weight: 1, since };
        assert!(queue.push(entry).unwrap().displaced.is_none());
    }
    let mut visited = Vec::new();
    queue.visit_first(|entry| {
        visited.push(entry.since);
        entry.since < 4
    });
    visited.sort_unstable();
    assert_eq!(visited, [1, 2, 3, 4], "five stands behind four");
}
