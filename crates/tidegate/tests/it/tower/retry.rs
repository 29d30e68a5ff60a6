//! What `Retry` does, in virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use proptest::prelude::*;
use tidegate::tower::{BoxError, Hear, Pushback, PushbackLayer, Repeat, RetryBudget, RetryLayer};
use tidegate::{Reason, Refused};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt};

use super::work::poll;

const PATIENCE: Duration = Duration::from_secs(15);

/// Answers what the script says, the last one for ever; `u32::MAX` never.
#[derive(Clone)]
struct Script(Arc<[u32]>, Arc<AtomicU32>);

impl Script {
    fn new(answers: &[u32]) -> Self {
        Self(answers.into(), Arc::default())
    }

    fn asked(&self) -> u32 {
        self.1.load(SeqCst)
    }

    fn service(
        &self,
    ) -> impl Service<u32, Response = u32, Error = BoxError, Future: Send + Unpin> + Clone + use<> {
        let script = self.clone();
        tower::service_fn(move |_: u32| {
            let turn = script.1.fetch_add(1, SeqCst) as usize;
            let answer = script.0[turn.min(script.0.len() - 1)];
            Box::pin(async move {
                if answer == u32::MAX {
                    std::future::pending::<()>().await;
                }
                Ok(answer)
            })
        })
    }
}

/// 0 is good; 1 fails, 2 refuses without a word, 3 says that coming back is no use, others say "in so many ms".
fn hear(result: Result<&u32, &BoxError>) -> Pushback {
    match result {
        Ok(0) => Pushback::NONE,
        Ok(1) => Pushback::refused(Reason::OriginDown),
        Ok(2) => Pushback::refused(Reason::QueueFull).unprocessed(),
        Ok(3) => Pushback::refused(Reason::QueueFull).after(Duration::from_secs(1)).futile(),
        Ok(&millis) => {
            Pushback::refused(Reason::QueueFull).after(Duration::from_millis(millis.into())).unprocessed()
        }
        Err(error) => Pushback::of_error(&**error),
    }
}

/// Even numbers are idempotent.
fn numbers() -> impl Repeat<u32> + Clone {
    (|n: &u32| Some(*n), |n: &u32| n % 2 == 0)
}

fn layer() -> RetryLayer<impl Repeat<u32> + Clone, impl Hear<u32, BoxError> + Clone> {
    RetryLayer::new(PATIENCE, numbers()).hear(hear).seed(1)
}

#[tokio::test(start_paused = true)]
async fn the_servers_moment_is_kept_to_the_millisecond() {
    let begun = Instant::now();
    let script = Script::new(&[2134, 567, 0]);
    assert_eq!(layer().layer(script.service()).oneshot(1).await.unwrap(), 0);
    assert_eq!((begun.elapsed(), script.asked()), (Duration::from_millis(2701), 3));
}

#[tokio::test(start_paused = true)]
async fn a_moment_beyond_the_callers_patience_is_told_at_once() {
    let begun = Instant::now();
    let script = Script::new(&[10_000, 6000, 0]);
    assert_eq!(layer().layer(script.service()).oneshot(0).await.unwrap(), 6000, "the answer, as it came");
    assert_eq!((begun.elapsed(), script.asked()), (Duration::from_secs(10), 2));
    // The deadline itself is too late.
    let script = Script::new(&[15_000, 0]);
    assert_eq!(layer().layer(script.service()).oneshot(0).await.unwrap(), 15_000);
    assert_eq!((begun.elapsed(), script.asked()), (Duration::from_secs(10), 1));
}

