//! A ticker: one quote every 10 ms, to listeners of which some read slowly, and one not at all. Each said when it subscribed
//! what is to happen when it falls behind. Nobody stops the others for longer than that, nothing piles up, and in the end
//! each knows what it missed.
//!
//! ```sh
//! cargo run -p example-broadcast
//! ```
//!
//! The connections are pipes of 64 bytes, in place of sockets with buffers that would take minutes to fill.

use std::error::Error;
use std::fmt::Write;
use std::time::Duration;

use tidegate::writer::broadcast::{Broadcast, Event, Late, Ledger, Policy, Subscriber, Terms};
use tidegate::writer::{LineError, LineReader, LineWriter, Progress, Writers};
use tokio::io::{DuplexStream, duplex};
use tokio::time::{MissedTickBehavior, interval, sleep};

type Failure = Box<dyn Error + Send + Sync>;

const QUOTES: u64 = 300;
const EVERY: Duration = Duration::from_millis(10);
/// How far behind a listener may be.
const BEHIND: u64 = 8;
/// A peer that takes nothing for so long has gone.
const STALL: Duration = Duration::from_secs(2);

/// Somebody who listens.
#[derive(Clone, Copy)]
struct Listens {
    name: &'static str,
    policy: Policy,
    /// What it does with a quote before it reads the next.
    busy: Duration,
}

const LISTENERS: [Listens; 7] = [
    Listens { name: "quick", policy: Policy::Disconnect, busy: Duration::from_millis(1) },
    Listens { name: "slow, latest will do", policy: Policy::DropOldest, busy: Duration::from_millis(35) },
    Listens { name: "slow, needs all", policy: Policy::Disconnect, busy: Duration::from_millis(35) },
    Listens {
        name: "a little slow, waited for",
        policy: Policy::wait(Duration::from_millis(100)),
        busy: Duration::from_millis(12),
    },
    Listens {
        name: "very slow, waited for",
        policy: Policy::wait(Duration::from_millis(100)),
        busy: Duration::from_millis(400),
    },
    Listens {
        name: "very slow, then cut",
        policy: Policy::Wait { patience: Duration::from_millis(100), then: Late::Disconnect },
        busy: Duration::from_millis(400),
    },
    Listens { name: "does not read", policy: Policy::DropOldest, busy: Duration::MAX },
];

/// What a listener saw, and what is known of it here.
struct Row {
    name: &'static str,
    heard: u64,
    told: u64,
    ledger: Ledger,
    end: String,
}

/// Brings to one connection what its subscriber gets, as lines.
async fn deliver(
    mut subscriber: Subscriber<String>,
    mut lines: LineWriter<DuplexStream>,
) -> (Ledger, Result<(), Failure>) {
    let end = bring(&mut subscriber, &mut lines).await;
    let ended = match end {
        Ok(()) => lines.finish().await.map(drop).map_err(Into::into),
        Err(error) => Err(error), // dropped unfinished: its peer does not take this for the whole
    };
    (subscriber.leave(), ended)
}

async fn bring(
    subscriber: &mut Subscriber<String>,
    lines: &mut LineWriter<DuplexStream>,
) -> Result<(), Failure> {
    while let Some(event) = subscriber.recv().await? {
        match event {
            Event::Item(quote) => lines.send(quote).await?,
            Event::Gap(missed) => lines.send(format!("MISSED {missed}")).await?,
            _ => {}
        }
    }
    lines.send("END").await?;
    Ok(())
}

/// The other end: reads, and is busy with each quote. How many it heard, how many it was told it missed, and how it ended.
async fn listen(io: DuplexStream, busy: Duration) -> (u64, u64, &'static str) {
    let (mut lines, mut heard, mut told) = (LineReader::new(io), 0, 0);
    // One that does not read looks in the end what there was.
    let busy = match busy > STALL {
        true => {
            sleep(STALL * 3).await;
            Duration::ZERO
        }
        false => busy,
    };
    loop {
        match lines.read_line(200).await {
            Ok(Some(line)) => match line.as_str().unwrap_or_default().strip_prefix("MISSED ") {
                Some(missed) => told += missed.parse::<u64>().unwrap_or_default(),
                None if *line == *b"END" => return (heard, told, "heard the end"),
                None => heard += 1,
            },
            Ok(None) | Err(LineError::Cut { .. }) => return (heard, told, "the line broke off"),
            Err(_) => return (heard, told, "the line failed"),
        }
        sleep(busy).await;
    }
}

