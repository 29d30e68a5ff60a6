//! Pipelines through their public API.

mod ends;
mod errors;
mod flow;
mod plans;
mod purse;
mod storm;
mod times;
