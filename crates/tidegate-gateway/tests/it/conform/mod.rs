//! HTTP/2 frame by frame: does the gate keep to RFC 9113 whatever a peer sends?
//!
//! The cases of h2spec (its numbers follow RFC 7540's sections, whose names each case carries), and what h2spec does not
//! look at. A table for each section; `case` runs them, `peer` is the other end of the connection.
//!
//! Where the h2 crate answers with another code than the RFC names, the case says so (`but_h2_…`): the connection or
//! the stream ends all the same, which is what h2spec asks for too.

mod beyond;
mod case;
mod flow;
mod peer;
mod resets;
mod section4;
mod section5;
mod section6;
mod section6_5;
mod section8;
mod split;
