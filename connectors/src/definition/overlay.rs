//! Whether a project or an account may add custom and ignored fields.

use super::keys::words;

words! {
    /// Whether a project or an account may add to a definition.
    pub enum Overlay {
        /// It may add custom and ignored fields.
        Allowed = "allowed",
    }
}
