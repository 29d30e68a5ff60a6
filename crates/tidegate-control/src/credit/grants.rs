//! [`Grants`]: who may take bytes next.

use super::account::{Account, Blocked, Demand, Held};

/// Bytes for a chain of accounts, each with a reserve of its own and a share in what is common to all.
///
/// The accounts stand in the order in which things move on, from 0. What an account holds is charged to its reserve
/// first; what goes beyond is common. A demand is met if its account has room, and either needs nothing common or
/// finds it free; common bytes go to the account furthest downstream in which somebody waits for them, there to the
/// oldest turn, and nobody passes: what downstream gets is on its way out. In an ordered account only the turn that
/// is next to end may stand on the reserve, else those behind it could take it and wait for the one in front of them
/// for ever.
///
/// So a demand not above the reserve is always met when its account holds nothing at the front, and what an account
/// holds at the front goes on when the next account moves: from the end backwards, something always can
/// (`docs/decisions/0008-pipelines-cannot-deadlock.md`). And never is more held than the reserves and the common
/// bytes are together.
///
/// ```
/// use tidegate_control::credit::{Account, Blocked, Grants};
///
/// // Two accounts with a reserve of 10 each, 5 are common.
/// let mut grants = Grants::new(5, [Account::new(10, 100), Account::new(10, 100)]);
/// grants.take(0, 0, 12).unwrap();
/// assert_eq!(grants.take(0, 1, 4), Err(Blocked::Budget), "2 of the 5 are taken");
/// let spot = grants.wait(0, 1, 4, "upstream");
/// assert!(grants.take(1, 0, 10).is_ok(), "the reserve downstream is untouched");
/// grants.put_back(0, 0, 12);
/// assert_eq!(grants.serve().unwrap().value, "upstream");
/// assert!(grants.leave(spot).is_none(), "it waits no more");
/// ```
#[derive(Clone, Debug)]
pub struct Grants<T> {
    common: u64,
    taken: u64,
    held: u64,
    peak: u64,
    accounts: Vec<Held<T>>,
    waiting: usize,
    serial: u64,
}

/// Where a demand waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spot {
    account: usize,
    turn: u64,
    serial: u64,
}

/// A demand that waited is met.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the bytes are charged"]
pub struct Grant<T> {
    /// In which account.
    pub account: usize,
    /// For which turn.
    pub turn: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Who waited.
    pub value: T,
}

impl<T> Grants<T> {
    /// Accounts with their reserves, and `common` bytes beside.
    #[must_use]
    pub fn new(common: u64, accounts: impl IntoIterator<Item = Account>) -> Self {
        let accounts = accounts.into_iter().map(Held::new).collect();
        Self { common, taken: 0, held: 0, peak: 0, accounts, waiting: 0, serial: 0 }
    }

