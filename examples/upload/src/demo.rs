//! Two uploads to a slow disk, by curl, with the memory that the server takes.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidegate::budget::Budget;
use tokio::process::Command;
use tokio::time::{Instant, interval};

use crate::disk::Disk;
use crate::store::Store;
use crate::{BUDGET, accept, scratch};

/// Half of what curl sends over loopback, and less.
const PACE: u64 = 128 << 20;

/// Uploads `bytes` over HTTP/2 and over HTTP/1.
pub(crate) async fn run(bytes: u64) -> io::Result<()> {
    let folder = scratch("demo");
    fs::create_dir_all(&folder)?;
    let listener = accept::listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = listener.local_addr()?;
    let budget = Budget::root("uploads", BUDGET).build();
    let store = Arc::new(Store::new(folder.clone(), Disk::new(Some(PACE))));
    let server = tokio::spawn(accept::serve(listener, store, budget.clone()));
    // A file of zeros that takes no room itself.
    let source = folder.join("source");
    fs::File::create(&source)?.set_len(bytes)?;
    println!("disk: {} MiB/s; budget: {} MiB", PACE >> 20, BUDGET >> 20);
    for protocol in ["--http2-prior-knowledge", "--http1.1"] {
        upload(address, protocol, &source, &budget).await?;
    }
    server.abort();
    fs::remove_dir_all(folder)
}

async fn upload(address: SocketAddr, protocol: &str, source: &Path, budget: &Budget) -> io::Result<()> {
    let bytes = fs::metadata(source)?.len();
    println!("\n{} MiB with curl {protocol}", bytes >> 20);
    let url = format!("http://{address}/upload");
    let curl = Command::new("curl")
        .args(["-sS", protocol, "-o", "/dev/null", "-w", "%{http_code}", "-T"])
        .args([source.as_os_str(), url.as_ref()])
        .kill_on_drop(true)
        .output();
    let start = Instant::now();
    tokio::pin!(curl);
    let mut second = interval(Duration::from_secs(1));
    let (mut least, mut most) = (u64::MAX, 0);
    let output = loop {
        tokio::select! {
            output = &mut curl => break output?,
            _ = second.tick() => {
                let rss = resident()?;
                (least, most) = (least.min(rss), most.max(rss));
                println!("{:>4} s  resident {:>6} KiB  charged {:>6} KiB", start.elapsed().as_secs(), rss >> 10, budget.used() >> 10);
            }
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    let status = String::from_utf8_lossy(&output.stdout).into_owned();
    println!(
        "status {status}, {:.0} MiB/s; resident {} to {} KiB, charged at most {} of {} KiB",
        bytes as f64 / seconds / f64::from(1 << 20),
        least >> 10,
        most >> 10,
        budget.peak() >> 10,
        budget.limit() >> 10
    );
    if status == "201" { Ok(()) } else { Err(io::Error::other(status)) }
}

/// What this process has in memory, bytes.
pub(crate) fn resident() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other("no VmRSS"))
}
