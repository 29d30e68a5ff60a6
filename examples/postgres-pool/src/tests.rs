//! With a real PostgreSQL: who is served, who is told, and what the database did. Counts and order only: figures are what
//! `compare` prints.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use tidegate::gate::PoolGate;
use tidegate::{AskReady, Demand, QueueConfig, Readiness};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::account::settle;
use crate::cluster::Cluster;
use crate::crowd::{Crowd, End, Visit};
use crate::listen;
use crate::service::{Gate, Settings, behind_gate, gate, open};

/// A small pool with quick statements, and clients that outlast any noise.
const SMALL: Settings =
    Settings { pool: 4, places: 6, statement: Duration::from_millis(20), patience: Duration::from_secs(60) };

struct Up {
    cluster: Cluster,
    gate: Gate,
    address: SocketAddr,
    serving: JoinHandle<std::io::Result<()>>,
}

async fn up(settings: Settings) -> Up {
    let cluster = Cluster::start(settings.pool).await.unwrap();
    let gate = gate(open(cluster.directory(), settings).await.unwrap(), settings).unwrap();
    let listener = listen::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let serving =
        tokio::spawn(listen::serve(listener, 64, behind_gate(&gate, settings, cluster.directory())));
    Up { cluster, gate, address, serving }
}

impl Up {
    fn crowd(&self, clients: usize, rate: f64) -> Crowd {
        Crowd { address: self.address, clients, rate, patience: SMALL.patience, leaving: 0.0, seed: 1 }
    }

