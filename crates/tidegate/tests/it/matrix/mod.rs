//! The contract matrix: our layers with those of others, and behind the servers of others, each pair under random
//! cancels: a call's future is dropped while it waits for something, whatever that is.
//!
//! | File | What it pairs ours with | Cells | Cancels in each |
//! |---|---|---|---|
//! | `layers` | tower's layers, and each other, below and above; hyper's adapter | 56 | 18 000 |
//! | `routers` | axum's `Router`: around it, in it, on one route, below another | 6 | 12 000 |
//! | `servers` | hyper's server, whose connections close or are reset | 2 | 3 000 |
//! | `grpc` | tonic's server, whose streams are reset or whose connections close | 3 | 1 800 |
//!
//! `cell` says what a cell does, and what must hold afterwards.

mod cell;
mod grpc;
mod layers;
mod routers;
mod servers;

use cell::TASKS;

/// Cancels by each of a cell's tasks: as many as the matrix needs for a million, and fewer where one costs more.
const LAYERS: u32 = 3_000;
const ROUTERS: u32 = 2_000;
const SERVERS: u32 = 500;
const GRPC: u32 = 300;

/// A million cancels in one run of the matrix.
const _: () = assert!(TASKS * (56 * LAYERS + 6 * ROUTERS + 2 * SERVERS + 3 * GRPC) >= 1_000_000);
