//! What the origin says of its load reaches the limiter, and goes no further.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::stand::{Stand, get};
use crate::wire::Wire;

/// So many clients that ask again and again, until this is dropped. Refused ones take a breath.
fn crowd(address: SocketAddr, size: usize) -> JoinSet<()> {
    let mut crowd = JoinSet::new();
    for _ in 0..size {
        crowd.spawn(async move {
            let mut wire = Wire::connect(address).await;
            loop {
                wire.send(get("/")).await;
                if wire.answer().await.status != 200 {
                    sleep(Duration::from_millis(10)).await;
                }
            }
        });
    }
    crowd
}

/// An origin that shares itself evenly between all who are there: clients of this test, and so many others. It reports both.
async fn shared_by(others: Arc<AtomicU64>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let here = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (here, others) = (Arc::clone(&here), Arc::clone(&others));
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let all = here.fetch_add(1, SeqCst) + 1 + others.load(SeqCst);
                    sleep(Duration::from_millis(4 * all)).await;
                    here.fetch_sub(1, SeqCst);
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Inflight: {all}\r\n\r\nok");
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_gate_that_shares_its_origin_hears_that_others_do_not_keep_time() {
    // Others have most of the origin, and take no notice of the clock. (Real ones would be late with their requests on a busy
    // machine, and then it is chance whether the origin's count moves.)
    let others = Arc::new(AtomicU64::new(200));
    let origin = shared_by(Arc::clone(&others)).await;
    let stand = Stand::facing(format!("http://{origin}"), "shared = true").await;
    let answer = stand.get("/").await;
    assert_eq!((answer.status, answer.header("x-inflight")), (200, ""));
    // More than its limit may be before it knows, so that it always binds.
    let ours = crowd(stand.address, 60);
    let alone = || stand.gateway.limiter().explain().phase == "alone";
    // A verdict takes two phases of the common clock, and more time where the machine is busy.
    let until = async |what: &str, wanted: bool| {
        for _ in 0..18_000 {
            if alone() == wanted {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}: {:?}", stand.gateway.limiter().explain());
    };
    until("it sees that it moves alone", true).await;
    others.store(0, SeqCst);
    until("it has the origin for itself again", false).await;
    drop(ours);
    assert!(stand.metric("tidegate_load_reports_total{believed=\"true\"}") > 20.0);
    assert!(stand.metric("tidegate_load_reports_total{believed=\"false\"}") == 0.0);
}

/// An origin whose every answer has this line in its head.
async fn saying(line: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{line}\r\n\r\nok");
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn what_cannot_be_believed_is_counted_and_taken_out() {
    for (line, believed) in [
        ("X-Inflight: lots", "false"),
        ("X-Inflight: 3\r\nx-inflight: 3", "false"),
        ("X-INFLIGHT: 3", "true"),
    ] {
        let stand = Stand::facing(format!("http://{}", saying(line).await), "").await;
        let answer = stand.get("/").await;
        assert_eq!((answer.text().as_str(), answer.header("x-inflight")), ("ok", ""), "{line}");
        assert_eq!(
            stand.metric(&format!("tidegate_load_reports_total{{believed=\"{believed}\"}}")),
            1.0,
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_report_for_everybody_passes() {
    let orca = "TEXT named_metrics.inflight=7";
    let address = saying("Endpoint-Load-Metrics: TEXT named_metrics.inflight=7").await;
    let stand = Stand::facing(format!("http://{address}"), "").await;
    assert_eq!(stand.get("/").await.header("endpoint-load-metrics"), orca);
    assert_eq!(stand.metric("tidegate_load_reports_total{believed=\"true\"}"), 1.0);
}
