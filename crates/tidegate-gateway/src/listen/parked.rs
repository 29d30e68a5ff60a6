//! A connection that is accepted and waits, unread, until there is memory for it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::memory::Parked;

use super::listener::Accepted;
use super::{ListenSettings, Serve, Shutdown, connection, displaced};

/// Waits in this place for as long as its client stays, as in the system's backlog; then serves it. If it has lost its
/// place, it is told.
pub(super) async fn wait<S: Serve>(
    mut place: Parked,
    mut accepted: Accepted,
    local: SocketAddr,
    service: Arc<S>,
    settings: Arc<ListenSettings>,
    shutdown: Shutdown,
) {
    let let_in = tokio::select! {
        biased;
        () = gone(&accepted.tcp) => return,
        let_in = place.let_in() => let_in,
    };
    let Some(account) = let_in else {
        // A drain empties the parking; nobody was displaced then.
        if !shutdown.draining() {
            displaced::send_away(accepted, local, &*service, &settings);
        }
        return;
    };
    accepted.account = Some(account);
    // In a task of its own, since this one is as small as what is charged for it.
    tokio::spawn(connection::serve(accepted, local, service, settings, shutdown));
}

/// Resolves when the client has closed its side, or the connection is broken, also while bytes are unread.
async fn gone(tcp: &TcpStream) {
    // PRIORITY is never registered for, so what ends this is the closed read side, which every interest carries.
    while let Ok(ready) = tcp.ready(Interest::PRIORITY).await {
        if ready.is_read_closed() {
            return;
        }
        tokio::task::yield_now().await;
    }
}
