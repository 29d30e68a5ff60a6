//! The knee, by experiment: how much at once, with no number to configure.
//!
//! Every other law asks whether latency is above some baseline, and is wrong as soon as the baseline is. While the
//! limit binds, Little's law gives throughput X = n / R, so two nearby limits show the elasticity
//! e = d ln X / d ln n without any baseline: 1 below the knee, 0 above it, negative in collapse. A dependency that
//! is slow but not saturated keeps e at 1 and the limit rises; a saturated one brings e to 0 and it falls.
//!
//! | File | What it knows |
//! |---|---|
//! | `service` | what the work costs, and how long the backend remembers |
//! | `point` | one measured point of the capacity curve, and the elasticity between two |
//! | `floor` | the latency floor: where to look, never a verdict |
//! | `mix` | the shares of kinds, in both |
//! | `single` | one owner: phases and limits |
//! | `start` | one owner: the slow start, while nothing is known |
//! | `verdict` | one owner: what follows from a phase |
//! | `shared` | several owners: phases from the wall clock |
//! | `told` | several owners: what the origin says it has in flight |
//! | `passive` | dry run: the same from traffic alone |

mod algorithm;
mod event;
mod floor;
mod mix;
mod passive;
mod point;
mod service;
mod shared;
mod single;
mod start;
mod told;
mod verdict;

pub use algorithm::Knee;
