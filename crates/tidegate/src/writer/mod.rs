//! A writer that cannot skip back pressure, bounded lines, and broadcast.
//!
//! A `write` that never waits hides a buffer without a bound, and a `drain` beside it can be forgotten. Here writing
//! takes **[room](Room)**: [`Writer::ready`] waits for it, it exists only while the writer holds no more than half of its
//! bound, and it is gone once something was written. What is written has to be [seen out](Sent::flushed) or left for
//! [later](Sent::later), in so many words; and a writer has to be [finished](Writer::finish), or its peer gets a reset
//! instead of an end that looks whole.
//!
//! The bound counts what the kernel has not sent, too: without that, a thousand peers that do not read hold two gigabytes
//! in the kernel while the process looks small.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use tidegate::writer::{LineReader, Writers};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! /// Gives back each line, and reads none faster than its peer takes them back.
//! async fn echo(stream: TcpStream, writers: &Writers) -> Result<(), Box<dyn std::error::Error>> {
//!     let (reading, writing) = stream.into_split();
//!     let (mut lines, mut writer) = (LineReader::new(reading), writers.socket(writing));
//!     while let Some(line) = lines.read_line(1024).await? {
//!         writer.ready().await?.write_pieces([line.into_bytes(), "\n".into()])?.flushed().await?;
//!     }
//!     writer.finish().await?;
//!     Ok(())
//! }
//!
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! # let client = TcpStream::connect(listener.local_addr()?).await?;
//! # let (reading, writing) = client.into_split();
//! # let mut client = tidegate::writer::Writer::socket(writing);
//! # client.send("hello\n").await?;
//! # client.finish().await?;
//! let writers = Writers::new();
//! echo(listener.accept().await?.0, &writers).await?;
//! assert_eq!(writers.stats().finished, 1);
//! # assert_eq!(&LineReader::new(reading).read_line(9).await?.unwrap()[..], b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! | For | Take |
//! |---|---|
//! | a connection | [`Writers::socket`], or [`Writers::over`] for what is no socket |
//! | one budget for what they all hold | [`Writers::budget`], [`LineReader::budget`] |
//! | several tasks that write to one connection | [`Writer::share`] |
//! | a protocol of lines | [`LineWriter`], [`LineReader`] |
//! | many listeners to one voice | [`broadcast`] |

pub mod broadcast;
mod buffer;
mod core;
mod counts;
mod error;
mod kernel;
mod line;
mod pace;
mod push;
mod room;
mod share;
#[allow(clippy::module_inception)] // the folder is the concept, the file its main type
mod writer;
mod writers;

pub use counts::WriterStats;
pub use error::{TooLarge, TrySendError, WriteError};
pub use kernel::{Socket, bound_kernel};
pub use line::{Line, LineError, LineReader, LineRoom, LineWriter, NotALine, OverLong};
pub use pace::{Progress, TooSlow};
pub use room::{Room, Sent};
pub use share::Share;
pub use writer::Writer;
pub use writers::Writers;
