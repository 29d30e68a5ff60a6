//! A request's whole way: admit, wait, refuse, relay, settle.
