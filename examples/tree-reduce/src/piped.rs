//! The same as a pipeline: a chunk is loaded when there is room for it where it is added up.

use std::sync::Arc;

use tidegate::channel::bounded;
use tidegate::pipeline::{Failed, Pipeline, Stage};

use crate::chunk::{BYTES, Chunk, Gauge};
use crate::{Answer, FAN_IN, WORKERS};

/// What the pipeline may hold at most, whatever its stages could use.
const BUDGET: u64 = 64 << 20;
/// Chunks that are loaded or wait to be added: one for each worker, and a tenth more (Dask's worker-saturation).
pub(crate) const LOADED: u64 = (WORKERS as u64 * 11).div_ceil(10);

/// The most that can exist at a time: the chunks that were loaded, and what each level of the tree holds for the next
/// one: a sum for each that adds up, and two for the one that takes them.
pub(crate) fn bound(levels: u32) -> u64 {
    let (lowest, above) = (WORKERS as u64 + 2, 1 + 2);
    (LOADED + lowest + above * u64::from(levels.saturating_sub(1))) * BYTES
}

/// Levels of the tree, at least two.
pub(crate) fn levels(sources: u64) -> u32 {
    let levels = (2..).find(|levels| (FAN_IN as u64).saturating_pow(*levels) >= sources);
    levels.unwrap_or(2)
}

/// Loads chunks and adds them up.
pub(crate) async fn reduce(sources: u64, gauge: &Arc<Gauge>) -> Answer {
    let gauge = Arc::clone(gauge);
    let add = |sum: Option<Chunk>, chunk: Chunk| async move {
        Ok::<_, Failed<Chunk>>(match sum {
            None => chunk,
            Some(sum) => sum.add(&chunk),
        })
    };
    let load = Stage::new("load").concurrency(WORKERS).max_item(BYTES);
    let mut level = Pipeline::from_iter(Stage::new("seeds"), 0..sources)
        .map(load, move |seed| {
            let gauge = Arc::clone(&gauge);
            async move { Ok(Chunk::load(seed, &gauge).await) }
        })
        .fold(Stage::new("add 1").concurrency(WORKERS).in_bytes(LOADED * BYTES).max_item(BYTES), FAN_IN, add);
    // Each worker of the lowest level may end with a sum of fewer than ten, so the root takes whatever comes.
    for number in 2..=levels(sources) {
        let fan_in = if number == levels(sources) { usize::MAX } else { FAN_IN };
        level = level.fold(Stage::new(format!("add {number}")).max_item(BYTES), fan_in, add);
    }
    let (result, mut root) = bounded(2 * BYTES);
    let plan = level.sink(Stage::new("root"), move |sum| {
        let result = result.clone();
        async move {
            result.send(sum.digest()).await?.into_result().map_err(|full| Failed::new(full.to_string()))?;
            Ok(())
        }
    });
    let running = plan.bytes(BUDGET).run()?;
    let snapshot = running.finish().await?;
    if snapshot.delivered() != 1 {
        return Err(format!("a tree has one root, not {}", snapshot.delivered()).into());
    }
    Ok(*root.recv().await.ok_or("there is nothing to reduce")?)
}
