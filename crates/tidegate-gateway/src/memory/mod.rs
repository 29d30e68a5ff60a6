//! One number for every byte that the gateway holds for its peers.
//!
//! Before anything can take room, its most is charged to one budget: a connection before it is accepted, a request
//! before it is begun, a window before it is opened, a buffer before it may grow. What does not fit waits or is refused
//! with [`Reason::Memory`](tidegate::Reason::Memory), so that the sum of all that peers can make the gateway hold, kernel
//! buffers included, never exceeds the number.
//!
//! | File | What it holds |
//! |---|---|
//! | `costs` | what each thing takes at most, and how that is known |
//! | `plan` | [`Plan`]: a number divided into what is fixed and what is charged; the proof of the worst case |
//! | `pool` | [`Memory`]: the budget, who may take how much of it, and who holds how much |
//! | `kept` | bytes set aside for one purpose |
//! | `account` | what one connection holds |
//! | `party` | the connections of one client address, and what they hold together |
//! | `share` | the law between parties: who may have another floor, and who is next |
//! | `parking` | connections that are accepted and wait, unread, for their floor |

mod account;
mod costs;
mod kept;
mod parking;
mod party;
mod plan;
mod pool;
mod share;

pub(crate) use account::{Account, Charge};
pub(crate) use costs::{HEAD, HEADS, LEAST_WINDOW, RECEIVED, head_cost, unfinished_cost, window_cost};
pub use parking::PartyFacts;
pub(crate) use parking::{Arrival, Parked};
pub use plan::Plan;
pub(crate) use plan::largest_with_unread;
pub(crate) use pool::{AGAIN, Kind, Tier};
pub use pool::{Holder, Memory, MemoryFacts};
