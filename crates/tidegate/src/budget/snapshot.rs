//! Who holds bytes, how many and since when; who waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_control::credit::NodeId;

use super::desk::{Desk, Node};
use super::node::Budget;

/// How many budgets below one are listed; the rest is summed up.
const LISTED: usize = 64;

/// A budget and what is below it, at one moment; made by [`Budget::snapshot`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Its name.
    pub name: Arc<str>,
    /// Its own limit, bytes; `None` if it has none but those above it.
    pub limit: Option<u64>,
    /// Bytes held here and below.
    pub used: u64,
    /// Of these, those leased from it itself.
    pub direct: u64,
    /// For how long it has held some itself; zero if it does not.
    pub held: Duration,
    /// The most that was ever held here and below, bytes.
    pub peak: u64,
    /// Those that wait here and below.
    pub waiting: usize,
    /// The bytes they wait for.
    pub waiting_bytes: u64,
    /// The budgets below it, the largest first, 64 at most.
    pub children: Vec<Snapshot>,
    /// How many more there are.
    pub unlisted: usize,
    /// Bytes that those hold.
    pub unlisted_bytes: u64,
}

/// Who holds bytes, and since when; made by [`Budget::holders`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The names from below the budget asked down to the holder, with `/` between them; its own name if it is that itself.
    pub who: String,
    /// Bytes leased from it itself.
    pub bytes: u64,
    /// For how long it has held some without a break.
    pub held: Duration,
}

impl Budget {
    /// What is held here and below, and by whom, at one moment. Walks the whole tree under its lock: for a status page, not
    /// for each request.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let tree = self.tree();
        let now = tree.clock.now();
        tree.visit(|desk, _| {
            let mut below: HashMap<NodeId, Vec<&Node>> = HashMap::new();
            for node in desk.nodes.iter().flatten() {
                if let Some(parent) = desk.ledger.parent(node.id) {
                    below.entry(parent).or_default().push(node);
                }
            }
            desk.node(self.id()).map(|node| picture(desk, node, &below, now)).unwrap_or_default()
        })
    }

    /// The `most` holders of bytes here and below, by bytes times how long they have held some: who keeps much for long
    /// comes first. Walks the whole tree under its lock.
    ///
    /// ```
    /// use tidegate::budget::Budget;
    ///
    /// let process = Budget::new("process", 100);
    /// let upload = process.child("10.0.0.7").build().child("upload 3").build();
    /// let _lease = upload.try_lease(10)?;
    /// let top = process.holders(5);
    /// assert_eq!((top.len(), &*top[0].who, top[0].bytes), (1, "10.0.0.7/upload 3", 10));
    /// # Ok::<(), tidegate::budget::Full>(())
    /// ```
    #[must_use]
    pub fn holders(&self, most: usize) -> Vec<Holder> {
        let tree = self.tree();
        let now = tree.clock.now();
        tree.visit(|desk, _| {
            let holds = |node: &&Node| {
                let bytes = desk.ledger.direct(node.id);
                bytes > 0 && desk.ledger.up(node.id).any(|at| at == self.id())
            };
            let mut all: Vec<&Node> = desk.nodes.iter().flatten().filter(holds).collect();
            let weight =
                |node: &&Node| u128::from(desk.ledger.direct(node.id)) * age(node, now).as_nanos().max(1);
            all.sort_by_cached_key(|node| std::cmp::Reverse(weight(node)));
            all.truncate(most);
            let holder = |node: &Node| Holder {
                who: self.path(desk, node),
                bytes: desk.ledger.direct(node.id),
                held: age(node, now),
            };
            all.into_iter().map(holder).collect()
        })
    }

    /// The names on the way from here to `node`.
    fn path(&self, desk: &Desk, node: &Node) -> String {
        let way = desk.ledger.up(node.id).take_while(|at| *at != self.id());
        let mut names: Vec<&str> = way.filter_map(|at| desk.node(at)).map(|node| &*node.name).collect();
        names.reverse();
        if names.is_empty() { node.name.to_string() } else { names.join("/") }
    }
}

fn age(node: &Node, now: u64) -> Duration {
    Duration::from_nanos(now.saturating_sub(node.since))
}

fn picture(desk: &Desk, node: &Node, below: &HashMap<NodeId, Vec<&Node>>, now: u64) -> Snapshot {
    let id = node.id;
    let ledger = &desk.ledger;
    let mut children = below.get(&id).cloned().unwrap_or_default();
    children.sort_by_key(|child| std::cmp::Reverse(ledger.used(child.id)));
    let rest = children.split_off(children.len().min(LISTED));
    let direct = ledger.direct(id);
    Snapshot {
        name: Arc::clone(&node.name),
        limit: Some(ledger.limit(id)).filter(|limit| *limit < u64::MAX),
        used: ledger.used(id),
        direct,
        held: if direct > 0 { age(node, now) } else { Duration::ZERO },
        peak: ledger.peak(id),
        waiting: node.asks,
        waiting_bytes: node.asked,
        children: children.into_iter().map(|child| picture(desk, child, below, now)).collect(),
        unlisted: rest.len(),
        unlisted_bytes: rest.iter().map(|child| ledger.used(child.id)).sum(),
    }
}
