use std::task::Waker;

use socket2::SockRef;
use tokio::net::TcpSocket;
use tokio::time::advance;

use super::*;
use crate::memory::{Arrival, Kind, Memory, Plan};

const KIB: usize = 1024;

/// As most machines have it.
const USUAL: Limits = Limits { first: 128 * KIB, settable: 416 * KIB, most: 6144 * KIB };

async fn accepted() -> (TcpStream, TcpStream) {
    let socket = TcpSocket::new_v4().unwrap();
    receive::begin_with(&socket, RECEIVED as usize).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0, client)
}

fn account(memory: &Memory) -> Arc<Account> {
    let Arrival::In(account) = memory.arrive(([127, 0, 0, 1], 1).into(), false, false) else {
        panic!("there is room")
    };
    account.speaks(Kind::Http1);
    account
}

fn memory(mib: u64) -> Memory {
    Memory::new(Plan::new(mib << 20, false, false))
}

/// A connection as `limits` would have it.
async fn inflow(memory: &Memory, limits: Limits) -> (Inflow, TcpStream, TcpStream) {
    let (tcp, client) = accepted().await;
    let mut inflow = Inflow::new(&tcp, &account(memory)).unwrap();
    inflow.limits = limits;
    inflow.round = |_| None;
    inflow.largest = inflow.largest.min(limits.most);
    inflow.begins(&tcp, false);
    (inflow, tcp, client)
}

