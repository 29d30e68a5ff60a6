//! C 23: connections that have become something else.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::stand::{MOST, Stand, eventually, mib};

const TUNNELS: u64 = 100;
const HEAD: &[u8] = b"GET /up HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: flood\r\n\r\n";

/// An origin that upgrades, and then sends without end.
async fn flood(mut tcp: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match tcp.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: flood\r\n\r\n";
    let _ = tcp.write_all(answer).await;
    while tcp.write_all(&[b'f'; 65_536]).await.is_ok() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_whose_client_stalls_stays_small() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(flood(tcp));
        }
    });
    let stand = Stand::before(origin, &[]).await;
    let before = stand.resident();
    let mut clients = Vec::new();
    for _ in 0..TUNNELS {
        let mut tcp = TcpStream::connect(stand.address).await.unwrap();
        tcp.write_all(HEAD).await.unwrap();
        // It reads that it is connected, and no more.
        let mut status = [0; 12];
        tcp.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 101");
        clients.push(tcp);
    }
    let peak = stand.peak_over(Duration::from_secs(2)).await;
    let each = peak.saturating_sub(before) / TUNNELS;
    assert!(each <= 64 * 1024, "{each} bytes for each tunnel");
    assert!(peak <= MOST, "{} MiB", mib(peak));
    drop(clients);
    eventually("they are gone", async || stand.metric("tidegate_connections").await == 0.0).await;
}
