//! The gateway as a whole, between clients and an origin of the test's own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod admin;
mod ahead;
mod attack;
mod before;
mod conform;
mod crumbs;
mod deadline;
mod displaced;
mod drips;
mod figures;
mod flood;
mod gone;
mod http2;
mod kernel;
mod ledger;
mod load_report;
mod open_files;
mod origin;
mod origin2;
mod origin2_faults;
mod origin_faults;
mod parties;
mod reasons;
mod refusals;
mod relay;
mod revoke;
mod script;
mod semantics;
mod silence;
mod slow;
mod stand;
mod tls;
mod tunnel;
mod unfinished;
mod unwritten;
mod wire;
mod wire2;
