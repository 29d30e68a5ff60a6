//! A small answer written from two places in one call, from one that is told as a list of one, and copied into one place first:
//! what `src/socket/gather.rs` rests on. Over loopback, read again by the same thread, so that nobody is woken.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a program of its own, without a runtime

use std::io::{IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

type Way = fn(&mut TcpStream) -> usize;

const HEAD: [u8; 200] = [b'h'; 200];
const BODY: [u8; 1024] = [b'b'; 1024];
const ALL: usize = HEAD.len() + BODY.len();
const TURNS: usize = 11;
const WRITES: u32 = 20_000;

fn from_two(to: &mut TcpStream) -> usize {
    to.write_vectored(&[IoSlice::new(&HEAD), IoSlice::new(&BODY)]).unwrap()
}

fn from_a_list_of_one(to: &mut TcpStream) -> usize {
    to.write_vectored(&[IoSlice::new(&[b'a'; ALL])]).unwrap()
}

fn from_one(to: &mut TcpStream) -> usize {
    let mut all = [0; ALL];
    let (head, body) = all.split_at_mut(HEAD.len());
    head.copy_from_slice(&HEAD);
    body.copy_from_slice(&BODY);
    to.write(&all).unwrap()
}

fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut to = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    to.set_nodelay(true).unwrap();
    let (mut at, _) = listener.accept().unwrap();
    let ways: [(&str, Way); 3] =
        [("two places", from_two), ("a list of one", from_a_list_of_one), ("copied into one", from_one)];
    let mut took = [const { Vec::new() }; 3];
    for _ in 0..TURNS {
        for ((_, write), took) in ways.iter().zip(&mut took) {
            let since = Instant::now();
            for _ in 0..WRITES {
                let written = write(&mut to);
                at.read_exact(&mut [0; ALL][..written]).unwrap();
            }
            took.push(since.elapsed() / WRITES);
        }
    }
    println!("{ALL} bytes written and read, ns: min, median, max of {TURNS} turns");
    for ((name, _), took) in ways.iter().zip(&mut took) {
        took.sort();
        let [least, middle, most] = [0, TURNS / 2, TURNS - 1].map(|at| took[at].as_nanos());
        println!("{name:16} {least:6} {middle:6} {most:6}");
    }
}
