use tidegate::Permit;

// The capacity has gone back with the outcome: what comes after cannot pretend to hold it.
fn echo(permit: Permit) {
    permit.success();
    let _still_held = permit;
}

fn main() {
    let _ = echo;
}
