//! What a thread takes up after this: the piece that is woken by the permit which it gives back.
//!
//! Wakers run on the thread that gives capacity back. So a thread that is about to do that leaves a slot open, and the
//! first piece that is woken puts itself there in place of waking its caller.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::runtime::{Handle, Id};

use super::step::Step;

enum Slot {
    /// This thread takes nothing up.
    Closed,
    /// It would take up work of this runtime. Work of another has its own threads, and the end of this one's
    /// runtime must not wait for it.
    Open(Id),
    Taken(Arc<dyn Step>),
}

thread_local! {
    static SLOT: RefCell<Slot> = const { RefCell::new(Slot::Closed) };
}

/// Runs `release` and returns the piece that it woke. A panic (wakers are foreign code) ends here: this thread may have
/// somebody else's work to take up.
pub(super) fn woken_by(release: impl FnOnce()) -> Option<Arc<dyn Step>> {
    let open = Handle::try_current().map_or(Slot::Closed, |here| Slot::Open(here.id()));
    swap(open);
    drop(catch_unwind(AssertUnwindSafe(release)));
    match swap(Slot::Closed) {
        Slot::Taken(step) => Some(step),
        Slot::Open(_) | Slot::Closed => None,
    }
}

/// Leaves `piece` to this thread, if it is about to look for one.
pub(super) fn offer(piece: &Arc<impl Step + 'static>, runtime: Id) -> bool {
    SLOT.try_with(|slot| {
        let mut slot = slot.borrow_mut();
        let wanted = matches!(*slot, Slot::Open(here) if here == runtime);
        if wanted {
            *slot = Slot::Taken(Arc::clone(piece) as Arc<dyn Step>);
        }
        wanted
    })
    .unwrap_or(false)
}

fn swap(new: Slot) -> Slot {
    SLOT.try_with(|slot| slot.replace(new)).unwrap_or(Slot::Closed)
}
