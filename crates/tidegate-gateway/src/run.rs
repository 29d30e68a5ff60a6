//! A whole gateway: its listeners, from start to the end of its drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidegate::ConfigError;
use tokio::time::sleep;

use crate::admin::Admin;
use crate::config::Effective;
use crate::gateway::Gateway;
use crate::listen::{ListenError, ListenSettings, Listener, Shutdown};
use crate::memory::Memory;
use crate::observe::AccessLog;
use crate::origin::Origin;
use crate::tls::TlsError;

/// A gateway that listens.
#[derive(Debug)]
pub struct Running {
    gateway: Arc<Gateway>,
    clients: Listener,
    admin: Listener,
    probe: Option<Listener>,
    shutdown: Shutdown,
    drain: Duration,
}

/// A gateway cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// TLS to the origin cannot be set up.
    #[error("origin: {0}")]
    Tls(#[from] TlsError),
    /// The limiter cannot be made.
    #[error("limit: {0}")]
    Limit(#[from] ConfigError),
}

/// So long before the end of a drain, or a tenth of it, those that still wait are refused: time enough to write
/// what the queue holds.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Running {
    /// Listens on every address. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If an address cannot be had or TLS cannot be set up.
    pub fn start(
        mut effective: Effective,
        log: Option<AccessLog>,
        shutdown: Shutdown,
    ) -> Result<Self, StartError> {
        let memory = Memory::new(effective.plan());
        effective.origin_settings.memory = Some(memory.clone());
        effective.listen_settings.memory = Some(memory.clone());
        effective.listen_settings.memory_wait = effective.gateway.max_wait;
        effective.listen_settings.proxies = effective.gateway.trusted_proxies.clone();
        effective.gateway.memory = Some(memory);
        let origin = Origin::new(effective.origin, effective.origin_settings)?;
        let clients = Listener::bind(effective.listen, effective.listen_settings)?;
        let most = effective.admin_connections;
        let quiet = || ListenSettings { max_connections: most, ..ListenSettings::default() };
        let admin = Listener::bind(effective.admin, quiet())?;
        let probe = effective.probe.map(|address| Listener::bind(address, quiet())).transpose()?;
        let gateway = Gateway::new(effective.gateway, origin, log, shutdown.clone())?;
        gateway.show_connections(clients.connections());
        Ok(Self { gateway, clients, admin, probe, shutdown, drain: effective.drain })
    }

    /// The gateway, to be asked.
    #[must_use]
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Where clients come.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.clients.local_addr()
    }

    /// Where operators look.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.local_addr()
    }

    /// Where an orchestrator asks.
    #[must_use]
    pub fn probe_address(&self) -> Option<SocketAddr> {
        self.probe.as_ref().map(Listener::local_addr)
    }

    /// Serves until `shutdown` asks to drain, then until what was begun has ended, at most for the drain time. Shortly
    /// before its end those that still wait are refused ([`Draining`](tidegate::Reason::Draining)).
    /// The admin pages are there until the end. Returns false if something had to be cut off.
    pub async fn serve(self) -> bool {
        let side = Shutdown::new();
        let admin = Arc::new(Admin::new(Arc::clone(&self.gateway)));
        tokio::spawn(self.admin.run(admin, side.clone()));
        if let Some(probe) = self.probe {
            let pages = Arc::new(Admin::probe(Arc::clone(&self.gateway)));
            tokio::spawn(probe.run(pages, side.clone()));
        }
        let gateway = Arc::clone(&self.gateway);
        let serving = self.clients.run(self.gateway, self.shutdown.clone());
        tokio::pin!(serving);
        let whole = tokio::select! {
            () = &mut serving => true,
            () = async {
                self.shutdown.on_drain().await;
                let last_words = (self.drain / 10).min(LAST_WORDS);
                sleep(self.drain.saturating_sub(last_words)).await;
                gateway.refuse_waiting();
                sleep(last_words).await;
            } => false,
        };
        self.shutdown.abort();
        side.abort();
        whole
    }
}
