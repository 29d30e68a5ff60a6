//! Everything at once: a task for each chunk and for each node of the tree. Nothing says to a chunk that nobody can
//! use it yet.

use std::sync::Arc;

use tokio::task::{JoinError, JoinHandle};

use crate::chunk::{Chunk, Gauge};
use crate::{Answer, FAN_IN};

/// Loads chunks and adds them up.
pub(crate) async fn reduce(sources: u64, gauge: &Arc<Gauge>) -> Answer {
    let load = |seed| {
        let gauge = Arc::clone(gauge);
        tokio::spawn(async move { Ok(Chunk::load(seed, &gauge).await) })
    };
    let mut level: Vec<JoinHandle<Result<Chunk, JoinError>>> = (0..sources).map(load).collect();
    while level.len() > 1 {
        let mut above = Vec::new();
        let mut below = level.into_iter().peekable();
        while below.peek().is_some() {
            let group: Vec<_> = below.by_ref().take(FAN_IN).collect();
            above.push(tokio::spawn(node(group)));
        }
        level = above;
    }
    let root = level.into_iter().next().ok_or("there is nothing to reduce")?;
    Ok(root.await??.digest())
}

async fn node(group: Vec<JoinHandle<Result<Chunk, JoinError>>>) -> Result<Chunk, JoinError> {
    let mut children = group.into_iter();
    let Some(first) = children.next() else { unreachable!("a group has at least one") };
    let mut sum = first.await??;
    for child in children {
        sum = sum.add(&child.await??);
    }
    Ok(sum)
}
