use tidegate::writer::Writer;
use tokio::net::TcpStream;

async fn echo(mut writer: Writer<TcpStream>) {
    writer.finish().await.unwrap();
    writer.send("one more thing\n").await.unwrap();
}

fn main() {
    let _ = echo;
}
