//! Whose pushback it is.

use std::hash::Hash;

/// Reads from a request whom it goes to. A closure `Fn(&Req) -> K` does; for HTTP there is `ByAuthority` (feature
/// `http`).
pub trait KeyOf<Req> {
    /// What pushback is kept by.
    type Key: Hash + Eq;

    /// Whom `request` goes to. Called once a call.
    fn key(&self, request: &Req) -> Self::Key;

    /// Whether the server itself asked this request back at this moment (a [`Retry`](crate::tower::Retry) marks it so). It
    /// then passes although pushback is in force: that was for others. No, by default.
    fn is_invited(&self, request: &Req) -> bool {
        let _ = request;
        false
    }
}

impl<Req, K: Hash + Eq, F: Fn(&Req) -> K> KeyOf<Req> for F {
    type Key = K;

    fn key(&self, request: &Req) -> K {
        self(request)
    }
}

/// One pushback for everything behind a layer. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneForAll;

impl<Req> KeyOf<Req> for OneForAll {
    type Key = ();

    fn key(&self, _: &Req) {}
}
