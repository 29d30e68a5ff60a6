use tidegate::writer::LineReader;
use tokio::net::TcpStream;

async fn echo(lines: &mut LineReader<TcpStream>) {
    let one = lines.read_line(80).await.unwrap();
    let two = lines.read_line(80).await.unwrap();
    drop((one, two));
}

fn main() {
    let _ = echo;
}
