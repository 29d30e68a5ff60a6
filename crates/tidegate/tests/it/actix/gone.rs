//! Behind actix's own server, over real sockets: clients that go, and workers that share one limiter.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use tidegate::actix::Limit;
use tidegate::{Limiter, QueueConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Far beyond what a busy machine needs.
const HANGS: Duration = Duration::from_secs(60);
const UNITS: u64 = 3;
const PLACES: u64 = 5;

/// Two workers behind one limiter; an answer takes one permit of `ends`.
struct Stand {
    limiter: Limiter,
    ends: Arc<Semaphore>,
    /// Workers that have served.
    begun: Arc<AtomicUsize>,
    address: std::net::SocketAddr,
    handle: ServerHandle,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Work {
    ends: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
}

async fn work(work: web::Data<Work>) -> &'static str {
    work.begun.fetch_add(1, SeqCst);
    work.ends.acquire().await.unwrap().forget();
    "done"
}

async fn panics() -> &'static str {
    panic!("as this test wants it");
}

impl Stand {
    fn new() -> Self {
        let queue = QueueConfig::bounded(PLACES);
        let limiter = Limiter::builder().limit(UNITS).queue(queue).build().unwrap();
        let (ends, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (say, hear) = std::sync::mpsc::sync_channel(1);
        let data = web::Data::new(Work { ends: Arc::clone(&ends), begun: Arc::clone(&begun) });
        let shared = limiter.clone();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || {
                    App::new()
                        .wrap(Limit::new(shared.clone()))
                        .app_data(data.clone())
                        .route("/", web::get().to(work))
                        .route("/panics", web::get().to(panics))
                };
                let server = HttpServer::new(app).workers(2).h1_allow_half_closed(false).disable_signals();
                let server = server.bind("127.0.0.1:0").unwrap();
                let address = server.addrs()[0];
                let server = server.run();
                say.send((address, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (address, handle) = hear.recv().unwrap();
        Self { limiter, ends, begun, address, handle, thread: Some(thread) }
    }

    async fn ask(&self) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n").await.unwrap();
        client
    }

    async fn until(&self, what: &str, holds: impl Fn(u64, u64) -> bool) {
        let stats = || (self.limiter.stats().in_flight, self.limiter.stats().waiting);
        let reached = async {
            while !holds(stats().0, stats().1) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let reached = tokio::time::timeout(HANGS, reached).await;
        assert!(reached.is_ok(), "{what}: {:?}", self.limiter.stats());
    }

    async fn stop(mut self) {
        self.handle.stop(false).await;
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
    }
}

async fn answer(mut client: TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn clients_that_go_leave_the_queue_and_the_limit() {
    let stand = Stand::new();
    let mut clients = Vec::new();
    for n in 0..UNITS + PLACES {
        clients.push(stand.ask().await);
        stand.until("one after the other", |held, waiting| held + waiting == n + 1).await;
    }
    // A worker begins a moment after its request was admitted.
    stand.until("the first are served", |_, _| stand.begun.load(SeqCst) as u64 >= UNITS).await;
    assert_eq!(stand.begun.load(SeqCst) as u64, UNITS);
    let refused = answer(stand.ask().await).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: "), "{refused}");
    assert!(refused.contains("application/problem+json") && refused.ends_with('}'), "{refused}");

    // One of those that wait closes its connection, one is reset.
    drop(clients.pop());
    clients.pop().unwrap().set_zero_linger().unwrap();
    stand.until("both left the queue", |held, waiting| (held, waiting) == (UNITS, PLACES - 2)).await;
    // The same with those that are served: the next two get their permits.
    drop(clients.remove(0));
    clients.remove(0).set_zero_linger().unwrap();
    stand.until("two moved up", |held, waiting| (held, waiting) == (UNITS, PLACES - 4)).await;
    // What one worker gives back, another worker's request may get.
    stand.ends.add_permits(clients.len());
    for client in clients {
        assert!(answer(client).await.ends_with("done"));
    }
    stand.until("nobody is left", |held, waiting| held + waiting == 0).await;
    assert_eq!(stand.limiter.try_acquire(UNITS).unwrap().weight(), UNITS);
    stand.stop().await;
}

#[tokio::test]
async fn work_that_panics_gives_its_permit_back() {
    let stand = Stand::new();
    for _ in 0..2 * UNITS {
        let mut client = TcpStream::connect(stand.address).await.unwrap();
        client.write_all(b"GET /panics HTTP/1.1\r\nhost: app\r\n\r\n").await.unwrap();
        assert_eq!(answer(client).await, "");
    }
    stand.until("nobody is left", |held, waiting| held + waiting == 0).await;
    assert_eq!(stand.limiter.stats().admitted, 2 * UNITS);
    stand.stop().await;
}

#[tokio::test]
async fn resets_at_random_strand_nothing() {
    const RESETS: u64 = 400;
    let stand = Stand::new();
    let mut random = 0x5eed_u64;
    let mut clients = Vec::new();
    for _ in 0..RESETS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let client = stand.ask().await;
        client.set_zero_linger().unwrap();
        clients.push(client);
        if clients.len() > 6 {
            let at = (random >> 33) as usize % clients.len();
            drop(clients.swap_remove(at));
        }
        if random >> 62 == 0 {
            stand.ends.add_permits(1);
        }
    }
    drop(clients);
    // Some may still be on their way through the kernel, and come while the first burst is tried.
    for _ in 0..30 {
        stand.until("nobody is left", |held, waiting| held + waiting == 0).await;
        stand.ends.forget_permits(usize::MAX);
        let mut burst = Vec::new();
        for _ in 0..UNITS {
            burst.push(stand.ask().await);
        }
        let whole = stand.until("whole", |held, waiting| (held, waiting) == (UNITS, 0));
        if tokio::time::timeout(Duration::from_secs(2), whole).await.is_ok() {
            stand.ends.add_permits(burst.len());
            for client in burst {
                assert!(answer(client).await.ends_with("done"));
            }
            stand.stop().await;
            return;
        }
    }
    panic!("a burst of the limit is not admitted whole: {:?}", stand.limiter.stats());
}
