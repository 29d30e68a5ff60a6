//! The echo server of "I'm not feeling the async pressure" (2020) four times: in asyncio as the article finds it everywhere
//! (`writer.write(line)`), in asyncio with the `await writer.drain()` that one must not forget, the first one again in Rust,
//! and on `tidegate::writer`, where it cannot be written. Ten clients flood each of them and never read.
//!
//! ```sh
//! cargo run --release -p example-echo             # five seconds each; asyncio where there is a python3
//! cargo run -p example-echo -- serve bounded      # then: nc localhost PORT, and type
//! ```

mod bounded;
mod flood;
mod measure;
mod naive;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tidegate::writer::Writers;
use tokio::net::TcpListener;

const USAGE: &str = "example-echo [serve naive|bounded]";
const CLIENTS: usize = 10;
const FLOOD: Duration = Duration::from_secs(5);

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        [] => compare().await,
        ["serve", which @ ("naive" | "bounded")] => serve(which).await,
        _ => Err(USAGE.into()),
    }
}

/// Serves, and says where and, now and then, how many bytes it holds.
async fn serve(which: &str) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(&format!("{}\n", listener.local_addr()?))?;
    let (writers, naive) = (Writers::new(), Arc::new(naive::Held::default()));
    let held = {
        let (writers, naive) = (writers.clone(), Arc::clone(&naive));
        move || writers.stats().buffered + naive.bytes()
    };
    let serving = async {
        match which {
            "naive" => naive::serve(listener, naive).await,
            _ => bounded::serve(listener, writers).await,
        }
    };
    let telling = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            say(&format!("{}\n", held()))?;
        }
    };
    tokio::select! {
        ended = serving => ended,
        ended = telling => ended,
    }
}

fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Floods one server after the other, each a process of its own.
async fn compare() -> Result<(), Failure> {
    println!(
        "{CLIENTS} clients write lines and never read, {} s each; a server is stopped at {} MiB\n",
        FLOOD.as_secs(),
        measure::STOP >> 20
    );
    println!(
        "{:<26} | {:>10} | {:>10} | {:>10} | {:>10} | clients blocked",
        "server", "RSS before", "RSS after", "it buffers", "it took"
    );
    for server in measure::servers()? {
        let Some(row) = measure::flood(&server, CLIENTS, FLOOD).await? else {
            println!("{:<26} | (no python3 here)", server.name);
            continue;
        };
        let held = row.held.map_or("?".to_owned(), mib);
        println!(
            "{:<26} | {:>10} | {:>10} | {:>10} | {:>10} | {} of {CLIENTS}{}",
            server.name,
            mib(row.before),
            mib(row.after),
            held,
            mib(row.taken),
            row.blocked,
            if row.stopped { "; stopped" } else { "" },
        );
    }
    Ok(())
}

fn mib(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}
