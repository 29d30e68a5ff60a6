//! The same program without a mistake: it is not something else that keeps the others from compiling.

use tidegate::writer::{WriteError, Writer};
use tokio::net::TcpStream;

#[deny(unused_must_use)]
async fn echo(mut writer: Writer<TcpStream>) -> Result<(), Box<dyn std::error::Error>> {
    let room = writer.ready().await?;
    room.write("a line\n")?.flushed().await?;
    writer.ready().await?.write("another\n")?.later();
    writer.send("a third\n").await?;
    let _io: TcpStream = writer.finish().await?;
    Ok(())
}

fn main() {
    let _ = echo;
    let _ = WriteError::Ended;
}
