//! Starts and stops the gate: the program itself, as its own child, as a person would start it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a gate may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes read of what it says before it listens, and lines of it that are repeated if it never does.
const LONGEST_SPEECH: u64 = 64 << 10;
const LINES: usize = 5;

/// How it says where it listens, on standard error.
const LISTENING: &str = "listening on http://";

/// A running gate; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct GateHandle {
    /// Where it listens.
    pub(crate) address: String,
    child: Child,
}

impl GateHandle {
    /// Ends it.
    pub(crate) async fn stop(mut self) {
        // It may have ended on its own, and then there is nothing left to do.
        let _ = self.child.kill().await;
    }
}

/// Starts `program run http://ORIGIN` on a free port, with nothing configured.
///
/// # Errors
/// A sentence that says why there is no gate.
pub(crate) async fn start_gate(program: &Path, origin: SocketAddr) -> Result<GateHandle, String> {
    let origin = format!("http://{origin}");
    let mut command = Command::new(program);
    command.args(["run", &origin, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("the gate cannot start: {error}"))?;
    let mut said = child.stderr.take().ok_or("the gate cannot start: it has no standard error")?;
    let address = timeout(PATIENCE, listening(&mut said))
        .await
        .map_err(|_| format!("the gate did not say within {} s where it listens", PATIENCE.as_secs()))??;
    // Whatever it says from now on is read and dropped: a full pipe would stop it.
    tokio::spawn(async move { tokio::io::copy(&mut said, &mut tokio::io::sink()).await });
    Ok(GateHandle { address, child })
}

async fn listening(said: &mut (impl AsyncRead + Unpin)) -> Result<String, String> {
    let mut lines = BufReader::new(said.take(LONGEST_SPEECH)).lines();
    let mut last = VecDeque::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some((_, address)) = line.split_once(LISTENING) {
            let end = address.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(address.len());
            return Ok(address.get(..end).unwrap_or_default().to_owned());
        }
        if last.len() == LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    let last: Vec<_> = last.into();
    Err(format!("the gate did not start; it said:\n{}", last.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_address_is_found_and_failures_are_repeated() {
        let heard = |text: &'static str| async move { listening(&mut text.as_bytes()).await };
        let line = "loaded\nINFO listening on http://127.0.0.1:4711 (admin elsewhere)\nmore\n";
        assert_eq!(heard(line).await.unwrap(), "127.0.0.1:4711");
        assert_eq!(heard("listening on http://[::1]:80/\n").await.unwrap(), "[::1]:80");
        let wrong = heard("1\n2\n3\n4\n5\nno such option\n").await.unwrap_err();
        assert!(wrong.ends_with("it said:\n2\n3\n4\n5\nno such option"), "{wrong}");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_explained() {
        let wrong = start_gate(Path::new("/no/such/program"), ([127, 0, 0, 1], 1).into()).await;
        assert!(wrong.unwrap_err().starts_with("the gate cannot start"));
    }
}
