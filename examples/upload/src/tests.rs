//! Uploads by curl, over both protocols, to a disk that is slower than they are.

use std::fs;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tidegate::budget::Budget;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::accept::{self, FLOOR};
use crate::disk::Disk;
use crate::scratch;
use crate::store::Store;

const PROTOCOLS: [&str; 2] = ["--http1.1", "--http2-prior-knowledge"];

struct Server {
    address: SocketAddr,
    budget: Budget,
    folder: PathBuf,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    fn start(name: &str, bytes: u64, pace: Option<u64>) -> Self {
        let folder = scratch(name);
        fs::create_dir_all(&folder).unwrap();
        let listener = accept::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let budget = Budget::new("uploads", bytes);
        let store = Arc::new(Store::new(folder.clone(), Disk::new(pace)));
        let task = tokio::spawn(accept::serve(listener, store, budget.clone()));
        Self { address, budget, folder, task }
    }

    /// Curl, which sends `data` from a file. (From its standard input, Debian's curl 7.88 now and then stops over HTTP/2.)
    async fn curl(&self, arguments: &[&str], path: &str, data: Option<&[u8]>) -> Output {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--path-as-is", "-w", "%{http_code}", "--max-time", "120"]).args(arguments);
        if let Some(data) = data {
            let file = self.folder.join(format!("from{}", path.replace('/', "-")));
            fs::write(&file, data).unwrap();
            curl.arg("-T").arg(file);
        }
        curl.arg(format!("http://{}{path}", self.address)).kill_on_drop(true).output().await.unwrap()
    }

    /// Waits for what ends a moment after the client heard of it.
    async fn at_rest(&self) {
        for _ in 0..6000 {
            // The accept loop itself has one connection's bytes in its hand.
            if self.budget.used() <= FLOOR && self.parts() == 0 {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}, {} parts", self.budget.snapshot(), self.parts());
    }

    fn parts(&self) -> usize {
        let files = fs::read_dir(&self.folder).unwrap();
        files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part")).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_curl_sends_is_what_is_on_the_disk() {
    let server = Server::start("whole", 8 << 20, None);
    for protocol in PROTOCOLS {
        for length in [0, 1, 65_535, 65_536, 3_000_001] {
            let data = noise(length);
            let output = server.curl(&[protocol], "/file", Some(&data)).await;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(said, format!("{length} bytes\n201"), "{protocol}");
            assert!(fs::read(server.folder.join("file")).unwrap() == data, "{protocol}, {length} bytes");
        }
        for path in ["/../file", "/.hidden", "/a/b", "/%2e%2e"] {
            let output = server.curl(&[protocol], path, Some(b"x")).await;
            assert!(String::from_utf8_lossy(&output.stdout).ends_with("404"), "{protocol} {path}");
        }
        let output = server.curl(&[protocol], "/", None).await;
        assert!(String::from_utf8_lossy(&output.stdout).contains("bytes are held"), "{output:?}");
    }
    server.at_rest().await;
}

/// Twelve clients send 1 MiB each at once to a disk that takes up 6 MiB a second, through a budget of 2 MiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_holds_its_clients_back_and_not_their_bytes() {
    let limit = 2 << 20;
    let server = Server::start("slow", limit, Some(6 << 20));
    let before = crate::demo::resident().unwrap();
    let data = noise(1 << 20);
    let uploads = (0..12).map(|at| {
        let (server, data) = (&server, &data);
        async move {
            let path = format!("/file{at}");
            let output = server.curl(&[PROTOCOLS[at % 2]], &path, Some(data)).await;
            assert_eq!(String::from_utf8_lossy(&output.stdout), "1048576 bytes\n201");
        }
    });
    let mut most = 0;
    // On this task: what they borrow stays here.
    let mut uploads: Vec<_> = uploads.map(Box::pin).collect();
    let all = poll_fn(|cx| {
        uploads.retain_mut(|upload| upload.as_mut().poll(cx).is_pending());
        if uploads.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    });
    tokio::pin!(all);
    loop {
        tokio::select! {
            () = &mut all => break,
            () = sleep(Duration::from_millis(20)) => most = most.max(crate::demo::resident().unwrap()),
        }
    }
    for at in 0..12 {
        assert!(fs::read(server.folder.join(format!("file{at}"))).unwrap() == data, "file{at}");
    }
    assert!(server.budget.peak() <= limit);
    let grown = most.saturating_sub(before);
    assert!(grown < 24 << 20, "{} KiB more than before, for a budget of 2 MiB", grown >> 10);
    server.at_rest().await;
}

/// A client that sends whenever it may is never further ahead of the disk than one stream's window.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credit_is_given_for_what_is_on_the_disk() {
    let server = Server::start("credit", 8 << 20, Some(4 << 20));
    let socket = TcpStream::connect(server.address).await.unwrap();
    let (requests, connection) = h2::client::handshake(socket).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut requests = requests.ready().await.unwrap();
    let request = http::Request::put(format!("http://{}/file", server.address)).body(()).unwrap();
    let (response, mut body) = requests.send_request(request, false).unwrap();
    // Until the server's settings are here, the client has what the protocol gives it.
    let (mut sent, window, chunk) = (0, 256 << 10, 16 << 10);
    while sent < 4 << 20 {
        body.reserve_capacity(chunk);
        let granted = poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap();
        body.send_data(Bytes::from(vec![0; granted]), false).unwrap();
        sent += granted;
        // Looked at later than the credit, so that it can only have more.
        let part = server.folder.join(".file.0.part");
        let written = fs::metadata(part).map_or(0, |file| file.len() as usize);
        assert!(sent <= written + window, "{sent} bytes might be sent, {written} are on the disk");
    }
    body.send_data(Bytes::new(), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), http::StatusCode::CREATED);
    drop((response, requests, body));
    connection.await.unwrap().unwrap();
    server.at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_leaves_nothing() {
    let server = Server::start("leaves", 8 << 20, Some(1 << 20));
    for protocol in PROTOCOLS {
        let data = noise(4 << 20);
        let output = server.curl(&[protocol, "--max-time", "1"], "/file", Some(&data)).await;
        assert!(!output.status.success(), "{protocol}");
    }
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"PUT /half HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf of it").await.unwrap();
    sleep(Duration::from_millis(50)).await;
    drop(half);
    server.at_rest().await;
    assert!(!server.folder.join("half").exists() && !server.folder.join("file").exists());
}

/// Connections that say nothing take up what there is for new ones, and no more; the others wait outside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_as_many_as_there_are_bytes_for() {
    let server = Server::start("many", 10 * FLOOR, None);
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    until("the accept loop waits", || server.budget.waiting() == 1).await;
    sleep(Duration::from_millis(200)).await;
    assert!(server.budget.used() <= 6 * FLOOR, "{}", server.budget.used());
    assert_eq!(server.budget.waiting(), 1, "the accept loop");
    silent.drain(..10);
    silent[9].write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    silent.drain(..9);
    let mut said = String::new();
    silent[0].read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
}
