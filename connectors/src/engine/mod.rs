//! What a definition compiles to. A file a section; `definition` never looks back here.
//!
//! What providers say is JSON text from the first byte to the digest ([`value`]): it is never a tree, its digits stay
//! as they came, and what nobody asks for is skipped. Nothing here shows a value of a record in an error or in `Debug`:
//! [`Trouble`] has the field and the kind of trouble alone. All of it is pure: a listing is a state machine that says
//! which request comes next and is told its answer; time comes in as a value.

pub mod auth;
pub mod connector;
pub mod convert;
pub mod date;
pub mod decode;
pub mod events;
pub mod expression;
pub mod inbound;
mod jq;
pub mod json;
pub mod limits;
pub mod listing;
pub mod map;
mod marks;
pub mod names;
pub mod outcome;
mod page;
pub mod path;
pub mod position;
pub mod projection;
pub mod read;
mod record;
pub mod request;
pub mod run;
pub mod subscription;
pub mod template;
mod trie;
mod trouble;
pub mod value;
pub mod verify;
mod xml;

pub use trouble::{Kind, Trouble, TroubleKind};
