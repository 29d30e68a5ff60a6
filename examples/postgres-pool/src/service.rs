//! The service: one statement for each request, behind the gate or with the pool alone.

use std::error::Error;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use deadpool_postgres::{Manager, Object, Pool};
use tidegate::gate::{PoolError, PoolGate, Pooled};
use tidegate::http::{Deadline, RespondWith, ready_endpoint};
use tidegate::tower::OnRefusal;
use tidegate::{Demand, Outcome, QueueConfig};
use tokio::time::timeout;
use tokio_postgres::NoTls;

use crate::cluster::{WORK, config, stop};
use crate::crowd::{date, micros};
use crate::listen::Presence;

/// The gate before the pool.
pub(crate) type Gate = PoolGate<Object, deadpool_postgres::PoolError>;

/// How long a statement that was told to stop may take to do so, before it is told again: many times what it takes.
const STOPS_WITHIN: Duration = Duration::from_millis(50);

/// How the service is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Connections in the pool.
    pub(crate) pool: u32,
    /// Requests that may wait for one. The wait is about `places / pool` times what a statement takes.
    pub(crate) places: u64,
    /// What a statement takes on average.
    pub(crate) statement: Duration,
    /// When clients give up.
    pub(crate) patience: Duration,
}

/// What the comparison runs with: 50 connections serve 250 statements a second; 75 may wait, for 0.3 s, which leaves room
/// below the promised wait of 0.4 s (0.4 of the patience) when the machine stumbles.
pub(crate) const SETTINGS: Settings = Settings {
    pool: 50,
    places: 75,
    statement: Duration::from_millis(200),
    patience: Duration::from_secs(1),
};

impl Settings {
    /// Statements a second that the pool can carry.
    pub(crate) fn capacity(&self) -> f64 {
        f64::from(self.pool) / self.statement.as_secs_f64()
    }

    /// The longest wait the gate lets anybody begin.
    pub(crate) fn promised_wait(&self) -> Duration {
        self.patience.mul_f64(0.4)
    }
}

/// A pool whose connections are open and have the statement ready, so that no request pays for that.
pub(crate) async fn open(directory: &Path, settings: Settings) -> Result<Pool, Box<dyn Error + Send + Sync>> {
    let size = usize::try_from(settings.pool)?;
    let pool = Pool::builder(Manager::new(config(directory), NoTls)).max_size(size).build()?;
    let mut all = Vec::with_capacity(size);
    for _ in 0..size {
        let db = pool.get().await?;
        db.prepare_cached(WORK).await?;
        all.push(db);
    }
    Ok(pool)
}

/// The gate before it.
pub(crate) fn gate(pool: Pool, settings: Settings) -> Result<Gate, tidegate::ConfigError> {
    let size = pool.clone();
    PoolGate::builder(
        move || size.status().max_size as u64,
        move || {
            let pool = pool.clone();
            async move { pool.get().await }
        },
    )
    .name("db")
    .queue(QueueConfig::bounded(settings.places).patience(settings.patience))
    .build()
}

/// The service behind the gate.
pub(crate) fn behind_gate(gate: &Gate, settings: Settings, directory: &Path) -> Router {
    Router::new()
        .route("/", get(admitted).with_state((gate.clone(), settings, Arc::from(directory))))
        .route("/pool", get(occupants).with_state(gate.clone()))
        .route_service("/ready", ready_endpoint([("db", Arc::new(gate.clone()) as _)]))
}

/// The same with the pool alone, as its documentation shows it: whoever comes waits for a connection.
pub(crate) fn pool_alone(pool: Pool, settings: Settings) -> Router {
    Router::new().route("/", get(waiting).with_state((pool, settings)))
}

/// The pool alone, used with care: a statement whose client leaves keeps its connection to its end, as behind the gate.
pub(crate) fn pool_with_care(pool: Pool, settings: Settings) -> Router {
    Router::new().route("/", get(waiting_with_care).with_state((pool, settings)))
}