fn size(tcp: &TcpStream) -> usize {
    SockRef::from(tcp).recv_buffer_size().unwrap()
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn charged(memory: &Memory) -> usize {
    memory.facts().charged_bytes as usize
}

#[tokio::test(start_paused = true)]
async fn what_is_read_quickly_gets_twice_as_much_each_time_and_pays_first() {
    let memory = memory(64);
    let settable = receive::limits().unwrap().settable;
    let limits = Limits { first: 0, settable, most: 4096 * KIB };
    let (mut inflow, tcp, _client) = inflow(&memory, limits).await;
    let rest = charged(&memory);
    assert_eq!((size(&tcp), inflow.largest), (64 * KIB, 4096 * KIB));
    let mut wanted = 64 * KIB;
    while wanted < limits.most.min(settable) {
        inflow.read(&tcp, wanted / 4 - 1, &mut cx());
        assert_eq!(size(&tcp), wanted);
        inflow.read(&tcp, 1, &mut cx());
        wanted *= 2;
        assert_eq!((size(&tcp), charged(&memory)), (wanted, rest + wanted - 64 * KIB));
    }
    inflow.read(&tcp, wanted, &mut cx());
    assert_eq!(size(&tcp), wanted, "there is an end");
    drop(inflow);
    assert!(charged(&memory) < rest, "its connection's own came back with it");
}

#[tokio::test(start_paused = true)]
async fn what_is_small_slow_or_no_body_gets_no_more() {
    let memory = memory(64);
    let (mut inflow, tcp, _client) = inflow(&memory, USUAL).await;
    inflow.ends(1);
    for _ in 0..100 {
        inflow.begins(&tcp, false);
        inflow.read(&tcp, 16 * KIB - 1, &mut cx());
        inflow.ends(1);
        inflow.read(&tcp, 100 * KIB, &mut cx());
    }
    inflow.begins(&tcp, false);
    for _ in 0..10 {
        advance(QUICK + Duration::from_millis(1)).await;
        inflow.read(&tcp, 16 * KIB, &mut cx());
    }
    assert_eq!((size(&tcp), inflow.charged), (64 * KIB, 0));
    advance(QUICK).await;
    inflow.read(&tcp, 16 * KIB, &mut cx());
    assert_eq!((size(&tcp), inflow.charged), (128 * KIB, 64 * KIB as u64));
}

#[tokio::test]
async fn beyond_what_can_be_said_the_kernel_has_all_that_it_could_take() {
    for (mib, sizes) in [(64, &[128, 256, 416, 416][..]), (128, &[128, 256, 6144, 6144])] {
        let memory = memory(mib);
        let (mut inflow, tcp, _client) = inflow(&memory, USUAL).await;
        for wanted in sizes {
            inflow.read(&tcp, 1 << 20, &mut cx());
            assert_eq!(inflow.size, wanted * KIB);
            assert_eq!(inflow.charged as usize, (wanted - 64) * KIB);
        }
        inflow.shrink(&tcp);
        assert_eq!(size(&tcp), 256 * KIB, "it can be told again");
    }
}

#[tokio::test]
async fn when_memory_is_short_it_takes_no_more_and_what_has_come_stays_charged() {
    let memory = memory(128);
    let (mut inflow, tcp, _client) = inflow(&memory, Limits { settable: 1024 * KIB, ..USUAL }).await;
    let rest = charged(&memory);
    // Over loopback: four segments of 65,483 bytes.
    let least = 256 * KIB;
    for _ in 0..4 {
        inflow.read(&tcp, 1 << 20, &mut cx());
    }
    assert_eq!((size(&tcp), charged(&memory)), (1024 * KIB, rest + 960 * KIB));
    assert!(memory.lease(u64::MAX / 2, Tier::Grow).is_none(), "it is short");
    inflow.read(&tcp, 256 * KIB, &mut cx());
    assert_eq!((size(&tcp), charged(&memory)), (least, rest + 960 * KIB));
    // No more is had before all of it was read.
    inflow.read(&tcp, 1023 * KIB, &mut cx());
    assert_eq!((size(&tcp), charged(&memory)), (least, rest + 960 * KIB));
    inflow.ends(1);
    inflow.read(&tcp, KIB, &mut cx());
    assert_eq!((size(&tcp), charged(&memory)), (least, rest + least - 64 * KIB));
    inflow.begins(&tcp, false);
    inflow.read(&tcp, 1 << 20, &mut cx());
    assert_eq!((size(&tcp), charged(&memory)), (2 * least, rest + 2 * least - 64 * KIB));
    // Nothing is left of it.
    drop(inflow);
    assert_eq!(charged(&memory), memory.plan().fixed() as usize);
}

#[test]
fn the_least_has_room_for_segments() {
    assert_eq!([0, 1448, 8948, 65_483].map(least), [64 * KIB, 64 * KIB, 64 * KIB, 256 * KIB]);
}

#[tokio::test]
async fn who_has_nothing_to_be_read_keeps_its_size_until_memory_is_short() {
    let memory = memory(64);
    let (mut inflow, tcp, _client) = inflow(&memory, USUAL).await;
    let rest = charged(&memory);
    for _ in 0..3 {
        inflow.read(&tcp, 1 << 20, &mut cx());
    }
    inflow.idle(&tcp, &mut cx());
    assert_eq!((size(&tcp), charged(&memory)), (416 * KIB, rest + 352 * KIB));
    assert!(memory.lease(u64::MAX / 2, Tier::Grow).is_none(), "it is short");
    inflow.idle(&tcp, &mut cx());
    assert_eq!((size(&tcp), charged(&memory)), (256 * KIB, rest + 192 * KIB));
}

#[tokio::test]
async fn without_memory_the_upload_goes_on_with_the_least() {
    let memory = memory(64);
    let (mut inflow, tcp, _client) = inflow(&memory, USUAL).await;
    let all = memory.lease(memory.plan().bytes - memory.facts().charged_bytes, Tier::First).unwrap();
    for _ in 0..100 {
        inflow.read(&tcp, 16 * KIB, &mut cx());
    }
    assert_eq!((size(&tcp), inflow.charged), (64 * KIB, 0));
    drop(all);
    inflow.read(&tcp, SELDOM, &mut cx());
    assert_eq!(size(&tcp), 128 * KIB);
}

#[tokio::test]
async fn more_than_eight_times_what_is_read_in_a_round_trip_is_of_no_use() {
    let memory = memory(64);
    let (mut inflow, tcp, _client) = inflow(&memory, USUAL).await;
    inflow.round = |_| Some(20 * KIB);
    for wanted in [128, 256, 256, 256] {
        inflow.read(&tcp, 1 << 20, &mut cx());
        assert_eq!(size(&tcp), wanted * KIB);
    }
    inflow.round = |_| Some(33 * KIB);
    inflow.read(&tcp, 1 << 20, &mut cx());
    assert_eq!(size(&tcp), 416 * KIB);
    assert!(sight::look(&tcp).unwrap().round > 0, "the kernel tells");
}

#[tokio::test]
async fn an_end_is_heard_although_another_task_says_it_and_then_nothing_is_heeded() {
    let memory = memory(64);
    let (inflow, tcp, _client) = inflow(&memory, USUAL).await;
    let inflows = Inflows::new(Some(inflow));
    inflows.tell(|inflow| inflow.begins(&tcp, false));
    // Two were read, and end while the connection's task is at it.
    inflows.tell(|_| (0..2).for_each(|_| inflows.body_ends()));
    assert!(inflows.heeds());
    inflows.tell(|inflow| inflow.read(&tcp, 1, &mut cx()));
    assert!(!inflows.heeds());
}

/// Enough to be seen to leave while it waits, as without a bound.
#[tokio::test]
async fn a_large_body_begins_with_what_the_system_would_give() {
    let memory = memory(64);
    let (mut inflow, tcp, _client) = inflow(&memory, USUAL).await;
    inflow.ends(1);
    let rest = charged(&memory);
    for _ in 0..2 {
        inflow.begins(&tcp, true);
        assert_eq!((size(&tcp), charged(&memory)), (128 * KIB, rest + 64 * KIB));
    }
    inflow.read(&tcp, 32 * KIB - 1, &mut cx());
    assert_eq!(size(&tcp), 128 * KIB);
    inflow.read(&tcp, 1, &mut cx());
    assert_eq!(size(&tcp), 256 * KIB);
    drop(inflow);
    let (mut inflow, tcp, _client) = self::inflow(&memory, USUAL).await;
    let all = memory.lease(memory.plan().bytes - memory.facts().charged_bytes, Tier::First).unwrap();
    inflow.begins(&tcp, true);
    assert_eq!(size(&tcp), 64 * KIB, "there is no memory for it");
    drop(all);
}

/// What the kernel holds is no more than what is charged for it, however it is sent.
#[tokio::test]
async fn the_kernel_takes_no_more_than_that() {
    let memory = memory(64);
    let received = memory.plan().received() as usize;
    for piece in [1, 33, 200, 1460, 65_536] {
        let (_inflow, tcp, client) = inflow(&memory, USUAL).await;
        client.set_nodelay(true).unwrap();
        let bytes = vec![0; piece];
        for _ in 0..200_000 {
            if client.try_write(&bytes).is_err() {
                break;
            }
        }
        let (held, _) = receive::held(&tcp).unwrap();
        assert!(held <= received, "{held} bytes in pieces of {piece}");
    }
}
