//! Pools of other makers, with connections that open nothing. Nobody waits inside them, and nobody finds them empty.

use std::convert::Infallible;
use std::time::Duration;

use tidegate::Demand;
use tidegate::gate::{PoolError, PoolGate};

struct Memory;

impl deadpool::managed::Manager for Memory {
    type Type = u64;
    type Error = Infallible;

    async fn create(&self) -> Result<u64, Infallible> {
        tokio::task::yield_now().await;
        Ok(7)
    }

    async fn recycle(
        &self,
        _: &mut u64,
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<Infallible> {
        Ok(())
    }
}

impl bb8::ManageConnection for Memory {
    type Connection = u64;
    type Error = Infallible;

    async fn connect(&self) -> Result<u64, Infallible> {
        Ok(7)
    }

    async fn is_valid(&self, _: &mut u64) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut u64) -> bool {
        false
    }
}

/// 500 callers of which some leave; how many had a connection.
async fn crowd<C, E>(gate: &PoolGate<C, E>) -> u64
where
    C: Send + 'static,
    E: std::fmt::Debug + Send + 'static,
{
    let callers: Vec<_> = (0..500_u64)
        .map(|caller| {
            let gate = gate.clone();
            tokio::spawn(async move {
                let patience = Duration::from_millis(if caller % 5 == 0 { 0 } else { 60_000 });
                match tokio::time::timeout(patience, gate.get(Demand::ONE)).await {
                    Ok(Ok(_connection)) => {
                        tokio::task::yield_now().await;
                        1
                    }
                    Ok(Err(PoolError::Pool(error))) => panic!("the pool had none: {error:?}"),
                    Ok(Err(_)) | Err(_) => 0,
                }
            })
        })
        .collect();
    let mut had = 0;
    for caller in callers {
        had += caller.await.unwrap();
    }
    had
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadpool_is_never_found_empty() {
    // With a wait of zero deadpool answers with an error where it would have let the caller wait.
    let no_wait = deadpool::managed::Timeouts { wait: Some(Duration::ZERO), create: None, recycle: None };
    let pool = deadpool::managed::Pool::<Memory>::builder(Memory).max_size(4).build().unwrap();
    let (size, get) = (pool.clone(), pool.clone());
    let gate = PoolGate::builder(
        move || size.status().max_size as u64,
        move || {
            let pool = get.clone();
            async move { pool.timeout_get(&no_wait).await }
        },
    )
    .build()
    .unwrap();
    assert!(crowd(&gate).await >= 4);
    let status = pool.status();
    assert_eq!((status.waiting, status.available), (0, status.size));
    pool.resize(6);
    assert!(crowd(&gate).await >= 6);
    assert_eq!(gate.limiter().stats().limit, 6);
    pool.close();
    assert!(matches!(gate.get(1).await, Err(PoolError::Refused(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bb8_is_never_waited_for() {
    // All four open from the start: what opens counts as a wait in bb8's figures.
    let pool = bb8::Pool::builder().max_size(4).min_idle(4).build(Memory).await.unwrap();
    let (size, get) = (pool.clone(), pool.clone());
    let gate = PoolGate::builder(
        move || size.config().max_size.into(),
        move || {
            let pool = get.clone();
            async move { pool.get_owned().await }
        },
    )
    .build()
    .unwrap();
    let had = crowd(&gate).await;
    let figures = pool.state().statistics;
    assert!(had >= 4);
    assert_eq!((figures.get_waited, figures.get_timed_out), (0, 0));
}
