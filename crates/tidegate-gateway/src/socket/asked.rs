//! What the kernel is asked before more is handed over.

use std::io;

use tokio::io::Interest;

use super::{Either, End};
use crate::sight::{self, Sight};
use crate::unsent::{self, Kernel};
use crate::untried::Buffer;

impl Kernel for End {
    fn look(&self) -> Option<Sight> {
        match &self.either {
            Either::Tcp(tcp) => sight::look(tcp),
            Either::Unix(_) => None,
        }
    }

    // Inside the runtime's own call, so that it waits for the kernel's word if the answer is no.
    fn writable(&self) -> io::Result<()> {
        on_end!(self, socket => socket.try_io(Interest::WRITABLE, || unsent::writable(socket)))
    }

    fn send_buffer(&self, buffer: Buffer) -> io::Result<()> {
        match &self.either {
            Either::Tcp(tcp) => unsent::send_buffer(tcp, buffer),
            Either::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}
