//! An origin that the test plays itself, byte by byte.

use std::fmt;

use tokio::net::TcpListener;

use crate::stand::bounded;
use crate::wire::Wire;

pub(crate) struct Script {
    listener: TcpListener,
}

impl Script {
    pub(crate) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        Self { listener }
    }

    pub(crate) async fn accept(&self) -> Wire {
        let (tcp, _) = bounded("the gateway dials", self.listener.accept()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        Wire::over(tcp)
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.listener.local_addr().unwrap())
    }
}
