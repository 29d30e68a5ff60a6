use super::*;

const NOW: Urgency = Urgency::InProgress;

fn cause(result: Result<(), Short>) -> (NodeId, Cause) {
    let short = result.unwrap_err();
    (short.at, short.cause)
}

#[test]
fn bytes_are_charged_to_all_above_or_to_none() {
    let (mut ledger, root) = Ledger::new(100, 0);
    let tenant = ledger.open(root, 50, 0, false).unwrap();
    let one = ledger.open(tenant, 40, 0, false).unwrap();
    let two = ledger.open(tenant, 40, 0, false).unwrap();
    ledger.charge(one, 30, NOW).unwrap();
    assert_eq!(cause(ledger.charge(two, 30, NOW)), (tenant, Cause::Room));
    assert_eq!([two, tenant, root].map(|at| ledger.used(at)), [0, 30, 30]);
    assert_eq!((ledger.free(two), ledger.free(one)), (20, 10));
    assert_eq!(cause(ledger.charge(two, 41, NOW)), (two, Cause::Never));
    ledger.give(one, 30);
    assert_eq!([one, tenant, root].map(|at| ledger.used(at)), [0, 0, 0]);
    assert_eq!(ledger.peak(tenant), 30);
}

#[test]
fn a_debt_is_paid_before_anything_is_charged() {
    let (mut ledger, root) = Ledger::new(100, 0);
    ledger.charge(root, 80, NOW).unwrap();
    ledger.set_limit(root, 50);
    assert_eq!(cause(ledger.charge(root, 1, NOW)), (root, Cause::Room));
    ledger.give(root, 30);
    assert_eq!(cause(ledger.charge(root, 1, NOW)), (root, Cause::Room));
    ledger.give(root, 1);
    ledger.charge(root, 1, NOW).unwrap();
    ledger.set_limit(root, 60);
    ledger.charge(root, 10, NOW).unwrap();
}

#[test]
fn a_node_has_its_limit_for_itself_and_shares_what_is_above() {
    let (mut ledger, root) = Ledger::new(100, 0);
    let peer = ledger.open(root, 70, 0, false).unwrap();
    ledger.charge(peer, 60, Urgency::New).unwrap();
    assert_eq!(cause(ledger.charge(peer, 1, Urgency::New)), (root, Cause::Ceiling));
    ledger.charge(peer, 10, Urgency::Growth).unwrap();
    assert_eq!(cause(ledger.charge(root, 11, Urgency::Growth)), (root, Cause::Ceiling));
    ledger.charge(root, 30, NOW).unwrap();
    assert_eq!(cause(ledger.charge(root, 61, Urgency::New)), (root, Cause::Never));
}

#[test]
fn only_the_oldest_work_uses_the_reserve() {
    let (mut ledger, root) = Ledger::new(100, 2);
    let [first, second] = [(); 2].map(|()| ledger.open(root, u64::MAX, 0, true).unwrap());
    ledger.charge(root, 98, NOW).unwrap();
    assert_eq!(cause(ledger.charge(root, 1, NOW)), (root, Cause::Ceiling));
    assert_eq!(cause(ledger.charge(second, 1, NOW)), (root, Cause::Ceiling));
    ledger.charge(first, 1, NOW).unwrap();
    ledger.give(first, 1);
    ledger.close(first);
    ledger.charge(second, 2, NOW).unwrap();
}

#[test]
fn above_the_half_nobody_grows_beyond_its_share() {
    let (mut ledger, root) = Ledger::new(100, 0);
    let [one, two] = [1, 3].map(|share| ledger.open(root, u64::MAX, share, false).unwrap());
    ledger.charge(one, 50, NOW).unwrap();
    ledger.charge(one, 20, NOW).unwrap(); // nobody else wants any
    ledger.charge(two, 30, NOW).unwrap();
    ledger.give(one, 10);
    assert_eq!(cause(ledger.charge(one, 1, NOW)), (root, Cause::Share));
    ledger.charge(two, 10, NOW).unwrap();
    ledger.give(two, 40);
    ledger.charge(one, 1, NOW).unwrap(); // it left its share
}

#[test]
fn one_that_asked_in_vain_counts_for_a_second() {
    let second = 1_000_000_000;
    let (mut ledger, root) = Ledger::new(100, 0);
    let [one, two] = [(); 2].map(|()| ledger.open(root, u64::MAX, 1, false).unwrap());
    let stream = ledger.open(two, 50, 0, false).unwrap();
    ledger.charge(one, 100, NOW).unwrap();
    let short = ledger.charge(stream, 10, NOW).unwrap_err();
    assert_eq!((short.at, short.cause), (root, Cause::Room));
    ledger.want(stream, short, second);
    ledger.want(stream, short, second);
    ledger.give(one, 20);
    assert_eq!(cause(ledger.charge(one, 20, NOW)), (root, Cause::Share));
    assert!(!ledger.forget_wants(root, 2 * second));
    assert!(ledger.forget_wants(root, 2 * second + 1));
    ledger.charge(one, 20, NOW).unwrap();
    ledger.want(stream, short, 0);
    ledger.close(stream);
    ledger.close(two);
    ledger.give(one, 20);
    ledger.charge(one, 20, NOW).unwrap();
}

#[test]
fn a_transfer_charges_only_what_is_not_charged_already() {
    let (mut ledger, root) = Ledger::new(100, 0);
    let tenant = ledger.open(root, 60, 0, false).unwrap();
    let [one, two] = [40, 30].map(|limit| ledger.open(tenant, limit, 0, false).unwrap());
    ledger.charge(one, 40, NOW).unwrap();
    ledger.charge(root, 40, NOW).unwrap();
    assert_eq!(cause(ledger.transfer(one, two, 31)), (two, Cause::Never));
    ledger.transfer(one, two, 30).unwrap();
    assert_eq!([one, two, tenant, root].map(|at| ledger.used(at)), [10, 30, 40, 80]);
    ledger.transfer(two, tenant, 20).unwrap();
    assert_eq!([one, two, tenant, root].map(|at| ledger.used(at)), [10, 10, 40, 80]);
    ledger.transfer(tenant, one, 20).unwrap();
    assert_eq!([one, two, tenant, root].map(|at| ledger.direct(at)), [30, 10, 0, 40]);
    ledger.transfer(root, root, 40).unwrap();
    assert_eq!([tenant, root].map(|at| ledger.used(at)), [40, 80]);
}

#[test]
fn a_closed_node_is_no_other() {
    let (mut ledger, root) = Ledger::new(100, 0);
    let old = ledger.open(root, 10, 1, true).unwrap();
    ledger.charge(old, 5, NOW).unwrap();
    ledger.close(old);
    let new = ledger.open(root, 10, 1, true).unwrap();
    assert_eq!((old.index(), ledger.used(root)), (new.index(), 0));
    assert_eq!(cause(ledger.charge(old, 1, NOW)), (old, Cause::Never));
    ledger.give(old, 1);
    ledger.close(old);
    assert!(ledger.open(old, 1, 0, false).is_none());
    ledger.charge(new, 1, NOW).unwrap();
    assert_eq!((ledger.used(new), ledger.free(old)), (1, 0));
}
