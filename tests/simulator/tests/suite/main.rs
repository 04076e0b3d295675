//! The simulator, asked over HTTP: its listings are whole, its feeds tell what changed, its faults do what they say, its
//! callbacks verify in another language.
#![allow(missing_docs, clippy::unwrap_used)]

mod callbacks;
mod faults;
mod feeds;
mod listings;
mod readme;
mod sim;
mod tokens;
