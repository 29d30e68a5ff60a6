//! An upload server for HTTP/1 and HTTP/2 on one port that takes in no more than its disk takes up: what a client may send
//! ahead is leased from one budget, and it may send more when what it sent is on the disk.
//!
//! ```sh
//! cargo run --release -p example-upload -- serve /tmp          # then, beside it:
//! curl -T big.iso http://localhost:4080/big.iso                # HTTP/1
//! curl --http2-prior-knowledge -T big.iso http://localhost:4080/big.iso
//! curl http://localhost:4080/                                  # how full the budget is
//! cargo run --release -p example-upload -- demo                # 2 GiB over each to a slow disk, with the memory it takes
//! ```
//!
//! What python-hyper/h2's examples leave open is closed here: requests are bounded (a few streams a connection, and
//! connections by the budget); the task that reads a connection never waits for anything else, so that the credit which the
//! peer gives is always seen; and credit is given when bytes are on the disk, not when they were received.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tidegate::budget::Budget;
use tokio::net::TcpListener;

mod accept;
mod demo;
mod disk;
mod http1;
mod http2;
mod store;
#[cfg(test)]
mod tests;

use disk::Disk;
use store::Store;

/// For everything that clients may have sent and the disk has not taken up.
const BUDGET: u64 = 8 << 20;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("serve"), Some(folder)) => runtime.block_on(async {
            let listener = accept::listen(SocketAddr::from(([127, 0, 0, 1], 4080)))?;
            println!("uploads to http://{} go to {folder}", listener.local_addr()?);
            serve(listener, Arc::new(Store::new(folder.into(), Disk::new(None)))).await
        }),
        (Some("demo"), mebibytes) => {
            let mebibytes = mebibytes.and_then(|text| text.parse().ok()).unwrap_or(2048);
            runtime.block_on(demo::run(mebibytes << 20))
        }
        _ => Err(io::Error::other("upload serve FOLDER | upload demo [MEBIBYTES]")),
    }
}

async fn serve(listener: TcpListener, store: Arc<Store>) -> io::Result<()> {
    accept::serve(listener, store, Budget::root("uploads", BUDGET).reserve(BUDGET / 50).build()).await
}

/// A folder of its own for a run.
fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("tidegate-upload-{}-{name}", std::process::id()))
}
