//! What the kernel holds of connections, by its own word (sock_diag(7)). `/proc/net/tcp` would also name each that any
//! program of the machine had in the last minute: where those are many it takes seconds to read, and changes meanwhile.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};

use socket2::{Domain, Protocol, Socket, Type};

const NETLINK: i32 = 16;
const RAW: i32 = 3;
const SOCK_DIAG: i32 = 4;

/// `SOCK_DIAG_BY_FAMILY`, and the flags of a request for a list.
const BY_FAMILY: u16 = 20;
const LIST: u16 = 0x301;
/// An answer that is none, and the last one.
const ERROR: u16 = 2;
const DONE: u16 = 3;

const IPV4: u8 = 2;
const TCP: u8 = 6;
const ESTABLISHED: u8 = 1;
/// Neither those that only wait for their time to be over, nor listeners, whose queues count connections.
const STATES: u32 = 0xfff & !(1 << 6) & !(1 << 10);

fn request() -> Vec<u8> {
    let mut asked = vec![IPV4, TCP, 0, 0];
    asked.extend(STATES.to_ne_bytes());
    // Of any socket.
    asked.resize(asked.len() + 48, 0);
    let mut bytes = u32::try_from(16 + asked.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(LIST.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(asked);
    bytes
}

/// One end of a connection, and the bytes that wait there.
struct End {
    local: SocketAddrV4,
    peer: SocketAddrV4,
    established: bool,
    received: u64,
    unsent: u64,
}

/// Those of this machine.
fn ends() -> Vec<End> {
    let socket = Socket::new(Domain::from(NETLINK), Type::from(RAW), Some(Protocol::from(SOCK_DIAG)));
    let mut socket = socket.unwrap();
    socket.write_all(&request()).unwrap();
    let (mut room, mut ends) = (vec![0; 1 << 16], Vec::new());
    loop {
        let read = socket.read(&mut room).unwrap();
        let mut rest = &room[..read];
        while !rest.is_empty() {
            let number = |at: usize| u32::from_ne_bytes(rest[at..at + 4].try_into().unwrap());
            // A head of 16 bytes, four of state, the ports, the addresses; 56 and 60 bytes after the head its two queues.
            let end = |port: usize, address: usize| {
                let ip: [u8; 4] = rest[address..address + 4].try_into().unwrap();
                SocketAddrV4::new(ip.into(), u16::from_be_bytes([rest[port], rest[port + 1]]))
            };
            match u16::from_ne_bytes([rest[4], rest[5]]) {
                DONE => return ends,
                ERROR => panic!("the kernel does not say: error {}", number(16)),
                _ => ends.push(End {
                    local: end(20, 24),
                    peer: end(22, 40),
                    established: rest[17] == ESTABLISHED,
                    received: number(72).into(),
                    unsent: number(76).into(),
                }),
            }
            let length = number(0).next_multiple_of(4) as usize;
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// Bytes that wait in the system, both ways and at both ends of the connections of these ports of 127.0.0.1. (The same numbers
/// are others' at other addresses.)
pub(crate) fn queued(ports: &[u16]) -> u64 {
    let is_one = |end: &SocketAddrV4| *end.ip() == Ipv4Addr::LOCALHOST && ports.contains(&end.port());
    let ours = ends().into_iter().filter(|end| is_one(&end.local) || is_one(&end.peer));
    ours.map(|end| end.received + end.unsent).sum()
}

/// Bytes that have come to this port of 127.0.0.1 and were not read there, by who has sent them.
pub(crate) fn received(port: u16) -> BTreeMap<SocketAddrV4, u64> {
    let there = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let ours = ends().into_iter().filter(|end| end.established && end.local == there);
    ours.map(|end| (end.peer, end.received)).collect()
}

#[tokio::test]
async fn what_nobody_reads_is_queued() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut one = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut other, _) = listener.accept().await.unwrap();
    assert_eq!(queued(&[port]), 0);
    assert_eq!(received(port).into_values().collect::<Vec<_>>(), [0]);
    one.write_all(&[b'x'; 1000]).await.unwrap();
    crate::stand::eventually("it is there", || queued(&[port]) == 1000).await;
    let std::net::SocketAddr::V4(from) = one.local_addr().unwrap() else { panic!("of the other family") };
    crate::stand::eventually("it is known whose", || received(port) == [(from, 1000)].into()).await;
    other.read_exact(&mut [0; 1000]).await.unwrap();
    crate::stand::eventually("it is read", || queued(&[port]) == 0).await;
}
