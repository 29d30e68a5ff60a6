use proptest::prelude::*;

use super::*;

const FLOOR: u64 = 100;
/// What an idle connection of HTTP/1 keeps of it.
const IDLE: u64 = 10;
const WHOLE: u64 = 2_000;
const KEPT: u64 = 600;
const PLACES: usize = 12;

fn client(number: u8) -> Party {
    Party::new([10, 0, 0, number].into(), false)
}

fn proxy() -> Party {
    Party::new([10, 0, 0, 200].into(), true)
}

/// The same as `Shares`, as one plain list of connections, of which everything is counted anew each time.
#[derive(Debug, Default)]
struct Model {
    all: Vec<Connection>,
    turns: u64,
}

#[derive(Clone, Debug)]
struct Connection {
    party: Party,
    state: State,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Parked(u64),
    In { bytes: u64, kept: u64 },
}

impl Model {
    fn of(&self, party: Party) -> impl Iterator<Item = &Connection> {
        self.all.iter().filter(move |connection| connection.party == party)
    }

    fn parties(&self) -> Vec<Party> {
        let mut parties: Vec<_> = self.all.iter().map(|connection| connection.party).collect();
        parties.sort_by_key(ToString::to_string);
        parties.dedup();
        parties
    }

    fn held(&self, party: Party) -> (u64, u64) {
        self.of(party).fold((0, 0), |(all, own), connection| match connection.state {
            State::In { bytes, kept } => (all + bytes, own + kept),
            State::Parked(_) => (all, own),
        })
    }

    fn line(&self, party: Party) -> Vec<u64> {
        let mut line: Vec<_> = (self.of(party))
            .filter_map(|connection| match connection.state {
                State::Parked(turn) => Some(turn),
                State::In { .. } => None,
            })
            .collect();
        line.sort_unstable();
        line
    }

    fn parked(&self) -> usize {
        self.parties().into_iter().map(|party| self.line(party).len()).sum()
    }

    fn now(&self) -> Now {
        let (all, kept) = self
            .parties()
            .into_iter()
            .map(|party| self.held(party))
            .fold((0, 0), |sum, held| (sum.0 + held.0, sum.1 + held.1));
        let used = all - kept + FLOOR;
        Now {
            floor: FLOOR,
            whole: WHOLE / 100 * 85,
            half_free: used <= WHOLE / 2,
            fits: used <= WHOLE / 100 * 85,
            kept: KEPT - kept,
        }
    }

    /// Who is next, and of what, by the words of the law.
    fn next(&self) -> Option<(Party, Source)> {
        let (now, parties) = (self.now(), self.parties());
        let count = parties.len() as u64;
        let share = |parties: u64| match parties {
            1 => u64::MAX,
            _ => (WHOLE / 100 * 85 / parties).max(2 * FLOOR),
        };
        let mut candidates = Vec::new();
        for party in parties {
            let (held, of_kept) = self.held(party);
            let Some(first) = self.line(party).first().copied() else { continue };
            let within = |share| party.is_proxy() || held == 0 || held + FLOOR <= share;
            let common = now.fits && (now.half_free || within(share(count)));
            let kept = within(share(count + 1))
                && now.kept >= FLOOR
                && (of_kept == 0 || of_kept + FLOOR <= now.kept - FLOOR);
            if common || kept {
                let rank = if party.is_proxy() { 0 } else { held };
                candidates.push((rank, first, party, if common { Source::Common } else { Source::Kept }));
            }
        }
        candidates.sort_by_key(|(rank, first, ..)| (*rank, *first));
        candidates.first().map(|(_, _, party, source)| (*party, *source))
    }

    /// Who goes if there are too many.
    fn overflow(&self) -> Option<u64> {
        if self.parked() <= PLACES {
            return None;
        }
        let lines = self.parties().into_iter().filter(|party| !self.line(*party).is_empty());
        let mut lines: Vec<_> = lines
            .map(|party| {
                let line = self.line(party);
                let newest = *line.last().unwrap();
                ((!party.is_proxy(), line.len(), self.held(party).0, newest), newest)
            })
            .collect();
        lines.sort_unstable();
        lines.last().map(|(_, newest)| *newest)
    }

    fn forget(&mut self, turn: u64) {
        self.all.retain(|connection| connection.state != State::Parked(turn));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Arrive(u8),
    LetIn,
    /// A connection that was let in gives most of its floor back.
    Shrink(usize),
    Leave(usize),
    GiveUp(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..6u8).prop_map(Step::Arrive),
        5 => Just(Step::LetIn),
        2 => (0..64usize).prop_map(Step::Shrink),
        3 => (0..64usize).prop_map(Step::Leave),
        1 => (0..64usize).prop_map(Step::GiveUp),
    ]
}

