//! The accounts of a pipeline, and whether it could get stuck with them.
//!
//! The rules, and why they are enough: `docs/decisions/0008-pipelines-cannot-deadlock.md`.

use std::sync::Arc;

use tidegate_control::credit::Account;

use super::error::PlanError;
use super::unheard::Unheard;
use super::worker::largest;

/// How many items may be under way to the first stage for each that it works on: Dask's `worker-saturation`. One is
/// not enough, because a worker would wait for the source each time it is done; more than a little fills memory with
/// what nobody works on (dask/distributed#6614, #7279).
pub const SATURATION: f64 = SATURATION_TENTHS as f64 / 10.0;
/// In tenths, so that ninety workers get 99 and not 100.
const SATURATION_TENTHS: u64 = 11;

/// What is known of a stage before it runs.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) name: Arc<str>,
    pub(super) concurrency: usize,
    pub(super) ordered: bool,
    pub(super) max_item: u64,
    pub(super) in_bytes: Option<u64>,
    pub(super) kind: Kind,
    pub(super) unheard: Option<Unheard>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Source,
    Each,
    Batch,
    Fold,
    Sink,
}

impl Spec {
    fn workers(&self) -> u64 {
        u64::try_from(self.concurrency).unwrap_or(u64::MAX)
    }

    fn gathers(&self) -> bool {
        matches!(self.kind, Kind::Batch | Kind::Fold)
    }

    /// Bytes that must be there for this stage whatever the others hold: one item; of one that gathers, one for each
    /// worker, because it holds that much while it waits for more.
    fn reserve(&self) -> u64 {
        let wholes = if self.gathers() { self.workers() } else { 1 };
        largest(self.max_item).saturating_mul(wholes)
    }
}

/// As many as `workers` can use, and a little more.
fn saturated(workers: u64) -> u64 {
    workers.saturating_mul(SATURATION_TENTHS).div_ceil(10).max(1)
}

fn fault<T>(message: String) -> Result<T, PlanError> {
    Err(PlanError::new(message))
}

/// The account of each stage but the sink, and the bytes that they have in common, out of `bytes` (by default as many
/// as the accounts could use).
pub(super) fn accounts(stages: &[Spec], bytes: Option<u64>) -> Result<(Vec<Account>, u64), PlanError> {
    for stage in stages {
        check(stage)?;
    }
    let mut accounts = Vec::new();
    for (stage, next) in stages.iter().zip(stages.iter().skip(1)) {
        accounts.push(account(stage, next)?);
    }
    let sum =
        |of: fn(&Account) -> u64| accounts.iter().fold(0_u64, |sum, account| sum.saturating_add(of(account)));
    let reserves = sum(|account| account.reserve);
    let bytes = bytes.unwrap_or_else(|| sum(|account| account.most));
    if bytes < reserves {
        let each = stages.iter().map(|stage| format!("{} {}", stage.name, stage.reserve()));
        let each: Vec<_> = each.take(accounts.len()).collect();
        return fault(format!(
            "{bytes} bytes are too few for this pipeline, which could get stuck with less than {reserves}: one of the largest \
             items of each stage ({}). Give it more, or lower max_item",
            each.join(", ")
        ));
    }
    Ok((accounts, bytes - reserves))
}

fn check(stage: &Spec) -> Result<(), PlanError> {
    let name = &stage.name;
    if stage.concurrency == 0 {
        return fault(format!("stage {name:?} works on nothing: its concurrency is 0"));
    }
    if let Some((option, why)) = stage.unheard {
        return fault(format!("stage {name:?} cannot do what {option} asks: {why}. Leave it out"));
    }
    match stage.kind {
        Kind::Source if stage.concurrency > 1 => {
            fault(format!("source {name:?} is asked for one item at a time: its concurrency must be 1"))
        }
        Kind::Batch if stage.concurrency > 1 => {
            fault(format!("stage {name:?} makes one batch at a time: its concurrency must be 1"))
        }
        Kind::Sink | Kind::Fold if stage.ordered && stage.concurrency > 1 => {
            fault(format!("stage {name:?} cannot keep an order with more than one at a time"))
        }
        _ => Ok(()),
    }
}

fn account(stage: &Spec, next: &Spec) -> Result<Account, PlanError> {
    let (reserve, item) = (stage.reserve(), largest(stage.max_item));
    let under_way = match stage.kind {
        Kind::Source => saturated(next.workers()),
        _ => stage.workers().saturating_add(saturated(next.workers())),
    };
    let most = next.in_bytes.unwrap_or_else(|| item.saturating_mul(under_way).max(reserve));
    let (name, after) = (&stage.name, &next.name);
    if most < reserve {
        return fault(format!(
            "stage {after:?} takes in {most} bytes (in_bytes), and stage {name:?} before it needs {reserve} to put \
             out what it makes: raise the one, or lower the other's max_item"
        ));
    }
    if stage.kind == Kind::Batch && item > most / 2 {
        return fault(format!(
            "batches of up to {item} bytes (max_item of {name:?}) are more than half of the {most} that stage \
             {after:?} takes in (in_bytes): nothing could be gathered while a batch is worked on"
        ));
    }
    if next.kind == Kind::Batch && item > largest(next.max_item) {
        return fault(format!(
            "items of up to {item} bytes (max_item of {name:?}) do not fit in a batch of {after:?}, which has {} \
             (max_item)",
            next.max_item
        ));
    }
    let account = Account::new(reserve, most);
    Ok(match stage.kind {
        Kind::Source => account.items(under_way),
        Kind::Each if stage.ordered && stage.concurrency > 1 => account.ordered(),
        _ => account,
    })
}
