//! The providers, a file each: what is special about it. What they share is in the rooms above.

mod ashby;
mod bamboohr;
mod google_drive;
mod greenhouse;
mod hubspot;
mod microsoft_graph;
mod moodle;
mod salesforce;

use crate::provider::Provider;

/// All of them.
pub(crate) fn all() -> Vec<Provider> {
    vec![
        ashby::provider(),
        bamboohr::provider(),
        google_drive::provider(),
        greenhouse::provider(),
        hubspot::provider(),
        microsoft_graph::provider(),
        moodle::provider(),
        salesforce::provider(),
    ]
}