#[tokio::test(start_paused = true)]
async fn only_what_is_safe_and_wanted_is_repeated() {
    for (answers, request, asked) in
        [(&[1, 0][..], 0, 2), (&[1, 0], 1, 1), (&[2, 0], 1, 2), (&[3, 0], 0, 1), (&[0], 0, 1), (&[1], 0, 3)]
    {
        let script = Script::new(answers);
        let _ = layer().layer(script.service()).oneshot(request).await.unwrap();
        assert_eq!(script.asked(), asked, "{answers:?} for {request}");
    }
    // What cannot be copied is sent once.
    let script = Script::new(&[2, 0]);
    let once = RetryLayer::new(PATIENCE, (|_: &u32| None, |_: &u32| true)).hear(hear);
    assert_eq!(once.layer(script.service()).oneshot(0).await.unwrap(), 2);
    assert_eq!(script.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn pauses_without_a_moment_differ_and_grow() {
    let mut pauses = Vec::new();
    for seed in 0..50 {
        let begun = Instant::now();
        let script = Script::new(&[1, 1, 0]);
        assert_eq!(layer().seed(seed).layer(script.service()).oneshot(0).await.unwrap(), 0);
        pauses.push(begun.elapsed());
    }
    // Up to 100 ms and up to 200 ms, and the timer's millisecond for each.
    assert!(pauses.iter().all(|pause| *pause <= Duration::from_millis(302)), "{pauses:?}");
    assert!(pauses.iter().any(|pause| *pause > Duration::from_millis(202)), "they do not grow: {pauses:?}");
    let distinct: std::collections::HashSet<_> = pauses.iter().collect();
    assert!(distinct.len() > 30, "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn patience_ends_an_attempt_that_lasts() {
    let begun = Instant::now();
    let script = Script::new(&[1000, u32::MAX]);
    let error = layer().layer(script.service()).oneshot(0).await.unwrap_err();
    assert_eq!(Refused::find(&*error).unwrap().reason(), Reason::Expired);
    assert_eq!(begun.elapsed(), PATIENCE);
    let none = RetryLayer::new(Duration::ZERO, numbers()).hear(hear);
    let error = none.layer(script.service()).oneshot(0).await.unwrap_err();
    assert_eq!(Refused::find(&*error).unwrap().reason(), Reason::Deadline);
    assert_eq!((begun.elapsed(), script.asked()), (PATIENCE, 2));
    // A patience beyond any clock is none.
    let endless = RetryLayer::new(Duration::MAX, numbers()).hear(hear);
    assert_eq!(endless.layer(Script::new(&[2, 0]).service()).oneshot(0).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_entirely_gets_a_tenth_more() {
    let script = Script::new(&[1]);
    let service = layer().attempts(10).layer(script.service());
    for _ in 0..1000 {
        let _ = service.clone().oneshot(0).await.unwrap();
    }
    assert!((1100..=1000 + 100 + 10).contains(&script.asked()), "{}", script.asked());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_anywhere_leaves_everything_as_it_was() {
    let budget = RetryBudget::new(0.0, 5);
    let script = Script::new(&[1000, u32::MAX]);
    let service = layer().budget(budget.clone()).layer(script.service());
    for _ in 0..20 {
        let mut pausing = Box::pin(service.clone().oneshot(0));
        assert!(poll(&mut pausing).is_pending());
        sleep(Duration::from_millis(10)).await;
        drop(pausing);
        script.1.store(0, SeqCst);
    }
    assert_eq!(budget.left(), 5, "what was not sent was not spent");
    let mut asking = Box::pin(service.clone().oneshot(0));
    assert!(poll(&mut asking).is_pending());
    sleep(Duration::from_millis(1001)).await;
    assert!(poll(&mut asking).is_pending());
    assert_eq!((script.asked(), budget.left()), (2, 4));
    drop(asking);
    assert_eq!(budget.left(), 4, "that one was sent");
    assert_eq!(Arc::strong_count(&script.1), 2, "the service and the test");
}

/// Waiting here costs the server nothing, so it costs no budget and no attempt; and those who wait do not return together.
#[tokio::test(start_paused = true)]
async fn calls_wait_out_pushback_that_others_heard_without_a_herd() {
    let arrivals = Arc::new(std::sync::Mutex::new(Vec::new()));
    let begun = Instant::now();
    let server = {
        let arrivals = Arc::clone(&arrivals);
        tower::service_fn(move |_: u32| {
            let mut arrivals = arrivals.lock().unwrap();
            arrivals.push(begun.elapsed());
            let answer = if arrivals.len() == 1 { 4000 } else { 0 };
            std::future::ready(Ok::<u32, BoxError>(answer))
        })
    };
    let budget = RetryBudget::new(0.0, 1);
    let service = layer().attempts(2).budget(budget).layer(PushbackLayer::new(hear).layer(server));
    let first = tokio::spawn(service.clone().oneshot(0));
    sleep(Duration::from_secs(1)).await;
    let others: Vec<_> = (0..20).map(|_| tokio::spawn(service.clone().oneshot(1))).collect();
    assert_eq!(first.await.unwrap().unwrap(), 0);
    for call in others {
        assert_eq!(call.await.unwrap().unwrap(), 0);
    }
    let arrivals = arrivals.lock().unwrap();
    assert_eq!(arrivals.len(), 22, "nobody asked in vain after the first");
    assert!(arrivals[1..].iter().all(|at| (4000..=4801).contains(&at.as_millis())), "{arrivals:?}");
    let distinct: std::collections::HashSet<_> = arrivals[1..].iter().collect();
    assert!(distinct.len() >= 20, "{arrivals:?}");
}

/// What a call comes to, step by step: the last answer, when, and after how many attempts.
fn model(answers: &[u32], idempotent: bool, attempts: u32, reserve: u32) -> (u32, u64, u32) {
    let (mut at, mut asked) = (0, 0);
    loop {
        let answer = answers[(asked as usize).min(answers.len() - 1)];
        asked += 1;
        let wanted = match answer {
            0 | 3 => false,
            1 => idempotent,
            _ => true,
        };
        let later = at + u64::from(answer);
        if !wanted || asked >= attempts || asked > reserve || later >= 15_000 {
            return (answer, at, asked);
        }
        at = later;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn calls_are_the_naive_models(
        answers in prop::collection::vec(prop_oneof![Just(0_u32), Just(3), 10_u32..9000], 1..6),
        request in 0_u32..2,
        attempts in 1_u32..6,
        reserve in 0_u32..5,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (script, begun, answer) = runtime.block_on(async {
            let (script, begun) = (Script::new(&answers), Instant::now());
            let layer = layer().attempts(attempts).budget(RetryBudget::new(0.0, reserve));
            let answer = layer.layer(script.service()).oneshot(request).await.unwrap();
            (script, begun.elapsed().as_millis() as u64, answer)
        });
        let expected = model(&answers, request % 2 == 0, attempts, reserve);
        prop_assert_eq!((answer, begun, script.asked()), expected);
    }
}
