//! Ten thousand chunks of a megabyte, added up as a tree by four workers: the shape of dask/distributed#2602, where
//! the chunks were loaded faster than they were added up, until the machine was full.
//!
//! `cargo run --release -p example-tree-reduce -- [SOURCES] [RUNS]` (10,000 and one pair of runs, unless given)
//! prints the most bytes that existed, and the time, of a pipeline and of a version that starts everything at once.

mod chunk;
mod eager;
mod piped;

use std::error::Error;
use std::future::Future;
use std::sync::Arc;

use tokio::time::Instant;

use chunk::Gauge;

/// Threads, and chunks that are loaded at a time.
const WORKERS: usize = 4;
/// Chunks that become one.
const FAN_IN: usize = 10;

type Answer = Result<u64, Box<dyn Error + Send + Sync>>;

/// Runs one of them. Its answer, the most bytes, the seconds.
async fn measure<F>(reduce: impl Fn(Arc<Gauge>) -> F) -> Result<(u64, u64, f64), Box<dyn Error + Send + Sync>>
where
    F: Future<Output = Answer>,
{
    let gauge = Arc::<Gauge>::default();
    let begun = Instant::now();
    let answer = reduce(Arc::clone(&gauge)).await?;
    Ok((answer, gauge.peak(), begun.elapsed().as_secs_f64()))
}

#[tokio::main(worker_threads = 4)]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse());
    let sources: u64 = numbers.next().transpose()?.unwrap_or(10_000);
    let runs = numbers.next().transpose()?.unwrap_or(1);
    let mib = |bytes: u64| bytes / chunk::BYTES;
    let bound = piped::bound(piped::levels(sources));
    let mut ratios = Vec::new();
    for run in 0..runs {
        let piped = || measure(|gauge| async move { piped::reduce(sources, &gauge).await });
        let eager = || measure(|gauge| async move { eager::reduce(sources, &gauge).await });
        // Whoever comes second finds the machine as the first has left it.
        let (piped, eager) = if run % 2 == 0 {
            (piped().await?, eager().await?)
        } else {
            swap(eager().await?, piped().await?)
        };
        println!("pipeline: {:>6} MiB at most (bound {}), {:.2} s", mib(piped.1), mib(bound), piped.2);
        println!("eager:    {:>6} MiB at most, {:.2} s", mib(eager.1), eager.2);
        if piped.0 != eager.0 {
            return Err("the two do not agree".into());
        }
        ratios.push(piped.2 / eager.2);
    }
    ratios.sort_by(f64::total_cmp);
    if let (Some(least), Some(most), Some(median)) =
        (ratios.first(), ratios.last(), ratios.get(ratios.len() / 2))
    {
        println!("time of the pipeline over that of the eager version: {least:.3} / {median:.3} / {most:.3}");
    }
    Ok(())
}

fn swap<T>(first: T, second: T) -> (T, T) {
    (second, first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fewer chunks, with as many levels: the bound is on what exists at a time, and the bytes are counted.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_pipeline_holds_what_it_works_on_and_eagerness_holds_everything() {
        const SOURCES: u64 = 123;
        let (answer, peak, _) =
            measure(|gauge| async move { piped::reduce(SOURCES, &gauge).await }).await.unwrap();
        let bound = piped::bound(piped::levels(SOURCES));
        assert!(peak <= bound, "{peak} bytes, and the bound is {bound}");
        let (same, eager, _) =
            measure(|gauge| async move { eager::reduce(SOURCES, &gauge).await }).await.unwrap();
        assert_eq!(answer, same);
        assert!(eager > bound, "{eager} bytes");
    }

    #[test]
    fn ten_thousand_chunks_fit_in_the_budget() {
        assert_eq!(piped::levels(10_000), 4);
        assert_eq!(piped::bound(4), 20 * chunk::BYTES);
    }
}
