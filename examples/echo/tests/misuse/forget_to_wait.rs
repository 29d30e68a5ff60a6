#![deny(unused_must_use)]

use tidegate::writer::Writer;
use tokio::net::TcpStream;

async fn echo(writer: &mut Writer<TcpStream>) {
    writer.send("a line\n");
}

fn main() {
    let _ = echo;
}
