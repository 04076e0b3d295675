//! What the entities' writing function counts, in control and in poll.

use crate::telemetry::declare;

declare! {
    /// Changes that could not be published when the sweep last looked.
    gauge STUCK = "tributary_control_unpublished_changes";
    /// Sweeps that did not come to look: the store did not say what there is.
    counter FAILED_SWEEPS = "tributary_control_failed_sweeps_total";
    /// Entities that were met and can't be read.
    counter UNREADABLE = "tributary_control_unreadable_total" [kind];
}
