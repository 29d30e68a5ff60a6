use tidegate::writer::Writer;
use tokio::net::TcpStream;

fn for_another_task(writer: &Writer<TcpStream>) -> Writer<TcpStream> {
    Clone::clone(writer)
}

fn main() {
    let _ = for_another_task;
}
