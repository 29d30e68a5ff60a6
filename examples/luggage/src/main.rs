//! Luggage: an airport whose belts and containers have an end, on a day on which the plane to Oslo does not come.
//!
//! Bags come faster than they can leave, so somebody has to decide: they **wait**, and the belt fills up to the counter; they are
//! **dropped**; they are **driven home** when it is too late for them; or the counter is told to **stop**. Four days, one plan
//! each. Whatever is done, every bag is accounted for: what a channel does not take, or has to give up, is in its answer.
//! (The airport is that of the article "I'm not feeling the async pressure", 2020.)
//!
//! ```sh
//! cargo run -p example-luggage
//! ```

mod airport;

use std::fmt::Write;

use airport::{City, Fate, Fates, Plan, day};
use tidegate::ConfigError;

const FATES: [(Fate, &str); 5] = [
    (Fate::Flown, "flown"),
    (Fate::StillHere, "still here at night"),
    (Fate::LostProperty, "lost property"),
    (Fate::DrivenHome, "driven home"),
    (Fate::NotTaken, "not taken at the counter"),
];

/// What is known of every bag in the evening.
fn report(fates: &Fates) -> String {
    let mut text = String::new();
    for (fate, name) in FATES {
        for (city, to) in [(City::Lisbon, "Lisbon"), (City::Oslo, "Oslo")] {
            let of = |entry: &&(airport::Bag, Fate)| entry.1 == fate && entry.0.to == city;
            let mut numbers: Vec<_> = fates.iter().filter(of).map(|(bag, _)| bag.number).collect();
            numbers.sort_unstable();
            if !numbers.is_empty() {
                let list: Vec<_> = numbers.iter().map(|number| format!("{number:02}")).collect();
                // Writing to a string does not fail.
                _ = writeln!(text, "  {to:<7}{name:<26}{:>3}: {}", numbers.len(), list.join(" "));
            }
        }
    }
    text
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ConfigError> {
    for (plan, what) in [
        (Plan::Wait, "bags for Oslo wait, and with them the belt and the counter"),
        (Plan::Drop, "the oldest bag for Oslo makes room"),
        (Plan::Home, "bags wait until it is too late for their flight, then they are driven home"),
        (Plan::Stop, "the counter asks the container before it takes a bag"),
    ] {
        let fates = day(plan).await?;
        println!(
            "{plan:?}: {what}\n{}  {} of {} bags accounted for\n",
            report(&fates),
            fates.len(),
            airport::BAGS
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(fates: &Fates, to: City, fate: Fate) -> usize {
        fates.iter().filter(|entry| entry.0.to == to && entry.1 == fate).count()
    }

    async fn evening(plan: Plan) -> Fates {
        let mut fates = day(plan).await.unwrap();
        fates.sort_by_key(|(bag, _)| bag.number);
        let known: Vec<_> = fates.iter().map(|(bag, _)| bag.clone()).collect();
        assert_eq!(known, airport::bags().collect::<Vec<_>>(), "every bag, once");
        fates
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_wait_stop_the_belt_and_the_counter() {
        let fates = evening(Plan::Wait).await;
        assert!(count(&fates, City::Oslo, Fate::StillHere) > 4, "the container, and what stands before it");
        let kept = |to| count(&fates, to, Fate::NotTaken);
        assert!(kept(City::Oslo) > 0 && kept(City::Lisbon) > 0, "the counter hears of it, whatever the city");
        assert!(count(&fates, City::Lisbon, Fate::Flown) > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_are_dropped_are_handed_over_and_lisbon_flies() {
        let fates = evening(Plan::Drop).await;
        assert_eq!(count(&fates, City::Lisbon, Fate::Flown), 12);
        let (lost, here) =
            (count(&fates, City::Oslo, Fate::LostProperty), count(&fates, City::Oslo, Fate::StillHere));
        assert!(lost > 0 && here > 0 && lost + here == 12, "{lost} and {here}");
        let oldest: Vec<_> =
            fates.iter().filter(|entry| entry.1 == Fate::LostProperty).map(|it| it.0.number).collect();
        assert_eq!(oldest, (0..lost as u32).map(|bag| 2 * bag + 1).collect::<Vec<_>>(), "the oldest first");
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_are_too_late_are_driven_home() {
        let fates = evening(Plan::Home).await;
        assert!(count(&fates, City::Oslo, Fate::DrivenHome) > 0);
        assert_eq!(count(&fates, City::Oslo, Fate::LostProperty), 0);
        assert!(
            count(&fates, City::Lisbon, Fate::Flown)
                > count(&evening(Plan::Wait).await, City::Lisbon, Fate::Flown)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_counter_that_asks_takes_no_bag_in_vain() {
        let fates = evening(Plan::Stop).await;
        assert_eq!(count(&fates, City::Lisbon, Fate::Flown), 12);
        let here = count(&fates, City::Oslo, Fate::StillHere);
        assert!(here > 0 && here + count(&fates, City::Oslo, Fate::NotTaken) == 12);
        assert_eq!(
            fates.iter().filter(|entry| matches!(entry.1, Fate::LostProperty | Fate::DrivenHome)).count(),
            0
        );
    }

    #[test]
    fn the_report_names_every_bag() {
        let fates: Fates = airport::bags().map(|bag| (bag, Fate::Flown)).collect();
        let text = report(&fates);
        assert!(text.contains("  Lisbon flown                      12: 00 02 04"), "{text}");
        assert_eq!(text.lines().count(), 2);
    }
}
