//! The account: never above the number, and even when all have left.

use std::time::Duration;

use tidegate_lab::attack::{Attack, Crowd};
use tokio::time::{sleep, timeout};

use super::stand::{BOUND, BUDGET, Stand, as_it_moves, mib};

/// The same numbers for the same seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % most
    }
}

/// C 9: streams that are cancelled at every point of their life. (`scripts/bench-memory leak` has a million.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_streams_leave_the_account_even() {
    let stand = Stand::new(&[]).await;
    let before = stand.charged().await;
    // More than a connection would have, by far, if one in twenty stayed open.
    let mut crowd = stand.attack(Attack::Cancel, &stand.plan("/", 4, 3_000)).await;
    as_it_moves("all are cancelled", async || (crowd.report().cancelled == 12_000, crowd.report())).await;
    timeout(BOUND, crowd.ended()).await.expect("they come to their end");
    let report = crowd.report();
    // Nobody was sent away: each has come to its own end.
    assert_eq!((report.cancelled, report.whole, report.ended), (12_000, 4, 4), "{report:?}");
    stand.is_left().await;
    stand.is_even(before).await;
}

/// Opens more than fits, and counts what does: until there are `enough`, or no more have come for so many looks.
async fn most_connections(stand: &Stand, enough: f64, looks: u32) -> (Crowd, f64) {
    let crowd = stand.attack(Attack::Hold, &stand.plan("/.lab/unread", 700, 1)).await;
    let mut most = 0.0;
    let mut same = 0;
    while most < enough && same < looks {
        sleep(Duration::from_millis(100)).await;
        let now = stand.metric("tidegate_connections").await;
        same = if now > most { 0 } else { same + 1 };
        most = f64::max(most, now);
    }
    (crowd, most)
}

/// C 10: what was given to the first comes back when others come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grown_pool_comes_back() {
    let flags =
        ["--max-wait", "10m", "--client-timeout", "1h", "--stall-timeout", "10m", "--origin-timeout", "1h"];
    let fresh = Stand::new(&flags).await;
    let (crowd, fits) = most_connections(&fresh, f64::INFINITY, 20).await;
    drop((crowd, fresh));
    let stand = Stand::new(&flags).await;
    // They upload as fast as they can, so their windows grow; then they are idle, with one stream that says nothing.
    let mut plan = stand.plan("/.lab/sink", 60, 2);
    plan.upload = 8 << 20;
    plan.stays = true;
    let grown = stand.attack(Attack::Hold, &plan).await;
    as_it_moves("all is uploaded", async || {
        let report = grown.report();
        assert!(report.ended == 0 && report.reset == 0, "{report:?}");
        (report.answered == 120, report)
    })
    .await;
    let peak = stand.metric("tidegate_memory_charged_peak_bytes").await as u64;
    assert!(peak > BUDGET / 10 * 7, "nothing grew: {} MiB", mib(peak));
    let (_crowd, most) = most_connections(&stand, 0.9 * fits, 1_800).await;
    assert!(most >= 0.9 * fits, "{most} connections instead of {fits}");
    assert!(stand.charged().await <= BUDGET);
}

/// C 12: whatever happens, in any order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sum_never_exceeds_the_number() {
    let stand = Stand::new(&["--stall-timeout", "2s"]).await;
    let before = stand.charged().await;
    let mut chance = Chance(12);
    let mut crowds: Vec<Crowd> = Vec::new();
    let (mut charged, mut resident) = (0, 0);
    let storm = async {
        loop {
            let (attack, path) = [
                (Attack::Unread, "/.lab/endless"),
                (Attack::Unread, "/.lab/bytes/300000"),
                (Attack::Zero, "/.lab/endless"),
                (Attack::Hold, "/.lab/unread"),
                (Attack::Hold, "/.lab/sink"),
                (Attack::Bomb, "/.lab/bytes/1000"),
                (Attack::Slow, "/.lab/endless"),
            ][chance.below(7) as usize];
            let mut plan = stand.plan(path, 1 + chance.below(100) as u32, 1 + chance.below(200) as u32);
            plan.upload = chance.below(1 << 20);
            crowds.push(stand.attack(attack, &plan).await);
            if crowds.len() > 1 + chance.below(8) as usize {
                drop(crowds.swap_remove(chance.below(crowds.len() as u64) as usize));
            }
            for _ in 0..5 {
                charged = charged.max(stand.charged().await);
                resident = resident.max(stand.resident());
                sleep(Duration::from_millis(20)).await;
            }
        }
    };
    let _ = timeout(Duration::from_secs(10), storm).await;
    assert!(charged > before && charged <= BUDGET, "{} MiB were charged", mib(charged));
    assert!(resident <= BUDGET / 100 * 115, "{} MiB of memory", mib(resident));
    drop(crowds);
    stand.is_left().await;
    stand.is_even(before).await;
    assert!(stand.get("/").await.starts_with("HTTP/1.1 200 "));
}
