//! Running out of file descriptors, in a child process that has few of them.

use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use tidegate::Limiter;
use tidegate::gate::accept::{Accept, BoundBy, Lane, WhenFull};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const FEW: u64 = 64;
const CHILD: &str = "TIDEGATE_TEST_FEW_DESCRIPTORS";
const SOON: Duration = Duration::from_secs(20);

/// Runs `scenario` with few file descriptors: the test runs itself again in a process of its own.
fn with_few_descriptors(name: &str, scenario: impl Future<Output = ()>) {
    if std::env::var_os(CHILD).is_none() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let path = format!("{}::{name}", module_path!().split_once("::").unwrap().1);
        let output = child.args(["--exact", &path, "--nocapture"]).env(CHILD, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
        return;
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(FEW), maximum: Some(FEW) }).unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(scenario);
}

/// Takes every descriptor there is.
fn take_all(any: impl AsFd) -> Vec<std::os::fd::OwnedFd> {
    std::iter::from_fn(|| any.as_fd().try_clone_to_owned().ok()).collect()
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

#[test]
fn accepting_pauses_without_spinning_and_probes_are_heard() {
    with_few_descriptors("accepting_pauses_without_spinning_and_probes_are_heard", async {
        let accept = Accept::new(listener().await, Limiter::fixed(10_000)).unwrap();
        let accept = accept.health_lane(listener().await).unwrap();
        assert_eq!((accept.bound().connections, accept.bound().by), (FEW - 16, BoundBy::Descriptors));
        let client = TcpStream::connect(accept.local_addr().unwrap()).await.unwrap();
        let probe = TcpStream::connect(accept.health_addr().unwrap().unwrap()).await.unwrap();
        let all = take_all(&client);

        let heard = timeout(SOON, accept.accept()).await.unwrap().unwrap();
        assert_eq!(heard.lane, Lane::Health);
        assert!(timeout(Duration::from_millis(300), accept.accept()).await.is_err());
        // It looks again every 50 ms.
        let shortages = accept.stats().shortages;
        assert!((1..=30).contains(&shortages), "{shortages}");
        assert_eq!((accept.connections().stats().in_flight, accept.backlog().unwrap().waiting), (0, 1));

        drop(all);
        let next = timeout(SOON, accept.accept()).await.unwrap().unwrap();
        assert_eq!((next.lane, accept.connections().stats().in_flight), (Lane::Main, 1));
        drop((probe, heard, next));
    });
}

#[test]
fn clients_are_told_by_the_descriptor_kept_for_it() {
    with_few_descriptors("clients_are_told_by_the_descriptor_kept_for_it", async {
        let accept = Accept::new(listener().await, Limiter::fixed(10_000)).unwrap();
        let accept = accept.when_full(WhenFull::Answer503);
        let mut clients = Vec::new();
        for _ in 0..5 {
            clients.push(TcpStream::connect(accept.local_addr().unwrap()).await.unwrap());
        }
        let all = take_all(&clients[0]);
        let hear = async {
            for client in &mut clients {
                let mut said = String::new();
                timeout(SOON, client.read_to_string(&mut said)).await.unwrap().unwrap();
                assert!(
                    said.starts_with("HTTP/1.1 503 ") && said.contains(r#""reason":"connections""#),
                    "{said}"
                );
            }
        };
        tokio::select! {
            () = hear => {}
            _ = accept.accept() => panic!("handed out, or at an end"),
        }
        assert_eq!((accept.stats().refused, accept.connections().stats().in_flight), (5, 0));
        drop(all);
    });
}
