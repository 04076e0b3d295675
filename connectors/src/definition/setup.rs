//! What linking an account asks for, what a project registers at the provider, and how an account's owner is known.

use super::{
    keys::{Named, keys, words},
    text::Expression,
};

keys! {
    /// A field that linking an account asks for.
    pub struct SetupField {
        /// Its name for people.
        label: String,
        /// Where to find it.
        help: Option<String>,
        /// Whether it is kept sealed and never shown.
        secret: bool = false,
        /// Whether it may be left out.
        optional: bool = false,
        /// What it is where it is left out.
        default: Option<String>,
        /// Whether it says whose data it is: another value is another account.
        tenant: bool = false,
        /// What it is checked to be.
        kind as "as": SetupKind = SetupKind::Text,
        /// A regular expression that it matches whole.
        pattern: Option<String>,
        /// The values that it may have.
        choices: Vec<String>,
        /// Rows instead of one value: their columns.
        list: Option<Named<Column>>,
    }
    /// A column of a set-up field that has rows.
    pub struct Column {
        /// Its name for people.
        label: String,
        /// Where to find it.
        help: Option<String>,
        /// Whether it may be left out.
        optional: bool = false,
    }
    /// A field of a project's registration at the provider.
    pub struct AppField {
        /// Its name for people.
        label: String,
        /// Where to find it.
        help: Option<String>,
        /// Whether it is kept sealed and never shown.
        secret: bool = false,
        /// Whether it may be left out.
        optional: bool = false,
    }
    /// Whose data it is, as the provider names it.
    pub struct Identity {
        /// Of the answer to `check`.
        check: Option<Expression>,
        /// Of what logging in took.
        auth: Option<Expression>,
    }
}

words! {
    /// What a set-up field is.
    pub enum SetupKind {
        /// Any text without control characters.
        Text = "text",
        /// A number.
        Number = "number",
        /// An `https` or `http` URL without query; a slash at its end is dropped.
        Url = "url",
        /// A host's name.
        Host = "host",
        /// One label of a host's name.
        HostLabel = "host_label",
    }
}
