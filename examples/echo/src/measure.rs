//! A server as a process of its own, flooded, and what it weighs afterwards.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::Failure;
use crate::flood::Flood;

/// A server that has become so large is stopped: the machine is not to suffer.
pub(crate) const STOP: u64 = 1 << 30;

pub(crate) struct Server {
    pub(crate) name: &'static str,
    program: String,
    arguments: Vec<String>,
    /// It may be missing.
    optional: bool,
    /// It tells how many bytes it holds.
    tells: bool,
}

pub(crate) struct Row {
    pub(crate) before: u64,
    pub(crate) after: u64,
    pub(crate) held: Option<u64>,
    pub(crate) taken: u64,
    pub(crate) blocked: usize,
    pub(crate) stopped: bool,
}

pub(crate) fn servers() -> Result<[Server; 4], Failure> {
    let own = std::env::current_exe()?.to_string_lossy().into_owned();
    let asyncio = |name, drain: &str| Server {
        name,
        program: "python3".to_owned(),
        arguments: ["-c", include_str!("asyncio_echo.py"), drain].map(str::to_owned).into(),
        optional: true,
        tells: false,
    };
    let here = |name, which: &str| Server {
        name,
        program: own.clone(),
        arguments: vec!["serve".to_owned(), which.to_owned()],
        optional: false,
        tells: true,
    };
    Ok([
        asyncio("asyncio, write", "forget"),
        asyncio("asyncio, write and drain", "drain"),
        here("Rust, a buffer without end", "naive"),
        here("tidegate::writer", "bounded"),
    ])
}

/// None if it is not to be had here.
pub(crate) async fn flood(
    server: &Server,
    clients: usize,
    longest: Duration,
) -> Result<Option<Row>, Failure> {
    let mut command = Command::new(&server.program);
    command.args(&server.arguments).stdout(Stdio::piped()).stdin(Stdio::null()).kill_on_drop(true);
    let mut process = match command.spawn() {
        Ok(process) => process,
        Err(_) if server.optional => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let out = process.stdout.take().ok_or("no standard output")?;
    let mut lines = BufReader::new(out).lines();
    let Some(address) = timeout(Duration::from_secs(20), lines.next_line()).await?? else { return Ok(None) };
    let address: SocketAddr = address.parse()?;

    let before = weight(&process)?;
    let flood = Flood::start(address, clients, u64::MAX);
    let end = Instant::now() + longest;
    let (mut after, mut held) = (before, None);
    while Instant::now() < end && after < STOP {
        sleep(Duration::from_millis(50)).await;
        after = after.max(weight(&process)?);
        while let Ok(Ok(Some(line))) = timeout(Duration::ZERO, lines.next_line()).await {
            held = line.parse().ok();
        }
    }
    let stopped = after >= STOP;
    let blocked = if stopped { 0 } else { flood.blocked().await };
    let taken = flood.taken().iter().sum();
    process.kill().await?;
    flood.stop().await;
    let held = held.filter(|_| server.tells);
    Ok(Some(Row { before, after, held, taken, blocked, stopped }))
}

/// Resident memory, bytes.
fn weight(process: &Child) -> Result<u64, Failure> {
    let id = process.id().ok_or("the server has ended")?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?;
    Ok(kib.parse::<u64>()? * 1024)
}
