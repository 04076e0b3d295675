//! Places of the unified record where change is no change, or order means nothing: `home_location.updated_at`,
//! `groups.*.members_count`.

use std::collections::BTreeMap;

/// What is said of a place, and of those in it.
#[derive(Debug, Default)]
pub(super) struct Marks {
    inner: BTreeMap<String, Marks>,
    each: Option<Box<Marks>>,
    pub(super) volatile: bool,
    pub(super) set: bool,
}

impl Marks {
    pub(super) fn mark(&mut self, path: &str) -> &mut Marks {
        let mut at = self;
        for step in path.split('.') {
            at = match step {
                "*" => at.each.get_or_insert_default(),
                step => at.inner.entry(step.to_owned()).or_default(),
            };
        }
        at
    }

    pub(super) fn of(&self, key: &str) -> Option<&Marks> {
        self.inner.get(key)
    }

    pub(super) fn of_each(&self) -> Option<&Marks> {
        self.each.as_deref()
    }
}
