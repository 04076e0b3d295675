//! How a person registers a webhook.

use super::keys::{keys, words};

keys! {
    /// How a person registers a webhook.
    pub struct Manual {
        /// Whose secret it is signed with.
        secret: ManualSecret,
        /// The steps: `{url}` and `{secret}` stand for the account's.
        steps: Vec<String>,
    }
}

words! {
    /// Whose secret a webhook has that a person registers.
    pub enum ManualSecret {
        /// We make it, and it is entered at the provider.
        Ours = "ours",
        /// The provider makes it, and it is given to us.
        Theirs = "theirs",
    }
}
