//! The echo server that cannot be flooded: it reads no line before it got rid of the last one.

use tidegate::Limiter;
use tidegate::writer::{LineReader, LineWriter, Writers};
use tokio::net::{TcpListener, TcpStream};

use crate::Failure;

/// The longest line, bytes.
const LONGEST: u64 = 4000;
/// Connections at a time.
const CONNECTIONS: u64 = 1000;

pub(crate) async fn serve(listener: TcpListener, writers: Writers) -> Result<(), Failure> {
    let connections = Limiter::fixed(CONNECTIONS);
    loop {
        let permit = connections.acquire(1).await?;
        let (stream, _) = listener.accept().await?;
        let writers = writers.clone();
        tokio::spawn(async move {
            // How it ended is counted by the writers.
            let _ = echo(stream, &writers).await;
            permit.success();
        });
    }
}

async fn echo(stream: TcpStream, writers: &Writers) -> Result<(), Failure> {
    let (reading, writing) = stream.into_split();
    let mut lines = LineReader::new(reading);
    let mut writer = LineWriter::new(writers.socket(writing), LONGEST);
    while let Some(line) = lines.read_line(LONGEST).await? {
        writer.ready().await?.write(line.into_bytes())?.flushed().await?;
    }
    writer.finish().await?;
    Ok(())
}
