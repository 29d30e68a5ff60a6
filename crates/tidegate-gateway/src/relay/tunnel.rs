//! Bytes both ways after an upgrade.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;

use crate::listen::Shutdown;

/// Bytes that may wait in either direction: what a WebSocket's larger messages need to move at full speed.
const BUFFER: usize = 16 * 1024;

/// Carries bytes between client and origin until both have closed, or it is time to stop.
pub(crate) async fn run(client: OnUpgrade, origin: OnUpgrade, shutdown: &Shutdown) {
    let both = async {
        let (client, origin) = tokio::try_join!(client, origin)?;
        let (mut client, mut origin) = (TokioIo::new(client), TokioIo::new(origin));
        let carried = copy_bidirectional_with_sizes(&mut client, &mut origin, BUFFER, BUFFER).await;
        if let Err(error) = carried {
            tracing::debug!(%error, "a tunnel ended early");
        }
        Ok::<_, hyper::Error>(())
    };
    tokio::select! {
        ended = both => if let Err(error) = ended {
            tracing::debug!(%error, "an upgrade did not come about");
        },
        () = shutdown.on_abort() => {}
    }
}
