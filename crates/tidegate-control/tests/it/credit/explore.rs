//! Small pipelines on `Grants`, in every interleaving of their steps: some step is always possible until all is done.

use std::collections::{HashSet, VecDeque};

use tidegate_control::credit::{Account, Grants};

/// What a stage makes of what it takes.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// So many for each, one after the other.
    Each(u8),
    /// One for so many.
    Gather(u8),
    /// Nothing: the end.
    Sink,
}

#[derive(Clone, Copy, Debug)]
struct Stage {
    kind: Kind,
    workers: usize,
    ordered: bool,
}

const MAX_ITEM: u64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Worker {
    Idle,
    /// It has taken something of so many bytes and wants room for as many things.
    Wants {
        turn: u64,
        input: u64,
        outputs: u8,
    },
    /// It waits for that room.
    Waits {
        turn: u64,
        input: u64,
        outputs: u8,
    },
    /// It has room, and its function runs or waits for its turn.
    Has {
        turn: u64,
        input: u64,
        outputs: u8,
    },
    /// It gathers: so many are in.
    Gathers {
        turn: u64,
        inside: u8,
    },
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    left: u8,
    source: Worker,
    /// What waits before each stage: bytes, and the turn they were granted for.
    lines: Vec<VecDeque<(u64, u64)>>,
    /// What workers have taken, in the order of the workers.
    workers: Vec<Vec<Worker>>,
    turns: Vec<u64>,
}

struct Pipeline {
    stages: Vec<Stage>,
    bound: u64,
}

type Who = (usize, usize);

impl Pipeline {
    /// The accounts as a pipeline makes them: the reserve of one that gathers is one thing for each worker.
    fn accounts(&self, respect_order: bool) -> Vec<Account> {
        let mut accounts = vec![Account::new(MAX_ITEM, 2 * MAX_ITEM).items(2)];
        for stage in &self.stages[..self.stages.len() - 1] {
            let gathers = matches!(stage.kind, Kind::Gather(_));
            let reserve = if gathers { MAX_ITEM * stage.workers as u64 } else { MAX_ITEM };
            let account = Account::new(reserve, reserve + MAX_ITEM);
            accounts.push(if stage.ordered && respect_order { account.ordered() } else { account });
        }
        accounts
    }

    fn ended_before(&self, state: &State, stage: usize) -> bool {
        state.left == 0
            && state.source == Worker::Idle
            && state.lines[..=stage].iter().all(VecDeque::is_empty)
            && state.workers[..stage].iter().flatten().all(|worker| *worker == Worker::Idle)
    }

    fn ask(state: &mut State, grants: &mut Grants<Who>, who: Who, account: usize, bytes: u64) {
        let worker = if account == 0 { &mut state.source } else { &mut state.workers[who.0][who.1] };
        let Worker::Wants { turn, input, outputs } = *worker else { unreachable!() };
        *worker = match grants.take(account, turn, bytes) {
            Ok(()) => Worker::Has { turn, input, outputs },
            Err(_) => {
                grants.wait(account, turn, bytes, who);
                Worker::Waits { turn, input, outputs }
            }
        };
    }

    /// Every state that one step leads to.
    fn steps(&self, state: &State, grants: &Grants<Who>) -> Vec<(State, Grants<Who>)> {
        let mut reached = Vec::new();
        let mut step = |change: &dyn Fn(&mut State, &mut Grants<Who>)| {
            let (mut state, mut grants) = (state.clone(), grants.clone());
            change(&mut state, &mut grants);
            while let Some(grant) = grants.serve() {
                let (stage, worker) = grant.value;
                let worker =
                    if grant.account == 0 { &mut state.source } else { &mut state.workers[stage][worker] };
                let Worker::Waits { turn, input, outputs } = *worker else { unreachable!() };
                *worker = Worker::Has { turn, input, outputs };
            }
            assert!(grants.held() <= self.bound, "more is held than there is");
            reached.push((state, grants));
        };
        match state.source {
            Worker::Idle if state.left > 0 => step(&|state, grants| {
                let turn = state.turns[0];
                state.turns[0] += 1;
                state.source = Worker::Wants { turn, input: 0, outputs: 1 };
                Self::ask(state, grants, (0, 0), 0, MAX_ITEM);
            }),
            Worker::Has { turn, .. } => {
                for small in [false, true] {
                    step(&|state, grants| {
                        grants.shrink(0, turn, u64::from(small));
                        state.lines[0].push_back((MAX_ITEM - u64::from(small), turn));
                        state.left -= 1;
                        state.source = Worker::Idle;
                    });
                }
            }
            _ => {}
        }
        for (at, stage) in self.stages.iter().enumerate() {
            let account = at + 1;
            for (who, worker) in state.workers[at].iter().copied().enumerate() {
                let take = |state: &mut State| {
                    let taken = state.lines[at].pop_front().unwrap();
                    state.turns[account] += 1;
                    (taken, state.turns[account] - 1)
                };
                let something = !state.lines[at].is_empty();
                match (stage.kind, worker) {
                    (Kind::Sink, Worker::Idle) if something => step(&|state, _| {
                        let ((bytes, from), _) = take(state);
                        state.workers[at][who] = Worker::Has { turn: from, input: bytes, outputs: 0 };
                    }),
                    (Kind::Sink, Worker::Has { turn, input, .. }) => step(&|state, grants| {
                        grants.put_back(at, turn, input);
                        state.workers[at][who] = Worker::Idle;
                    }),
                    (kind, Worker::Idle) if something => step(&|state, _| {
                        let ((bytes, _), turn) = take(state);
                        let outputs = if let Kind::Each(outputs) = kind { outputs } else { 1 };
                        state.workers[at][who] = Worker::Wants { turn, input: bytes, outputs };
                    }),
                    (_, Worker::Wants { .. }) => {
                        step(&|state, grants| Self::ask(state, grants, (at, who), account, MAX_ITEM));
                    }
                    (Kind::Gather(_), Worker::Has { turn, input, .. }) => step(&|state, grants| {
                        // What came in is inside what was granted from now on.
                        grants.put_back(at, 0, input);
                        state.workers[at][who] = Worker::Gathers { turn, inside: 1 };
                    }),
                    (Kind::Gather(most), Worker::Gathers { turn, inside }) => {
                        if inside < most && something {
                            step(&|state, grants| {
                                let (bytes, _) = state.lines[at].pop_front().unwrap();
                                grants.put_back(at, 0, bytes);
                                state.workers[at][who] = Worker::Gathers { turn, inside: inside + 1 };
                            });
                        }
                        if inside == most || self.ended_before(state, at) {
                            step(&|state, _| {
                                state.lines[account].push_back((MAX_ITEM, turn));
                                state.workers[at][who] = Worker::Idle;
                            });
                        }
                    }
                    (_, Worker::Has { turn, input, outputs })
                        if !stage.ordered || state_head(state, at) == turn =>
                    {
                        step(&|state, grants| {
                            state.lines[account].push_back((MAX_ITEM, turn));
                            if outputs > 1 {
                                let outputs = outputs - 1;
                                state.workers[at][who] = Worker::Wants { turn, input, outputs };
                            } else {
                                grants.end(account, turn);
                                grants.put_back(at, 0, input);
                                state.workers[at][who] = Worker::Idle;
                            }
                        });
                    }
                    _ => {}
                }
            }
        }
        reached
    }