    /// Bytes that are held, in all accounts.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held
    }

    /// The most that was held at a time.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak
    }

    /// Bytes that can be held at most: the reserves, and the common ones.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.accounts.iter().fold(self.common, |sum, held| sum.saturating_add(held.plan.reserve))
    }

    /// Bytes and items that an account holds.
    #[must_use]
    pub fn holds(&self, account: usize) -> (u64, u64) {
        self.accounts.get(account).map_or((0, 0), |held| (held.bytes(), held.items))
    }

    /// Common bytes, and how many of them are held.
    #[must_use]
    pub fn common(&self) -> (u64, u64) {
        (self.common, self.taken)
    }

    /// Sets the common bytes. More are held than there are until they were put back, if it is fewer than are held now.
    /// Then call [`serve`](Self::serve).
    pub fn set_common(&mut self, bytes: u64) {
        self.common = bytes;
    }

    /// Demands that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// The turn of an ordered account that is next to end.
    #[must_use]
    pub fn head(&self, account: usize) -> u64 {
        self.accounts.get(account).map_or(0, |held| held.head)
    }

    /// Takes `bytes` for an item of `turn`, if nobody has to be served before.
    ///
    /// # Errors
    /// Why it must wait. An account that there is not is full.
    pub fn take(&mut self, account: usize, turn: u64, bytes: u64) -> Result<(), Blocked> {
        let price = self.price(account, turn, bytes)?;
        if self.waiting > 0 && !self.is_before_others(account, turn, price) {
            return Err(self.blocked(account).unwrap_or(Blocked::Budget));
        }
        self.charge(account, turn, bytes, price);
        Ok(())
    }

    /// Waits for `bytes` for an item of `turn`, after [`take`](Self::take) refused them. It is met by a later
    /// [`serve`](Self::serve).
    pub fn wait(&mut self, account: usize, turn: u64, bytes: u64, value: T) -> Spot {
        let spot = Spot { account, turn, serial: self.serial };
        self.serial += 1;
        if let Some(held) = self.accounts.get_mut(account) {
            held.waiting.insert((turn, spot.serial), Demand { bytes, value });
            self.waiting += 1;
        }
        spot
    }

    /// Waits no more; `None` if it does not. What it kept others from may be theirs now: call [`serve`](Self::serve).
    pub fn leave(&mut self, spot: Spot) -> Option<T> {
        let demand = self.accounts.get_mut(spot.account)?.waiting.remove(&(spot.turn, spot.serial))?;
        self.waiting -= 1;
        Some(demand.value)
    }

    /// The next demand that can be met, charged. To be called until there is none, whenever something was put back, a
    /// turn ended or somebody left.
    pub fn serve(&mut self) -> Option<Grant<T>> {
        if self.waiting == 0 {
            return None;
        }
        let mut promised = false;
        for account in (0..self.accounts.len()).rev() {
            let Some((turn, serial, bytes)) = self.first(account) else { continue };
            match self.price(account, turn, bytes) {
                Ok(price) if price == 0 || !promised => {
                    let held = self.accounts.get_mut(account)?;
                    let demand = held.waiting.remove(&(turn, serial))?;
                    self.waiting -= 1;
                    self.charge(account, turn, bytes, price);
                    return Some(Grant { account, turn, bytes, value: demand.value });
                }
                Ok(_) | Err(Blocked::Output) => {}
                Err(Blocked::Budget) => promised = true,
            }
        }
        None
    }

    /// Why the first in an account waits, if somebody does.
    #[must_use]
    pub fn blocked(&self, account: usize) -> Option<Blocked> {
        let (turn, _, bytes) = self.first(account)?;
        Some(self.price(account, turn, bytes).err().unwrap_or(Blocked::Budget))
    }

    /// Common bytes that are missing for the demand that is served next, if that is what it waits for.
    #[must_use]
    pub fn short_of(&self) -> Option<u64> {
        (0..self.accounts.len()).rev().find_map(|account| {
            let (turn, _, bytes) = self.first(account)?;
            let price = self.accounts.get(account)?.price(turn, bytes)?;
            let missing = self.taken.saturating_add(price).saturating_sub(self.common);
            (price > 0 && missing > 0).then_some(missing)
        })
    }

    /// An item of `turn` turned out to be smaller by `bytes`.
    pub fn shrink(&mut self, account: usize, turn: u64, bytes: u64) {
        self.change(account, |held| held.take(turn, bytes));
    }

    /// An item of `turn` is gone, with its last `bytes`.
    pub fn put_back(&mut self, account: usize, turn: u64, bytes: u64) {
        self.change(account, |held| {
            held.take(turn, bytes);
            held.items = held.items.saturating_sub(1);
        });
    }

    /// A turn of an ordered account ends, having handed on what it had, in turn, or nothing.
    pub fn end(&mut self, account: usize, turn: u64) {
        self.change(account, |held| held.end(turn));
    }

    fn change(&mut self, account: usize, change: impl FnOnce(&mut Held<T>)) {
        let Some(held) = self.accounts.get_mut(account) else { return };
        let (common, bytes) = (held.common(), held.bytes());
        change(held);
        self.taken = self.taken.saturating_sub(common).saturating_add(held.common());
        self.held = self.held.saturating_sub(bytes).saturating_add(held.bytes());
    }

    fn first(&self, account: usize) -> Option<(u64, u64, u64)> {
        let ((turn, serial), demand) = self.accounts.get(account)?.waiting.first_key_value()?;
        Some((*turn, *serial, demand.bytes))
    }

    /// The common bytes that it would take.
    fn price(&self, account: usize, turn: u64, bytes: u64) -> Result<u64, Blocked> {
        let held = self.accounts.get(account).ok_or(Blocked::Output)?;
        let price = held.price(turn, bytes).ok_or(Blocked::Output)?;
        let free = self.common.saturating_sub(self.taken);
        if price <= free { Ok(price) } else { Err(Blocked::Budget) }
    }

    /// May a newcomer be served before everybody who waits?
    fn is_before_others(&self, account: usize, turn: u64, price: u64) -> bool {
        let own = self.first(account).is_none_or(|(first, ..)| turn < first);
        let promised = |account| self.blocked(account) == Some(Blocked::Budget);
        own && (price == 0 || !(account + 1..self.accounts.len()).any(promised))
    }

    fn charge(&mut self, account: usize, turn: u64, bytes: u64, price: u64) {
        if let Some(held) = self.accounts.get_mut(account) {
            held.put(turn, bytes);
            self.taken = self.taken.saturating_add(price);
            self.held = self.held.saturating_add(bytes);
            self.peak = self.peak.max(self.held);
        }
    }
}
