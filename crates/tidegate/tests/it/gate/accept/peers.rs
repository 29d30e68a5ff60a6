//! The two ends of a connection.

use std::time::Duration;

use tidegate::Limiter;
use tidegate::gate::accept::{Accept, Listen};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Long against anything that happens at once, short for a test.
const NOTHING_HAPPENS: Duration = Duration::from_millis(150);
/// How long something that must happen may take on a busy machine.
pub(super) const SOON: Duration = Duration::from_secs(20);

pub(super) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

pub(super) async fn accept_of(limit: u64) -> Accept {
    Accept::new(listener().await, Limiter::fixed(limit)).unwrap()
}

pub(super) async fn client(accept: &Accept) -> TcpStream {
    TcpStream::connect(accept.local_addr().unwrap()).await.unwrap()
}

/// Waits until so many are in the kernel's queue: it comes to the last of them a moment after they themselves are connected.
pub(super) async fn backlog_of<L: Listen>(accept: &Accept<L>, waiting: u64) {
    soon(async {
        while accept.backlog().unwrap().waiting != waiting {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// What a client hears to its end, while `accept` goes on and hands nobody out.
pub(super) async fn told<L: Listen>(accept: &Accept<L>, hears: impl Future<Output = String>) -> String {
    tokio::select! {
        said = hears => said,
        next = accept.accept() => panic!("handed out, or at an end: {}", next.is_ok()),
    }
}

/// Nobody is handed out for a while.
pub(super) async fn is_pending<L: Listen>(accept: &Accept<L>) -> bool {
    timeout(NOTHING_HAPPENS, accept.accept()).await.is_err()
}

pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("it takes too long")
}

pub(super) async fn read_all(mut stream: TcpStream) -> String {
    let mut said = String::new();
    soon(stream.read_to_string(&mut said)).await.unwrap();
    said
}

/// Accepts until it is dropped, and hands nobody out: everybody must be refused.
pub(super) fn refusing(accept: Accept) -> JoinHandle<Accept> {
    tokio::spawn(async move {
        let _ = timeout(SOON, accept.accept()).await;
        accept
    })
}
