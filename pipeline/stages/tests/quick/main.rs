//! Tests that need no services.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod control;
mod deliver;
mod ordering;
mod poll;
mod rate;
mod receiver;
#[path = "../shared/store.rs"]
mod store;
mod unify;
mod watcher;
mod world;

use tributary_stages::store::{Config, Stores};

#[tokio::test]
async fn the_embedded_stores_keep_their_promises() {
    let folder = tempfile::tempdir().unwrap();
    let stores = Stores::open(&Config::Embedded { path: folder.path().into() }).await.unwrap();
    store::all(&stores).await;
}
