#![deny(unused_must_use)]

use tidegate::channel::{Closed, Sender};

// A full channel's policy may have refused the line, or pushed others out: nobody would know.
async fn echo(lines: &Sender<String>, line: String) -> Result<(), Closed<String>> {
    lines.send(line).await?;
    Ok(())
}

fn main() {
    let _ = echo;
}
