//! The program under `--memory 64MiB`, attacked in every way that is known to make servers hold more than they should.
//!
//! Each test runs a gate of its own, so that its memory is the gate's alone. The attacks are the lab's
//! (`tidegate lab attack`); `scripts/bench-memory` runs them in full size, beside other servers.
//!
//! They wait more than they work: `scripts/test` runs them by this module's name beside the other tests, four at a time.

mod answers;
mod crumbs;
mod held;
mod ledger;
mod neighbours;
mod stand;
mod tunnels;
mod uploads;
