#![deny(unused_must_use)]

use tidegate::channel::Sender;
use tidegate::{Limiter, Refused};

// The permit is gone before the work begins, which nothing bounds then.
async fn echo(limiter: &Limiter) -> Result<(), Refused> {
    limiter.acquire(1).await?;
    Ok(())
}

// So is the room: the line that follows has none.
async fn line(lines: &Sender<String>) {
    lines.reserve(100).await.unwrap();
}

fn main() {
    let _ = (echo, line);
}
