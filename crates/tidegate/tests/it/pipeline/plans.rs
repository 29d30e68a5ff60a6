//! Plans that cannot run say why.

use std::time::Duration;

use tidegate::channel::bounded;
use tidegate::pipeline::{Pipeline, Plan, Retry, Stage};

fn why(plan: Plan) -> String {
    plan.run().unwrap_err().to_string()
}

fn chunks() -> Pipeline<Vec<u8>> {
    Pipeline::from_iter(Stage::new("chunks").max_item(1000), std::iter::empty())
}

#[tokio::test]
async fn a_budget_below_the_reserves_is_refused_and_one_at_them_is_not() {
    let plan = |bytes| {
        chunks()
            .map(Stage::new("copy").concurrency(8).max_item(500), |chunk| async { Ok(chunk) })
            .fold(Stage::new("join").concurrency(2).max_item(300), 2, |_, chunk| async { Ok(chunk) })
            .sink(Stage::new("sink"), |_: Vec<u8>| async { Ok(()) })
            .bytes(bytes)
    };
    let message = why(plan(2099));
    assert!(message.contains("stuck with less than 2100"), "{message}");
    assert!(message.contains("chunks 1000, copy 500, join 600"), "{message}");
    plan(2100).run().unwrap().finish().await.unwrap();
}

#[tokio::test]
async fn a_batch_of_more_than_half_of_what_comes_after_it_is_refused() {
    let plan = |in_bytes| {
        chunks()
            .batch(Stage::new("batch").max_item(5000), 10)
            .sink(Stage::new("sink").in_bytes(in_bytes), |_| async { Ok(()) })
    };
    let message = why(plan(9999));
    assert!(message.contains("more than half of the 9999"), "{message}");
    assert!(plan(10_000).run().is_ok());
    let message = why(chunks()
        .batch(Stage::new("batch").max_item(999), 10)
        .sink(Stage::new("sink"), |_| async { Ok(()) }));
    assert!(message.contains("do not fit in a batch"), "{message}");
}

#[tokio::test]
async fn stages_that_could_not_work_are_refused() {
    let sink = |stage| chunks().sink(stage, |_| async { Ok(()) });
    assert!(why(sink(Stage::new("s").concurrency(0))).contains("concurrency is 0"));
    assert!(why(sink(Stage::new("s").concurrency(2).ordered())).contains("cannot keep an order"));
    assert!(why(sink(Stage::new("s").in_bytes(999))).contains("takes in 999 bytes"));
    let source = Pipeline::from_iter(Stage::new("s").concurrency(2), 0..3_u8);
    assert!(why(source.sink(Stage::new("t"), |_| async { Ok(()) })).contains("one item at a time"));
    let batch = chunks().batch(Stage::new("b").concurrency(2), 2);
    assert!(why(batch.sink(Stage::new("t"), |_| async { Ok(()) })).contains("one batch at a time"));
}

#[tokio::test]
async fn options_that_a_stage_does_not_heed_are_refused_by_their_names() {
    let second = Duration::from_secs(1);
    let source = |stage| Pipeline::from_iter(stage, 0..3_u8).sink(Stage::new("t"), |_| async { Ok(()) });
    let map =
        |stage| chunks().map(stage, |chunk| async { Ok(chunk) }).sink(Stage::new("t"), |_| async { Ok(()) });
    let batch =
        |stage: Stage<_>| chunks().batch(stage.max_item(1000), 2).sink(Stage::new("t"), |_| async { Ok(()) });
    let fold = |stage| {
        chunks()
            .fold(stage, 2, |_, chunk| async { Ok(chunk) })
            .sink(Stage::new("t"), |_: Vec<u8>| async { Ok(()) })
    };
    let letters = || bounded(1 << 16).0;
    for (plan, stage, option) in [
        (source(Stage::new("a").retry(Retry::default())), "a", "retry"),
        (source(Stage::new("b").skip_failed()), "b", "skip_failed"),
        (source(Stage::new("c").linger(second)), "c", "linger"),
        (source(Stage::new("d").in_bytes(1 << 20)), "d", "in_bytes"),
        (map(Stage::new("e").linger(second)), "e", "linger"),
        (batch(Stage::new("f").retry(Retry::default())), "f", "retry"),
        (batch(Stage::new("g").dead_letters(letters())), "g", "dead_letters"),
        (fold(Stage::new("h").retry(Retry::default())), "h", "retry"),
        (fold(Stage::new("i").skip_failed()), "i", "skip_failed"),
        (fold(Stage::new("j").dead_letters(letters())), "j", "dead_letters"),
        (chunks().sink(Stage::new("k").linger(second), |_| async { Ok(()) }), "k", "linger"),
    ] {
        let message = why(plan);
        assert!(message.contains(&format!("stage {stage:?} cannot do what {option} asks")), "{message}");
    }
    assert!(fold(Stage::new("l").linger(second).in_bytes(1 << 20)).run().is_ok());
    assert!(map(Stage::new("m").retry(Retry::default()).skip_failed()).run().is_ok());
}

#[tokio::test]
async fn numbers_at_the_ends_of_their_ranges_do_no_harm() {
    let wide = || {
        Pipeline::from_iter(Stage::new("s").max_item(u64::MAX), 0..10_u64)
            .map(Stage::new("m").max_item(0).concurrency(usize::MAX), |number| async move { Ok(number) })
    };
    let plan = wide()
        .batch(Stage::new("b").max_item(64), 0)
        .fold(Stage::new("f").max_item(u64::MAX), usize::MAX, |_, batch| async move { Ok(batch) })
        .sink(Stage::new("t").in_bytes(u64::MAX), |_| async { Ok(()) });
    let snapshot = plan.run().unwrap().finish().await.unwrap();
    assert_eq!((snapshot.asked(), snapshot.delivered()), (10, 1));
    assert_eq!(snapshot.stage("b").unwrap().ledger.emitted, 10);
    let message = why(wide().sink(Stage::new("t"), |_| async { Ok(()) }).bytes(u64::MAX - 1));
    assert!(message.contains("stuck"), "{message}");
}

#[test]
fn without_a_runtime_it_does_not_run() {
    let message = why(chunks().sink(Stage::new("sink"), |_| async { Ok(()) }));
    assert!(message.contains("tokio runtime"), "{message}");
}
