//! What the kernel holds of connections, by its own word (sock_diag(7)). `/proc/net/tcp` would also name each that any
//! program of the machine had in the last minute: where those are many it takes seconds to read, and changes meanwhile.

use std::io::{Read, Write};

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

/// Bytes that wait in the system, both ways and at both ends of the connections of these ports of 127.0.0.1. (The same numbers
/// are others' at other addresses.)
pub(crate) fn queued(ports: &[u16]) -> u64 {
    let socket = Socket::new(Domain::from(NETLINK), Type::from(RAW), Some(Protocol::from(SOCK_DIAG)));
    let mut socket = socket.unwrap();
    socket.write_all(&request()).unwrap();
    let (mut room, mut sum) = (vec![0; 1 << 16], 0);
    loop {
        let read = socket.read(&mut room).unwrap();
        let mut rest = &room[..read];
        while !rest.is_empty() {
            let number = |at: usize| u32::from_ne_bytes(rest[at..at + 4].try_into().unwrap());
            // A head of 16 bytes, four of state, the ports, the addresses; 56 and 60 bytes after the head its two queues.
            let is_end = |port: usize, address: usize| {
                rest[address..address + 4] == [127, 0, 0, 1]
                    && ports.contains(&u16::from_be_bytes([rest[port], rest[port + 1]]))
            };
            match u16::from_ne_bytes([rest[4], rest[5]]) {
                DONE => return sum,
                ERROR => panic!("the kernel does not say: error {}", number(16)),
                _ if is_end(20, 24) || is_end(22, 40) => {
                    sum += u64::from(number(72)) + u64::from(number(76));
                }
                _ => {}
            }
            let length = number(0).next_multiple_of(4) as usize;
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

#[tokio::test]
async fn what_nobody_reads_is_queued() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut one = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut other, _) = listener.accept().await.unwrap();
    assert_eq!(queued(&[port]), 0);
    one.write_all(&[b'x'; 1000]).await.unwrap();
    crate::stand::eventually("it is there", || queued(&[port]) == 1000).await;
    other.read_exact(&mut [0; 1000]).await.unwrap();
    crate::stand::eventually("it is read", || queued(&[port]) == 0).await;
}
