//! How deletions are told.

use super::{
    keys::{keys, words},
    page::Page,
    request::List,
    resource::Id,
    text::Expression,
};

keys! {
    /// How deletions are told: by records that say so, by a feed, or by absence.
    pub struct Gone {
        /// Which of the records say that they are gone. Judged on the raw item, before anything else.
        when: Option<Expression>,
        /// Its id.
        id: Option<Id>,
        /// When it went.
        at: Option<Expression>,
        /// A feed of deletions.
        list: Option<List>,
        /// Its paging.
        page: Option<Page>,
        /// The answer's own next `$since`.
        covered: Option<Expression>,
        /// What it means not to be listed.
        absence: AbsenceMeans = AbsenceMeans::Deletes,
    }
}

words! {
    /// What it means that a record is not listed.
    pub enum AbsenceMeans {
        /// It is gone.
        Deletes = "deletes",
        /// Nothing: the list only looks back so far.
        Ignored = "ignored",
    }
}
