//! Peers that take more than they give, to see what a server holds for them.
//!
//! Each [`Attack`] opens connections and streams, does what it does until the [`Crowd`] is dropped, and looks at
//! nothing: how much memory the server takes is for the caller to look at. **They connect to addresses of this machine
//! only** ([`open`] refuses others): they measure a server of one's own, and are of no use against anybody else's.
//!
//! After `streams-and-flow-control`'s catalogue: unread answers (CVE-2019-9517), windows of nothing
//! (CVE-2019-9511), uploads that nobody reads, header blocks of references to one long field with windows of nothing
//! (CVE-2026-49975), readers of a byte every few seconds, settings that are never acknowledged, streams cancelled at every point of their life.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use tidegate_lab::attack::{Attack, Plan, open};
//!
//! let plan = Plan::new("192.0.2.1:80".parse().unwrap(), "/", 1, 1);
//! assert!(open(Attack::Unread, &plan).await.is_err()); // not this machine
//! # });
//! ```

mod cancel;
mod crowd;
mod first;
mod peer;

pub use crowd::{Attack, Crowd, Plan, Report, open};