proptest! {
    #[test]
    fn the_law_is_what_its_words_say(steps in prop::collection::vec(step(), 0..200)) {
        let mut shares = Shares::new(PLACES);
        let mut model = Model::default();
        let mut held: HashMap<Party, Arc<Held>> = HashMap::new();
        for step in steps {
            match step {
                Step::Arrive(number) => {
                    let party = if number == 5 { proxy() } else { client(number) };
                    let others = model.all.iter().any(|c| matches!(c.state, State::Parked(_)) && !c.party.is_proxy());
                    prop_assert_eq!(shares.has_place(), model.parked() < PLACES || others);
                    let turn = model.turns;
                    model.turns += 1;
                    model.all.push(Connection { party, state: State::Parked(turn) });
                    prop_assert_eq!(shares.arrive(party, turn), turn);
                    let out = shares.overflow(false);
                    prop_assert_eq!(out, model.overflow());
                    out.into_iter().for_each(|out| model.forget(out));
                    prop_assert!(model.parked() <= PLACES);
                }
                Step::LetIn => {
                    let next = shares.next(&model.now());
                    prop_assert_eq!(next, model.next());
                    if let Some((party, source)) = next {
                        let (turn, of) = shares.let_in(&party, FLOOR, source).unwrap();
                        prop_assert_eq!(Some(turn), model.line(party).first().copied());
                        let kept = if source == Source::Kept { FLOOR } else { 0 };
                        held.insert(party, of);
                        let one = model.all.iter_mut().find(|c| c.state == State::Parked(turn)).unwrap();
                        one.state = State::In { bytes: FLOOR, kept };
                    }
                }
                Step::Shrink(at) => {
                    let ins = model.all.iter_mut().filter(|c| matches!(c.state, State::In { .. }));
                    let mut ins: Vec<_> = ins.collect();
                    if ins.is_empty() { continue }
                    let at = at % ins.len();
                    let State::In { bytes, kept } = ins[at].state.clone() else { unreachable!() };
                    let rest = kept.min(IDLE);
                    held[&ins[at].party].give(bytes - IDLE, kept - rest);
                    ins[at].state = State::In { bytes: IDLE, kept: rest };
                }
                Step::Leave(at) => {
                    let ins = (0..model.all.len()).filter(|i| matches!(model.all[*i].state, State::In { .. }));
                    let ins: Vec<_> = ins.collect();
                    if ins.is_empty() { continue }
                    let gone = model.all.remove(ins[at % ins.len()]);
                    let State::In { bytes, kept } = gone.state else { unreachable!() };
                    held[&gone.party].give(bytes, kept);
                    shares.leave(&gone.party);
                }
                Step::GiveUp(at) => {
                    let turns = model.all.iter().filter_map(|c| match c.state {
                        State::Parked(turn) => Some((c.party, turn)),
                        State::In { .. } => None,
                    });
                    let turns: Vec<_> = turns.collect();
                    if turns.is_empty() { continue }
                    let (party, turn) = turns[at % turns.len()];
                    prop_assert_eq!(shares.give_up(&party, turn), Some(turn));
                    prop_assert_eq!(shares.give_up(&party, turn), None);
                    model.forget(turn);
                }
            }
            prop_assert_eq!(shares.parked(), model.parked());
            prop_assert_eq!(shares.parties(), model.parties().len());
            for standing in shares.standings() {
                prop_assert_eq!(standing.parked, model.line(standing.party).len());
                prop_assert_eq!(standing.bytes, model.held(standing.party).0);
            }
            // Never more than there is.
            let now = model.now();
            prop_assert!(now.kept <= KEPT);
        }
        // Nothing is left of those that have left.
        drop(shares.clear());
        for gone in model.all.iter().filter(|c| matches!(c.state, State::In { .. })) {
            shares.leave(&gone.party);
        }
        prop_assert_eq!((shares.parties(), shares.parked(), shares.lines.len()), (0, 0, 0));
    }
}

/// A crowd of parties that always want more, and what each of them has.
struct Crowd {
    shares: Shares<()>,
    held: HashMap<Party, Arc<Held>>,
    /// Who has a connection, and what it takes of what is kept.
    inside: Vec<(Party, u64)>,
}

impl Crowd {
    fn now(&self, whole: u64, kept: u64) -> Now {
        let of_kept: u64 = self.inside.iter().map(|(_, kept)| kept).sum();
        let used = (self.inside.len() as u64 + 1) * FLOOR - of_kept;
        Now {
            floor: FLOOR,
            whole: whole / 100 * 85,
            half_free: used <= whole / 2,
            fits: used <= whole / 100 * 85,
            kept: kept - of_kept,
        }
    }

