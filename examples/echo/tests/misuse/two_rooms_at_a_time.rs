use tidegate::writer::Writer;
use tokio::net::TcpStream;

async fn echo(writer: &mut Writer<TcpStream>) {
    let one = writer.ready().await.unwrap();
    let two = writer.ready().await.unwrap();
    one.write("a line\n").unwrap().later();
    two.write("another\n").unwrap().later();
}

fn main() {
    let _ = echo;
}