    async fn until(&self, what: impl Fn(&tidegate::LimiterStats) -> bool) {
        while !what(&self.gate.limiter().stats()) {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn ended(visits: &[Visit], end: End) -> usize {
    visits.iter().filter(|visit| visit.end == end).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_ten_times_the_load_everybody_is_served_or_told() {
    // Slow enough that ten times the load is that much on a machine that has other things to do.
    let slower = Settings { statement: Duration::from_millis(100), ..SMALL };
    let up = up(slower).await;
    let clients = 1_000;
    let visits = up.crowd(clients, 10.0 * slower.capacity()).come().await;
    let account = settle(up.cluster.directory(), &visits).await.unwrap();
    assert_eq!(account.served + account.refused, clients, "{account:?}");
    assert!(account.served >= 10 && account.refused >= 100, "{account:?}");
    assert_eq!((account.statements, account.for_gone, account.half_way), (account.served, 0, 0));
    // Permits come back a moment after the answers.
    up.until(|stats| stats.in_flight == 0 && stats.waiting == 0).await;
    let stats = up.gate.limiter().stats();
    assert!(stats.peak_in_flight <= u64::from(SMALL.pool));
    assert_eq!((stats.in_flight, stats.waiting), (0, 0));
    assert_eq!(stats.admitted, account.served as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_for_clients_that_left_the_queue() {
    let up = up(SMALL).await;
    let mut held = Vec::new();
    for _ in 0..SMALL.pool {
        held.push(up.gate.get(Demand::ONE.holder("test")).await.unwrap());
    }
    // All connections are taken: six wait, the others are told although nothing moves.
    let leaving = Crowd { patience: Duration::from_secs(8), leaving: 1.0, ..up.crowd(20, 10_000.0) };
    let visits = leaving.come().await;
    assert_eq!((ended(&visits, End::Left), ended(&visits, End::Refused)), (6, 14));
    up.until(|stats| stats.waiting == 0).await;
    assert_eq!(up.gate.limiter().stats().canceled, 6);
    drop(held);
    let account = settle(up.cluster.directory(), &visits).await.unwrap();
    assert_eq!(account.statements, 0);
    assert_eq!(up.gate.readiness(), Readiness::Ready { available: SMALL.pool.into() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_whose_client_leaves_is_stopped_and_keeps_its_connection_until_then() {
    let slow = Settings { pool: 1, statement: Duration::from_secs(60), ..SMALL };
    let up = up(slow).await;
    let db = crate::cluster::connect(up.cluster.directory()).await.unwrap();
    for turn in 1..=3_i64 {
        let mut client = TcpStream::connect(up.address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
        let runs = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        while db.query_one(runs, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        drop(client);
        up.until(|stats| stats.in_flight == 0).await;
        let counts = "SELECT count(*) FILTER (WHERE stopped), count(*) FROM statements";
        let row = db.query_one(counts, &[]).await.unwrap();
        assert_eq!((row.get(0), row.get(1)), (turn, turn), "stopped before its connection was given back");
    }
    // The connection is fit for the next, whom no stray cancellation meets.
    let gate = up.gate.clone();
    let ask = |db: tidegate::gate::Pooled<deadpool_postgres::Object>| async move {
        db.query_one("SELECT 1 FROM pg_sleep(0.1)", &[]).await.map(|row| row.get::<_, i32>(0))
    };
    assert_eq!(gate.run(Demand::ONE, ask).await.unwrap().unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stops_one_statement_meets_no_other() {
    let up = up(SMALL).await;
    // They leave while their statements run, or just when these end; the others use the same connections.
    let leaving = Crowd { patience: Duration::from_millis(100), leaving: 1.0, ..up.crowd(200, 100.0) };
    let (left, stayed) =
        tokio::join!(tokio::spawn(leaving.come()), tokio::spawn(up.crowd(200, 100.0).come()));
    let (left, stayed) = (left.unwrap(), stayed.unwrap());
    assert_eq!((ended(&left, End::Failed), ended(&stayed, End::Failed)), (0, 0));
    assert_eq!(ended(&stayed, End::Served) + ended(&stayed, End::Refused), stayed.len());
    up.until(|stats| stats.in_flight == 0 && stats.waiting == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_takes_no_permit_with_it() {
    let mut up = up(SMALL).await;
    let db = crate::cluster::connect(up.cluster.directory()).await.unwrap();
    // Every connection of the pool breaks, some of them in use; the pool opens others.
    let crowd = tokio::spawn(up.crowd(200, SMALL.capacity()).come());
    up.until(|stats| stats.in_flight > 0).await;
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    db.execute(others, &[]).await.unwrap();
    let visits = crowd.await.unwrap();
    let account = settle(up.cluster.directory(), &visits).await.unwrap();
    assert_eq!(account.served + account.refused + account.failed, visits.len(), "{account:?}");
    assert!(account.served >= 10, "{account:?}");
    assert!((account.served..=account.served + account.failed).contains(&account.statements), "{account:?}");
    up.until(|stats| stats.in_flight == 0).await;
    // The server stops: everybody is told, nobody is kept.
    up.cluster.stop();
    let visits = up.crowd(50, 1000.0).come().await;
    assert_eq!((ended(&visits, End::Served), ended(&visits, End::TimedOut)), (0, 0));
    up.until(|stats| stats.in_flight == 0 && stats.waiting == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlx_goes_behind_the_gate_too() {
    use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

    let cluster = Cluster::start(3).await.unwrap();
    let socket = cluster.directory().to_str().unwrap();
    let options =
        PgConnectOptions::new_without_pgpass().socket(socket).username("tidegate").database("postgres");
    let pool = PgPoolOptions::new().max_connections(3).connect_with(options).await.unwrap();
    let (size, get) = (pool.clone(), pool);
    let gate = PoolGate::builder(
        move || size.options().get_max_connections().into(),
        move || {
            let pool = get.clone();
            async move { pool.acquire().await }
        },
    )
    .queue(QueueConfig::bounded(50).max_wait(Duration::from_secs(60)))
    .gives_within(Duration::from_secs(60))
    .build()
    .unwrap();
    assert_eq!(gate.limiter().stats().limit, 3);
    let asked: Vec<_> = (0..40)
        .map(|_| {
            let gate = gate.clone();
            tokio::spawn(async move {
                let ask = |mut db: tidegate::gate::Pooled<sqlx::pool::PoolConnection<sqlx::Postgres>>| async move {
                    sqlx::query_scalar::<_, i32>("SELECT pg_backend_pid()").fetch_one(&mut **db).await
                };
                gate.run(Demand::ONE, ask).await.unwrap().unwrap()
            })
        })
        .collect();
    let mut backends = HashSet::new();
    for asked in asked {
        backends.insert(asked.await.unwrap());
    }
    assert!(backends.len() <= 3);
    assert!(gate.limiter().stats().peak_in_flight <= 3);
}
