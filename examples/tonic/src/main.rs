//! A tonic service that does two searches at a time, lets a few callers wait, and tells everybody else at once when
//! to come back; and clients that hear it.
//!
//! ```sh
//! cargo run -p example-tonic       # a server, and twelve clients that come at once
//! ```

mod client;
mod search;
#[cfg(test)]
mod tests;
mod text;

use futures_core::Stream;
use tidegate::http::{ByStatus, RespondWith, UntilBodyEnd, until_deadline};
use tidegate::tower::LimitLayer;
use tidegate::{Limiter, QueueConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::transport::server::{Connected, TcpIncoming};
use tonic::transport::{Endpoint, Server};

use search::Search;

/// Searches at a time, and callers that may wait for one.
const SEARCHES: u64 = 2;
const PLACES: u64 = 4;

fn limiter() -> Result<Limiter, tidegate::ConfigError> {
    Limiter::builder().name("searches").limit(SEARCHES).queue(QueueConfig::bounded(PLACES)).build()
}

/// Serves what comes in. A permit is held until the last message of an answer was taken, or its client has left;
/// `grpc-timeout` bounds the wait as tonic bounds the work by it.
async fn serve<S, IO>(incoming: S, searches: Limiter) -> Result<(), tonic::transport::Error>
where
    S: Stream<Item = std::io::Result<IO>>,
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let limit = LimitLayer::new(searches)
        .demand(until_deadline::<Body>)
        .outcome(ByStatus)
        .on_refusal(RespondWith::grpc())
        .hold(UntilBodyEnd);
    Server::builder().layer(limit).add_service(Search).serve_with_incoming(incoming).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}");
    tokio::spawn(serve(TcpIncoming::from(listener), limiter()?));

    let channel = Endpoint::try_from(format!("http://{address}"))?.connect_lazy();
    let clients: Vec<_> = (1..=12)
        .map(|n| {
            let channel = channel.clone();
            tokio::spawn(async move { client::find_patiently(&channel, &format!("no. {n}"), 5).await })
        })
        .collect();
    for client in clients {
        match client.await? {
            Ok((found, refused)) => println!("{found}, after {refused} refusals"),
            Err(status) => println!("gave up: {status}"),
        }
    }
    let mut hits = client::watch(&channel, "hit").await?;
    while let Some(hit) = hits.message().await? {
        println!("{hit}");
    }
    Ok(())
}
