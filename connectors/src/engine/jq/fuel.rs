//! How many steps an expression has left. A program's run is one thread's, from begin to end.

use std::cell::Cell;

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

/// Fills up; what was left is gone.
pub(super) fn fill(steps: u64) {
    LEFT.set(steps);
}

/// Takes steps; false where there are no more, and from then on.
pub(super) fn spend(steps: u64) -> bool {
    let left = LEFT.get().saturating_sub(steps);
    LEFT.set(left);
    left > 0
}

/// Whether nothing is left.
pub(super) fn is_spent() -> bool {
    LEFT.get() == 0
}
