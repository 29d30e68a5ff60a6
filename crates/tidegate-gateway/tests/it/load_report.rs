//! What the origin says of its load reaches the limiter, and goes no further.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_lab::origin::{Origin, OriginSettings, Watch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::stand::{Stand, eventually, get};
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

/// The lab's origin: four workers of 20 ms, few enough that a busy machine keeps up.
async fn lab() -> (SocketAddr, Watch) {
    let mut settings = OriginSettings::default();
    (settings.workers, settings.mean) = (4, Duration::from_millis(20));
    settings.report = true;
    let origin = Origin::bind(([127, 0, 0, 1], 0).into(), settings).await.unwrap();
    let (address, watch) = (origin.local_addr().unwrap(), origin.watch());
    tokio::spawn(origin.serve());
    (address, watch)
}

#[tokio::test]
async fn a_gate_that_shares_its_origin_hears_that_others_do_not_keep_time() {
    let (origin, watch) = lab().await;
    let stand = Stand::facing(format!("http://{origin}"), "shared = true").await;
    let answer = stand.get("/").await;
    assert_eq!((answer.status, answer.header("x-inflight")), (200, ""));
    // Others that take no notice of the clock have most of the origin.
    let others = crowd(origin, 60);
    // More than its limit may be before it knows, so that it always binds.
    eventually("they are there", || watch.stats().waiting > 50).await;
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
    drop(others);
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