    /// Explores everything. `Err` with a state in which nothing is possible although something is left.
    fn explore(&self, common: u64, items: u8, respect_order: bool) -> Result<usize, String> {
        let accounts = self.accounts(respect_order);
        let stages = self.stages.len();
        let workers = self.stages.iter().map(|stage| vec![Worker::Idle; stage.workers]).collect();
        let start = State {
            left: items,
            source: Worker::Idle,
            lines: vec![VecDeque::new(); stages],
            workers,
            turns: vec![0; stages + 1],
        };
        let mut seen = HashSet::from([start.clone()]);
        let mut open = vec![(start, Grants::new(common, accounts))];
        while let Some((state, grants)) = open.pop() {
            let reached = self.steps(&state, &grants);
            if reached.is_empty() {
                let idle = state.workers.iter().flatten().all(|worker| *worker == Worker::Idle);
                if state.left > 0 || !idle || grants.held() > 0 {
                    return Err(format!("{:?} {:?}", state.workers, state.lines));
                }
            }
            for (state, grants) in reached {
                if seen.insert(state.clone()) {
                    open.push((state, grants));
                }
            }
        }
        Ok(seen.len())
    }
}

/// The turn that is next to end at a stage: the lowest that a worker has.
fn state_head(state: &State, stage: usize) -> u64 {
    let turns = state.workers[stage].iter().filter_map(|worker| match worker {
        Worker::Has { turn, .. } | Worker::Waits { turn, .. } | Worker::Wants { turn, .. } => Some(*turn),
        _ => None,
    });
    turns.min().unwrap_or(0)
}

fn stage(kind: Kind, workers: usize, ordered: bool) -> Stage {
    Stage { kind, workers, ordered }
}

fn pipeline(stages: &[Stage]) -> Pipeline {
    let mut pipeline = Pipeline { stages: stages.to_vec(), bound: 0 };
    pipeline.stages.push(stage(Kind::Sink, 1, false));
    pipeline
}

#[test]
fn some_step_is_always_possible() {
    let shapes: [&[Stage]; 7] = [
        &[stage(Kind::Each(1), 2, false)],
        &[stage(Kind::Each(1), 3, true)],
        &[stage(Kind::Each(2), 2, true)],
        &[stage(Kind::Each(1), 2, true), stage(Kind::Each(2), 2, false)],
        &[stage(Kind::Gather(2), 1, false), stage(Kind::Each(1), 2, true)],
        &[stage(Kind::Each(2), 2, true), stage(Kind::Gather(3), 2, false)],
        &[stage(Kind::Each(2), 2, true), stage(Kind::Gather(2), 1, false), stage(Kind::Each(1), 2, true)],
    ];
    for shape in shapes {
        for common in 0..=6 {
            let mut pipeline = pipeline(shape);
            pipeline.bound =
                common + pipeline.accounts(true).iter().map(|account| account.reserve).sum::<u64>();
            let items = if shape.len() > 2 { 3 } else { 4 };
            let states = pipeline.explore(common, items, true).unwrap_or_else(|stuck| {
                panic!("{shape:?} with {common} common bytes is stuck in {stuck}");
            });
            assert!(states > 20, "{shape:?}: only {states} states");
        }
    }
}

/// The rule bites: if whoever is behind may use the reserve, an ordered stage gets stuck.
#[test]
fn without_the_rule_for_ordered_accounts_it_gets_stuck() {
    let mut pipeline = pipeline(&[stage(Kind::Each(1), 2, true)]);
    pipeline.bound = u64::MAX;
    assert!(pipeline.explore(2, 3, false).is_err());
}
