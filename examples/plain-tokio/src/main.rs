//! A line service on a bare socket: it answers each line with the line in capitals, two lines at a time in the whole
//! service. It takes in as many connections as those two and their queue can serve, and tells everybody else at once
//! when to come back.
//!
//! ```sh
//! cargo run -p example-plain-tokio             # then: nc localhost 4000, and type
//! nc localhost 4001                            # the health lane: one line about how full it is
//! for i in $(seq 12); do (echo hello; sleep 5) | nc localhost 4000 & done
//! ```

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tidegate::gate::accept::{Accept, AcceptError, Accepted, Lane, WhenFull};
use tidegate::{ConfigError, Limiter, QueueConfig};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

/// Lines at a time, and lines that may wait.
const LINES: u64 = 2;
const PLACES: u64 = 4;
/// What a line takes.
const WORK: Duration = Duration::from_millis(200);
/// The longest line, bytes: a client that sends no end of line must not fill the memory.
const LONGEST: u64 = 4096;
/// The accept queue. Whom it has no room for tries again a second later at the earliest, so it is as long as a burst of
/// clients that are told within a moment; tokio's own listeners have 128 places.
const BACKLOG: u32 = 1024;
/// A connection that says nothing for so long gives its place to somebody else.
const IDLE: Duration = Duration::from_secs(30);

fn limiter() -> Result<Limiter, ConfigError> {
    Limiter::builder().name("lines").limit(LINES).queue(QueueConfig::bounded(PLACES)).build()
}

fn accept(lines: &Limiter, listener: TcpListener, health: TcpListener) -> io::Result<Accept> {
    // Whoever writes 10,000 here gets six all the same: as many as the lines can serve.
    let accept = Accept::new(listener, Limiter::fixed(10_000))?.linked_to(lines).health_lane(health)?;
    Ok(accept.when_full(WhenFull::answer(|refused| {
        let after = refused.retry_after().unwrap_or(Duration::from_secs(1));
        format!("BUSY {} {}\n", refused.reason(), after.as_millis()).into_bytes()
    })))
}

/// Serves until the connections' limiter drains. A task for each connection: the permits bound their number.
async fn serve(accept: Arc<Accept>, lines: Limiter) -> Result<(), AcceptError> {
    loop {
        let Accepted { stream, permit, lane, .. } = match accept.accept().await {
            Ok(accepted) => accepted,
            Err(end) if end.is_draining() => return Ok(()),
            Err(error) => return Err(error),
        };
        let (lines, accept) = (lines.clone(), Arc::clone(&accept));
        tokio::spawn(async move {
            // A broken connection is the client's affair; its permit goes back below, whatever happened.
            let _ = match lane {
                Lane::Main => converse(stream, &lines).await,
                Lane::Health => report(stream, &accept).await,
            };
            drop(permit);
        });
    }
}

async fn converse(stream: TcpStream, lines: &Limiter) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let read = timeout(IDLE, (&mut stream).take(LONGEST).read_until(b'\n', &mut line)).await;
        if read.is_err() || !line.ends_with(b"\n") {
            return Ok(());
        }
        let said = match lines.acquire(1).await {
            Ok(permit) => {
                sleep(WORK).await;
                permit.success();
                line.to_ascii_uppercase()
            }
            Err(refused) => format!("BUSY {}\n", refused.reason()).into_bytes(),
        };
        // A client that sends and never reads must not keep its place.
        timeout(IDLE, stream.get_mut().write_all(&said)).await??;
    }
}

async fn report(mut stream: TcpStream, accept: &Accept) -> io::Result<()> {
    let (bound, stats) = (accept.bound(), accept.connections().stats());
    let waiting = accept.backlog().map_or(0, |backlog| backlog.waiting);
    let said = format!(
        "{} of {} connections (bound by {:?}), {waiting} in the accept queue, {} refused\n",
        stats.in_flight,
        bound.connections,
        bound.by,
        accept.stats().refused,
    );
    stream.write_all(said.as_bytes()).await
}

fn listen(address: &str) -> Result<TcpListener, Box<dyn std::error::Error>> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address.parse()?)?;
    Ok(socket.listen(BACKLOG)?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lines = limiter()?;
    let (listener, health) = (listen("127.0.0.1:4000")?, listen("127.0.0.1:4001")?);
    println!("listening on {}, health on {}", listener.local_addr()?, health.local_addr()?);
    serve(Arc::new(accept(&lines, listener, health)?), lines).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn say(stream: &mut BufReader<TcpStream>, line: &str) -> String {
        stream.get_mut().write_all(line.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_line(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn six_are_served_and_the_others_hear_when_to_come_back() {
        let lines = limiter().unwrap();
        let bind = || TcpListener::bind("127.0.0.1:0");
        let accept = Arc::new(accept(&lines, bind().await.unwrap(), bind().await.unwrap()).unwrap());
        let address = accept.local_addr().unwrap();
        let health = accept.health_addr().unwrap().unwrap();
        let serving = tokio::spawn(serve(Arc::clone(&accept), lines));

        let mut clients = Vec::new();
        for _ in 0..LINES + PLACES {
            let mut client = BufReader::new(TcpStream::connect(address).await.unwrap());
            assert_eq!(say(&mut client, "hello\n").await, "HELLO\n");
            clients.push(client);
        }
        for _ in 0..5 {
            let mut late = String::new();
            TcpStream::connect(address).await.unwrap().read_to_string(&mut late).await.unwrap();
            let after = late.strip_prefix("BUSY connections ").unwrap().trim_end();
            assert!(after.parse::<u64>().unwrap() > 0, "{late}");
        }
        let mut told = String::new();
        TcpStream::connect(health).await.unwrap().read_to_string(&mut told).await.unwrap();
        assert_eq!(told, "6 of 6 connections (bound by Linked), 0 in the accept queue, 5 refused\n");

        assert_eq!(say(&mut clients[5], "still here\n").await, "STILL HERE\n");
        drop(clients);
        accept.connections().drain().await;
        serving.await.unwrap().unwrap();
    }
}
