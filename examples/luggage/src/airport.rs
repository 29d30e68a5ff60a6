//! The airport: a counter, a belt, a container for each flight, a van. Everything that carries bags is a channel, bounded in
//! kilos.

use tidegate::channel::{Closed, Config, Overflow, Receiver, Sender, Sent};
use tidegate::{AskReady, ConfigError, Demand};
use tokio::time::{Duration, Instant, sleep, sleep_until};

/// Passengers, one every so often.
pub(crate) const BAGS: u32 = 24;
const APART: Duration = Duration::from_millis(10);
/// How long a passenger stands at the counter.
const PATIENCE: Duration = Duration::from_millis(30);
/// Kilos that the belt carries, and that a container holds.
const BELT: u64 = 100;
const CONTAINER: u64 = 80;
/// What it takes to load a bag where there is a plane.
const LOADING: Duration = Duration::from_millis(5);
/// When a plane would have to leave; and when the airport closes for the night.
const DEPARTURE: Duration = Duration::from_millis(200);
const NIGHT: Duration = Duration::from_millis(400);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum City {
    /// Its plane stands there.
    Lisbon,
    /// Its plane does not come.
    Oslo,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bag {
    pub(crate) number: u32,
    pub(crate) to: City,
    pub(crate) kilos: u64,
}

/// What is done when the container for Oslo is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// The bag waits, and the belt behind it.
    Wait,
    /// The oldest bag in the container goes to lost property.
    Drop,
    /// The bag waits as long as it can still make its flight; then it is driven home.
    Home,
    /// The counter asks the container, and takes no bag that would not fly.
    Stop,
}

/// What became of a bag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Flown,
    /// In the container for Oslo, or on the way to it, when the airport closed.
    StillHere,
    LostProperty,
    DrivenHome,
    /// The passenger kept it.
    NotTaken,
}

pub(crate) type Fates = Vec<(Bag, Fate)>;

/// Which bag goes where, and how heavy it is: the same every day.
pub(crate) fn bags() -> impl Iterator<Item = Bag> {
    (0..BAGS).map(|number| Bag {
        number,
        to: if number % 2 == 0 { City::Lisbon } else { City::Oslo },
        kilos: 15 + u64::from(number * 7 % 10),
    })
}

/// So many kilos, and nothing else: a bag's place on a belt weighs nothing.
fn kilos(most: u64) -> Config<Bag> {
    Config::weighing(most, |bag: &Bag| bag.kilos).per_item(0)
}

/// A day under one plan: every bag, in the order in which its fate was known.
pub(crate) async fn day(plan: Plan) -> Result<Fates, ConfigError> {
    let begin = Instant::now();
    let (belt, on_belt) = kilos(BELT).build()?;
    let (lisbon, for_lisbon) = kilos(CONTAINER).build()?;
    let overflow = if plan == Plan::Drop { Overflow::DropOldest } else { Overflow::Wait };
    let (oslo, for_oslo) = kilos(CONTAINER).overflow(overflow).build()?;
    let (van, in_van) = kilos(CONTAINER).build()?;
    let sorter = Sorter { lisbon, oslo: oslo.clone(), van, plan, departure: begin + DEPARTURE };
    let (counter, hall, plane, gate, home) = tokio::join!(
        check_in(belt, oslo, plan),
        sorter.run(on_belt),
        carry(for_lisbon, Fate::Flown),
        no_plane(for_oslo, begin + NIGHT),
        carry(in_van, Fate::DrivenHome),
    );
    Ok([counter, hall, plane, gate, home].concat())
}

/// The counter: a passenger every now and then, each with a bag and a little patience. Bags that were not taken.
async fn check_in(belt: Sender<Bag>, oslo: Sender<Bag>, plan: Plan) -> Fates {
    let mut kept = Vec::new();
    for bag in bags() {
        sleep(APART).await;
        // Asked first, as far down the way as it is known: nothing is reserved by that, and nothing waits.
        let flies = plan != Plan::Stop || bag.to != City::Oslo;
        if !flies && !oslo.readiness_for(&Demand::weight(bag.kilos)).is_ready() {
            kept.push((bag, Fate::NotTaken));
            continue;
        }
        match belt.send_by(bag, Instant::now() + PATIENCE).await {
            Ok(sent) => kept.extend(sent.into_returned().map(|bag| (bag, Fate::NotTaken))),
            Err(Closed(bag)) => kept.push((bag, Fate::NotTaken)),
        }
    }
    kept
}

/// The hall where the belt ends.
struct Sorter {
    lisbon: Sender<Bag>,
    oslo: Sender<Bag>,
    van: Sender<Bag>,
    plan: Plan,
    departure: Instant,
}

impl Sorter {
    /// Bags that found no place, or lost it.
    async fn run(self, mut belt: Receiver<Bag>) -> Fates {
        let mut stranded = Vec::new();
        while let Some(lease) = belt.recv().await {
            // Its kilos stay on the belt until the bag has found its place: that is what stops the counter.
            let (bag, _kilos) = lease.into_parts();
            let sent = match (bag.to, self.plan) {
                (City::Lisbon, _) => self.lisbon.send(bag).await,
                (City::Oslo, Plan::Home) => self.oslo.send_by(bag, self.departure).await,
                (City::Oslo, _) => self.oslo.send(bag).await,
            };
            match sent {
                Ok(Sent::Accepted) => {}
                Ok(Sent::Displaced(bags)) => {
                    stranded.extend(bags.into_iter().map(|bag| (bag, Fate::LostProperty)));
                }
                Ok(other) => {
                    for bag in other.into_returned() {
                        stranded.extend(self.drive_home(bag).await);
                    }
                }
                // Night: the gate takes no more.
                Err(Closed(bag)) => stranded.push((bag, Fate::StillHere)),
            }
        }
        stranded
    }

    /// `None` if it is in the van.
    async fn drive_home(&self, bag: Bag) -> Option<(Bag, Fate)> {
        match self.van.send(bag).await {
            Ok(sent) => sent.into_returned().next().map(|bag| (bag, Fate::StillHere)),
            Err(Closed(bag)) => Some((bag, Fate::StillHere)),
        }
    }
}

/// A plane, or a van, that is loaded bag by bag.
async fn carry(mut container: Receiver<Bag>, fate: Fate) -> Fates {
    let mut carried = Vec::new();
    while let Some(bag) = container.recv().await {
        sleep(LOADING).await;
        carried.push((bag.clone(), fate));
    }
    carried
}

/// A gate without a plane. At night it takes no more, and its container is emptied: nothing in it is forgotten.
async fn no_plane(mut container: Receiver<Bag>, night: Instant) -> Fates {
    sleep_until(night).await;
    container.close();
    let mut left = Vec::new();
    while let Some(bag) = container.recv().await {
        left.push((bag.clone(), Fate::StillHere));
    }
    left
}
