//! The service with the gate and with the pool alone, under the same loads, side by side.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::Failure;
use crate::account::{Account, clear, settle};
use crate::cluster::Cluster;
use crate::crowd::Crowd;
use crate::service::SETTINGS;

/// Loads as shares of what the pool can carry, and how many clients come: at ten times, 10,000 in four seconds.
const LOADS: [(f64, usize); 3] = [(0.2, 500), (1.0, 2_000), (10.0, 10_000)];
/// Three in ten leave without a word.
const LEAVING: f64 = 0.3;
/// Bar: p99 of refusals, from the request's head.
const REFUSED_WITHIN: Duration = Duration::from_millis(20);

/// Runs every load against both, prints the figures, and whether the three bars hold.
pub(crate) async fn compare() -> Result<(), Failure> {
    let cluster = Cluster::start(2 * SETTINGS.pool).await?;
    println!(
        "a pool of {}, statements of {:?} on average: {} a second; clients wait {:?}, three in ten leave earlier\n",
        SETTINGS.pool,
        SETTINGS.statement,
        SETTINGS.capacity(),
        SETTINGS.patience,
    );
    println!(
        "{:<5}{:>5} {:>8} {:>7} {:>8} {:>8} {:>6} {:>7} {:>16} {:>16} {:>11} {:>9} {:>9} {:>8} {:>11}",
        "",
        "load",
        "clients",
        "served",
        "refused",
        "timeout",
        "left",
        "failed",
        "served p50/p99",
        "refused p50/p99",
        "statements",
        "for gone",
        "half-way",
        "stopped",
        "for nobody",
    );
    let mut accounts = Vec::new();
    for which in ["gate", "pool", "care"] {
        for (load, clients) in LOADS {
            let account = measure(which, cluster.directory(), load, clients).await?;
            show(which, load, clients, &account);
            if which == "gate" {
                accounts.push(account);
            }
        }
    }
    println!(
        "\ngate: the gate before the pool; pool: the pool alone; care: the pool alone, and a statement whose client leaves \
         keeps its connection to its end\nmilliseconds from the request's head; for gone: statements executed although their client had closed its \
         connection before they began; half-way: statements whose client left while they ran; stopped: those that were \
         stopped for that; for nobody: the time worked for clients that had gone, of all the time worked\n"
    );
    if let [unloaded, _, overloaded] = accounts[..] {
        verdict(&unloaded, &overloaded);
    }
    Ok(())
}

async fn measure(which: &str, directory: &Path, load: f64, clients: usize) -> Result<Account, Failure> {
    clear(directory).await?;
    // A process of its own, so that the clients do not take its turns.
    let (_service, address) = start(which, directory).await?;
    let crowd = Crowd {
        address,
        clients,
        rate: load * SETTINGS.capacity(),
        patience: SETTINGS.patience,
        leaving: LEAVING,
        seed: 1,
    };
    Ok(settle(directory, &crowd.come().await).await?)
}

async fn start(which: &str, directory: &Path) -> Result<(Child, SocketAddr), Failure> {
    let mut service = Command::new(std::env::current_exe()?)
        .args(["serve", which, "127.0.0.1:0"])
        .arg(directory)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut said = String::new();
    if let Some(stdout) = service.stdout.take() {
        BufReader::new(stdout).read_line(&mut said).await?;
    }
    let address = said.trim().strip_prefix("listening on ").ok_or("the service did not come up")?.parse()?;
    Ok((service, address))
}

fn show(which: &str, load: f64, clients: usize, account: &Account) {
    let pair = |(p50, p99): (Duration, Duration)| format!("{:.1} / {:.1}", millis(p50), millis(p99));
    println!(
        "{which:<5}{:>5} {clients:>8} {:>7} {:>8} {:>8} {:>6} {:>7} {:>16} {:>16} {:>11} {:>9} {:>9} {:>8} {:>10.1}%",
        format!("{load}x"),
        account.served,
        account.refused,
        account.timed_out,
        account.left,
        account.failed,
        pair(account.served_in),
        pair(account.refused_in),
        account.statements,
        account.for_gone,
        account.half_way,
        account.stopped,
        100.0 * account.for_nobody,
    );
}

/// The three bars, at ten times the load.
fn verdict(unloaded: &Account, overloaded: &Account) {
    let say = |holds: bool, what: String| println!("{:<8}{what}", if holds { "holds" } else { "MISSED" });
    let (p99, wait) = (unloaded.served_in.1, SETTINGS.promised_wait());
    let bar = 2 * p99 + wait;
    say(
        overloaded.served_in.1 <= bar,
        format!(
            "p99 of served {:.1} ms, at most 2 x {:.1} ms unloaded + {} ms promised = {:.1} ms",
            millis(overloaded.served_in.1),
            millis(p99),
            wait.as_millis(),
            millis(bar)
        ),
    );
    say(
        overloaded.refused_in.1 <= REFUSED_WITHIN,
        format!(
            "p99 of refusals {:.1} ms, at most {} ms",
            millis(overloaded.refused_in.1),
            REFUSED_WITHIN.as_millis()
        ),
    );
    say(
        overloaded.for_gone == 0,
        format!(
            "statements executed for clients that had gone: {}, at most 0; {} were on the way to the database when the \
             client left, and were stopped",
            overloaded.for_gone, overloaded.on_the_way
        ),
    );
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