    fn let_in(&mut self, whole: u64, kept: u64) {
        while let Some((party, source)) = self.shares.next(&self.now(whole, kept)) {
            let ((), held) = self.shares.let_in(&party, FLOOR, source).unwrap();
            let of_kept = if source == Source::Kept { FLOOR } else { 0 };
            self.held.insert(party, held);
            self.inside.push((party, of_kept));
        }
    }

    fn counts(&self, parties: impl Iterator<Item = u8>) -> Vec<f64> {
        parties
            .map(|number| self.inside.iter().filter(|(party, _)| *party == client(number)).count() as f64)
            .collect()
    }
}

#[test]
fn who_came_late_has_its_share_once_as_much_has_come_back() {
    const FLOORS: u64 = 140;
    let (whole, kept) = (FLOORS * FLOOR, 14 * FLOOR);
    let mut crowd = Crowd { shares: Shares::new(10_000), held: HashMap::new(), inside: Vec::new() };
    for _ in 0..1000 {
        crowd.shares.arrive(client(0), ());
    }
    crowd.let_in(whole, kept);
    // Alone, it has all that connections may have, and nothing of what is kept.
    assert_eq!(crowd.counts(0..1), [119.0]);
    for number in (1..=10).cycle().take(1000) {
        crowd.shares.arrive(client(number), ());
    }
    crowd.let_in(whole, kept);
    let counts = crowd.counts(1..11);
    assert!(counts.iter().filter(|count| **count >= 1.0).count() >= 7, "{counts:?}");
    // One after the other goes and comes again, whoever it is: those of the first one like those of the others.
    for at in (0..).step_by(7919).take(400) {
        let (party, of_kept) = crowd.inside.remove(at % crowd.inside.len());
        crowd.held[&party].give(FLOOR, of_kept);
        crowd.shares.leave(&party);
        crowd.shares.arrive(party, ());
        crowd.let_in(whole, kept);
    }
    let (counts, inside) = (crowd.counts(1..11), crowd.inside.len() as f64);
    assert!(counts.iter().all(|count| *count >= 0.9 * inside / 11.0), "{counts:?} of {inside}");
}

#[test]
fn one_that_is_over_its_share_gets_no_more_although_there_is_room() {
    let mut crowd = Crowd { shares: Shares::new(100), held: HashMap::new(), inside: Vec::new() };
    let (whole, kept) = (20 * FLOOR, 0);
    for _ in 0..20 {
        crowd.shares.arrive(client(0), ());
    }
    crowd.let_in(whole, kept);
    assert_eq!(crowd.counts(0..1), [17.0]);
    crowd.shares.arrive(client(1), ());
    crowd.let_in(whole, kept);
    assert_eq!(crowd.counts(0..2), [17.0, 0.0]);
    for _ in 0..5 {
        let at = crowd.inside.iter().position(|(party, _)| *party == client(0)).unwrap();
        let (party, of_kept) = crowd.inside.remove(at);
        crowd.held[&party].give(FLOOR, of_kept);
        crowd.shares.leave(&party);
        crowd.let_in(whole, kept);
    }
    // The first that came back is the other's; four are free, for it or whoever comes.
    assert_eq!(crowd.counts(0..2), [12.0, 1.0]);
    // Alone again, it has all of it.
    let at = crowd.inside.iter().position(|(party, _)| *party == client(1)).unwrap();
    crowd.inside.remove(at);
    crowd.held[&client(1)].give(FLOOR, 0);
    crowd.shares.leave(&client(1));
    crowd.let_in(whole, kept);
    assert_eq!(crowd.counts(0..2), [15.0, 0.0]);
}

/// Two are let in one after the other before either of them does anything: the second is not given what the first was.
#[test]
fn a_floor_counts_from_the_moment_it_is_given() {
    let mut shares = Shares::new(100);
    let full = Now { floor: FLOOR, whole: 4 * FLOOR, half_free: false, fits: true, kept: 2 * FLOOR };
    for number in [0, 0, 0, 1] {
        shares.arrive(client(number), ());
    }
    assert_eq!(shares.next(&full), Some((client(0), Source::Common)), "it came first");
    let ((), held) = shares.let_in(&client(0), FLOOR, Source::Common).unwrap();
    assert_eq!((held.bytes(), held.kept()), (FLOOR, 0));
    assert_eq!(shares.next(&full), Some((client(1), Source::Common)), "it holds less");
    let short = Now { fits: false, ..full };
    assert_eq!(shares.next(&short), Some((client(1), Source::Kept)));
    let ((), held) = shares.let_in(&client(1), FLOOR, Source::Kept).unwrap();
    assert_eq!((held.bytes(), held.kept()), (FLOOR, FLOOR));
}