async fn run() -> Result<Vec<Row>, Failure> {
    let mut ticker = Broadcast::builder("ticker").max_subscribers(LISTENERS.len()).max_item(256).build();
    let writers = Writers::new().progress(Progress::default().longest_stall(STALL));
    let mut tasks = Vec::new();
    for Listens { name, policy, busy } in LISTENERS {
        let terms = Terms::new(policy).max_items(BEHIND).name(name);
        let subscriber = ticker.audience().subscribe(terms)?;
        let (here, there) = duplex(64);
        let delivering = tokio::spawn(deliver(subscriber, LineWriter::new(writers.over(here), 200)));
        tasks.push((name, delivering, tokio::spawn(listen(there, busy))));
    }

    let mut clock = interval(EVERY);
    // Having waited for somebody, it does not make up for it with a burst, in which others would fall behind.
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1..=QUOTES {
        clock.tick().await;
        ticker.publish(format!("QUOTE {number:>4} {:>7.2}", 100.0 + (number % 17) as f64 / 4.0)).await?;
    }
    let audience = ticker.audience();
    ticker.finish();

    let mut rows = Vec::new();
    for (name, delivering, listening) in tasks {
        let ((ledger, ended), (heard, told, last)) = (delivering.await?, listening.await?);
        let end = ended.err().map_or(last.to_owned(), |error| format!("{last}: {error}"));
        rows.push(Row { name, heard, told, ledger, end });
    }
    let snapshot = audience.snapshot();
    println!(
        "{} published, {} kept now, {} bytes in buffers\n",
        snapshot.published,
        snapshot.items,
        writers.stats().buffered
    );
    Ok(rows)
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<26} | {:>7} | {:>9} | {:>7} | {:>5} | {:>6} | how it ended\n",
        "listener", "offered", "delivered", "skipped", "heard", "missed"
    );
    for Row { name, heard, told, ledger, end } in rows {
        let Ledger { offered, delivered, skipped, .. } = ledger;
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{name:<26} | {offered:>7} | {delivered:>9} | {skipped:>7} | {heard:>5} | {told:>6} | {end}"
        );
    }
    text
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let rows = run().await?;
    print!("{}", table(&rows));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_hears_everything_or_how_much_it_missed_or_why_it_was_cut() {
        let rows = run().await.unwrap();
        print!("{}", table(&rows));
        for row in &rows {
            let ledger = row.ledger;
            assert_eq!(ledger.offered, ledger.delivered + ledger.skipped, "{}", row.name);
            if row.end == "heard the end" {
                assert_eq!((ledger.offered, row.heard + row.told), (QUOTES, QUOTES), "{}", row.name);
            }
        }
        let [quick, slow, needs_all, little, very, cut, silent] = rows.as_slice() else { panic!("seven") };
        assert_eq!((quick.heard, quick.told), (QUOTES, 0), "nobody slow costs it anything");
        assert!(slow.end == "heard the end" && slow.told > QUOTES / 2, "{}", slow.told);
        assert!(needs_all.end.contains("disconnected, being 9 items"), "{}", needs_all.end);
        assert_eq!((little.heard, little.told), (QUOTES, 0), "it was waited for");
        assert!(very.end == "heard the end" && very.told > QUOTES / 2, "{}", very.told);
        assert!(cut.end.contains("disconnected"), "{}", cut.end);
        assert!(silent.end.contains("took no byte for 2s"), "{}", silent.end);
        assert_eq!(table(&rows).lines().count(), LISTENERS.len() + 1);
    }
}
