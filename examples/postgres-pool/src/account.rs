//! What clients saw, beside what the database did.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::cluster::connect;
use crate::crowd::{End, Visit, micros};

/// Longest time for the last statements to end; each ends within five seconds.
const QUIET_WITHIN: Duration = Duration::from_secs(30);

/// The figures of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    pub(crate) served: usize,
    pub(crate) refused: usize,
    pub(crate) timed_out: usize,
    pub(crate) left: usize,
    pub(crate) failed: usize,
    /// p50 and p99, from the request's head.
    pub(crate) served_in: (Duration, Duration),
    pub(crate) refused_in: (Duration, Duration),
    pub(crate) statements: usize,
    /// Statements that were executed for clients that had gone when they began.
    pub(crate) for_gone: usize,
    /// Statements that began when their client had just gone, having been sent before, and were stopped.
    pub(crate) on_the_way: usize,
    /// Statements whose client went while they ran.
    pub(crate) half_way: usize,
    /// Statements that were stopped because their client had gone.
    pub(crate) stopped: usize,
    /// What was worked on for clients after they had gone, of all that was worked.
    pub(crate) for_nobody: f64,
}

/// Waits until the last statement has ended, and reckons up.
pub(crate) async fn settle(directory: &Path, visits: &[Visit]) -> Result<Account, tokio_postgres::Error> {
    let db = connect(directory).await?;
    quiet(&db).await?;
    let mut account = Account::default();
    for visit in visits {
        *match visit.end {
            End::Served => &mut account.served,
            End::Refused => &mut account.refused,
            End::TimedOut => &mut account.timed_out,
            End::Left => &mut account.left,
            End::Failed => &mut account.failed,
        } += 1;
    }
    account.served_in = quantiles(visits, End::Served);
    account.refused_in = quantiles(visits, End::Refused);
    let rows = db
        .query(
            "SELECT client, (extract(epoch FROM began) * 1e6)::bigint, (extract(epoch FROM ended) * 1e6)::bigint, stopped
             FROM statements",
            &[],
        )
        .await?;
    account.statements = rows.len();
    let (mut worked, mut for_nobody) = (0, 0);
    for row in rows {
        let (client, stopped): (i64, bool) = (row.try_get(0)?, row.try_get(3)?);
        let (began, ended): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
        worked += ended - began;
        account.stopped += usize::from(stopped);
        let visit = usize::try_from(client).ok().and_then(|client| visits.get(client));
        let Some(gone) = visit.and_then(|visit| visit.gone).map(micros) else { continue };
        for_nobody += (ended - began.max(gone)).max(0);
        if began > gone {
            *if stopped { &mut account.on_the_way } else { &mut account.for_gone } += 1;
        } else if ended > gone {
            account.half_way += 1;
        }
    }
    account.for_nobody = for_nobody as f64 / (worked as f64).max(1.0);
    Ok(account)
}

/// Forgets the statements of the run before.
pub(crate) async fn clear(directory: &Path) -> Result<(), tokio_postgres::Error> {
    connect(directory).await?.batch_execute("TRUNCATE statements").await
}

/// Waits until no statement has run for a tenth of a second.
async fn quiet(db: &Client) -> Result<(), tokio_postgres::Error> {
    let begun = Instant::now();
    let mut idle = 0;
    while idle < 5 && begun.elapsed() < QUIET_WITHIN {
        let row = db
            .query_one(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT work(%'",
                &[],
            )
            .await?;
        idle = if row.try_get::<_, i64>(0)? == 0 { idle + 1 } else { 0 };
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The p50 and p99 of those that ended so.
fn quantiles(visits: &[Visit], end: End) -> (Duration, Duration) {
    let mut took: Vec<_> = visits.iter().filter(|visit| visit.end == end).map(|visit| visit.took).collect();
    took.sort_unstable();
    let at = |percent: usize| {
        let rank = (took.len() * percent).div_ceil(100);
        took.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    };
    (at(50), at(99))
}
