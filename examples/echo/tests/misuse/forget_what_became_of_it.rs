#![deny(unused_must_use)]

use tidegate::writer::Room;
use tokio::net::TcpStream;

fn echo(room: Room<'_, TcpStream>) {
    room.write("a line\n").unwrap();
}

fn main() {
    let _ = echo;
}
