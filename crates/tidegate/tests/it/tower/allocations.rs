//! The path of a call that is admitted at once allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::task::Poll;

use tidegate::limit::Fixed;
use tidegate::tower::{Limit, LimitLayer};
use tidegate::{Demand, Limiter};
use tower::{Layer, Service};

use super::work::echo;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps to the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, which is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(mut service: impl Service<u32, Response = u32>) -> u64 {
    let mut call = || {
        let mut call = std::pin::pin!(service.call(1));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(matches!(call.as_mut().poll(&mut cx), Poll::Ready(Ok(1))));
    };
    call();
    let before = COUNT.get();
    (0..100).for_each(|_| call());
    COUNT.get() - before
}

#[test]
fn a_call_that_is_admitted_at_once_allocates_nothing() {
    assert_eq!(allocations(Limit::new(echo(), Limiter::fixed(1))), 0);
    assert_eq!(allocations(Limit::new(echo(), Limiter::adaptive(Fixed::new(1)))), 0);
    let demanding = LimitLayer::new(Limiter::fixed(4)).demand(|n: &u32| Demand::weight(u64::from(*n)));
    assert_eq!(allocations(demanding.layer(echo())), 0);
    assert!(COUNT.get() > 0, "counted at all");
}
