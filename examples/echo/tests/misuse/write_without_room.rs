use tidegate::writer::Writer;
use tokio::net::TcpStream;

fn echo(writer: &mut Writer<TcpStream>) {
    writer.write("a line\n");
}

fn main() {
    let _ = echo;
}