async fn admitted(
    State((gate, settings, directory)): State<(Gate, Settings, Arc<Path>)>,
    Extension(presence): Extension<Presence>,
    headers: HeaderMap,
) -> Response {
    let client = client(&headers);
    let mut demand = Demand::ONE.holder(format!("client {client}"));
    if let Some(deadline) = Deadline::of(&headers) {
        demand = demand.deadline(deadline.moment());
    }
    let work = move |db: Pooled<Object>| async move {
        // The last moment at which nothing has been asked of the database.
        let result =
            if presence.is_there() { Some(wanted(&db, client, settings, &directory).await) } else { None };
        Pooled::finish(db, if matches!(result, Some(Ok(_))) { Outcome::Success } else { Outcome::Ignore });
        result
    };
    match gate.run(demand, work).await {
        Ok(Some(result)) => answer(result),
        Ok(None) => StatusCode::REQUEST_TIMEOUT.into_response(), // read by nobody
        Err(PoolError::Refused(refused)) => {
            let respond = RespondWith::service_unavailable().problem_json();
            let Ok(response) =
                OnRefusal::<Response<Body>, std::convert::Infallible>::refuse(&respond, refused);
            response
        }
        Err(error) => failed(&error),
    }
}

async fn waiting(State((pool, settings)): State<(Pool, Settings)>, headers: HeaderMap) -> Response {
    match pool.get().await {
        Ok(db) => answer(work(&db, client(&headers), settings).await),
        Err(error) => failed(&error),
    }
}

async fn waiting_with_care(State((pool, settings)): State<(Pool, Settings)>, headers: HeaderMap) -> Response {
    let client = client(&headers);
    match pool.get().await {
        Ok(db) => match tokio::spawn(async move { work(&db, client, settings).await }).await {
            Ok(result) => answer(result),
            Err(error) => failed(&error),
        },
        Err(error) => failed(&error),
    }
}

/// How many are left, who holds the others since when, how long one more would wait.
async fn occupants(State(gate): State<Gate>) -> String {
    let limiter = gate.limiter();
    let stats = limiter.stats();
    let wait = limiter.predicted_wait().expected;
    let mut text = format!("{} left of {}; one more would wait {wait:.0?}\n", stats.available, stats.limit);
    for (what, list) in [("holds", limiter.holders()), ("waits", limiter.waiters())] {
        for who in list {
            text.push_str(&format!("{what}: {} for {:.0?}\n", who.who, who.age));
        }
    }
    text
}

/// The statement while its client is there; if it leaves, the database is told to stop.
async fn wanted(
    db: &Pooled<Object>,
    client: i64,
    settings: Settings,
    directory: &Path,
) -> Result<i64, tokio_postgres::Error> {
    let mut work = pin!(work(db, client, settings));
    tokio::select! {
        biased;
        result = &mut work => return result,
        () = Pooled::caller_gone(db) => {}
    }
    // Its connection is busy until it has ended, so that is waited for. What does not stop it may have come before it.
    let result = loop {
        let _ = stop(directory, &db.cancel_token()).await;
        if let Ok(result) = timeout(STOPS_WITHIN, &mut work).await {
            break result;
        }
    };
    // What came after its end must meet an empty statement, not the next client's.
    db.simple_query("").await?;
    result
}

async fn work(db: &Object, client: i64, settings: Settings) -> Result<i64, tokio_postgres::Error> {
    let statement = db.prepare_cached(WORK).await?;
    let sent = micros(date());
    let row = db.query_one(&statement, &[&client, &sent, &settings.statement.as_secs_f64()]).await?;
    row.try_get(0) // an error if it was stopped
}

fn answer(result: Result<i64, tokio_postgres::Error>) -> Response {
    match result {
        Ok(client) => format!("done for {client}\n").into_response(),
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn Error) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
}

/// The number a client gives itself; the crowd's do.
fn client(headers: &HeaderMap) -> i64 {
    headers.get("x-client").and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0)
}
