//! What both implementations of the API's store promise.

use std::time::Duration;

use tributary_schemas::{
    id::{ProjectId, WebhookId},
    time::Timestamp,
};
use tributary_stages::{
    clock::now,
    store::{Cas, ControlStore, EntityRef, Kind, Stored, Stores, api::ApiStore},
};

use super::account;

pub(super) async fn all(stores: &Stores) {
    the_first_to_ask_begins_an_answer_and_others_find_it(&*stores.api).await;
    an_answer_is_gone_when_its_time_is_over(&*stores.api).await;
    what_is_kept_of_an_answer_does_not_outlive_it(&*stores.api).await;
    uses_of_keys_are_the_latest_and_each_project_s_own(&*stores.api).await;
    entities_are_counted_by_kind_and_project(stores).await;
    a_delivery_is_its_project_s_alone(&*stores.api).await;
}

fn project() -> ProjectId {
    account().as_str().parse().unwrap()
}

fn tomorrow() -> Timestamp {
    now().plus(Duration::from_secs(86_400))
}

async fn the_first_to_ask_begins_an_answer_and_others_find_it(store: &dyn ApiStore) {
    let (ours, theirs) = (project(), project());
    let begin = async |project: &ProjectId, name: &str, doc: &'static [u8]| {
        store.begin_answer(project, name, doc, tomorrow()).await.unwrap()
    };
    let (a, b) = tokio::join!(begin(&ours, "k", b"a"), begin(&ours, "k", b"b"));
    let (won, found): (&[u8], _) = match (a, b) {
        (None, Some(found)) => (b"a", found),
        (Some(found), None) => (b"b", found),
        both => panic!("one begins, and one finds: {both:?}"),
    };
    assert_eq!(found, won);
    assert_eq!(begin(&ours, "other", b"c").await, None, "another name is another answer");
    assert_eq!(begin(&theirs, "k", b"d").await, None, "another project's is its own");
    store.keep_answer(&ours, "k", b"e", tomorrow()).await.unwrap();
    assert_eq!(begin(&ours, "k", b"f").await.as_deref(), Some(&b"e"[..]));
    store.drop_answer(&ours, "k").await.unwrap();
    assert_eq!(begin(&ours, "k", b"g").await, None, "what was dropped is free");
    assert_eq!(begin(&theirs, "k", b"h").await.as_deref(), Some(&b"d"[..]));
}

async fn an_answer_is_gone_when_its_time_is_over(store: &dyn ApiStore) {
    let project = project();
    let begin = async |until| store.begin_answer(&project, "k", b"x", until).await.unwrap();
    assert_eq!(begin(now().plus(Duration::from_secs(2))).await, None);
    assert!(begin(tomorrow()).await.is_some());
    let freed = async {
        while begin(tomorrow()).await.is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), freed).await.expect("it ends by itself");
    assert!(begin(tomorrow()).await.is_some(), "the next one is kept for its own time");
}

async fn what_is_kept_of_an_answer_does_not_outlive_it(store: &dyn ApiStore) {
    let project = project();
    // Who took too long finds its place free, or taken by somebody else: nothing is put where nothing is kept.
    store.keep_answer(&project, "k", b"late", tomorrow()).await.unwrap();
    assert_eq!(store.begin_answer(&project, "k", b"next", tomorrow()).await.unwrap(), None);
}

async fn uses_of_keys_are_the_latest_and_each_project_s_own(store: &dyn ApiStore) {
    let (ours, theirs) = (project(), project());
    let at = |second: i64| Timestamp::from_micros(1_764_000_000_000_000 + second * 1_000_000);
    for (project, id, second) in [(&ours, "a", 1), (&ours, "b", 2), (&theirs, "c", 3), (&ours, "a", 4)] {
        store.note_key_use(project, id, at(second)).await.unwrap();
    }
    let mut uses = store.key_uses(&ours).await.unwrap();
    uses.sort();
    assert_eq!(uses, [("a".to_owned(), at(4)), ("b".to_owned(), at(2))]);
    assert_eq!(store.key_uses(&project()).await.unwrap(), []);
}

async fn entities_are_counted_by_kind_and_project(stores: &Stores) {
    let (ours, theirs) = (project(), project());
    let entity =
        |kind, project: &ProjectId, id: &str| EntityRef { kind, project: project.clone(), id: id.into() };
    let control: &dyn ControlStore = &*stores.control;
    let stored = Stored { version: 1, doc: b"{}".to_vec() };
    for entity in [
        entity(Kind::Account, &ours, "a"),
        entity(Kind::Account, &ours, "b"),
        entity(Kind::Webhook, &ours, "a"),
        entity(Kind::Account, &theirs, "a"),
    ] {
        assert_eq!(control.put(&entity, None, &stored).await.unwrap(), Cas::Done);
    }
    let count = async |kind, project| stores.api.count(kind, project).await.unwrap();
    assert_eq!((count(Kind::Account, &ours).await, count(Kind::Webhook, &ours).await), (2, 1));
    assert_eq!((count(Kind::Account, &theirs).await, count(Kind::Webhook, &theirs).await), (1, 0));
    assert_eq!(control.delete(&entity(Kind::Account, &ours, "a"), 1).await.unwrap(), Cas::Done);
    assert_eq!(count(Kind::Account, &ours).await, 1);
}

async fn a_delivery_is_its_project_s_alone(store: &dyn ApiStore) {
    let (ours, theirs) = (project(), project());
    let webhook: WebhookId = "w".parse().unwrap();
    store.note_delivery(&ours, "msg_1", &webhook).await.unwrap();
    store.note_delivery(&ours, "msg_1", &webhook).await.unwrap();
    assert_eq!(store.webhook_of(&ours, "msg_1").await.unwrap(), Some(webhook));
    assert_eq!(store.webhook_of(&ours, "msg_2").await.unwrap(), None);
    assert_eq!(store.webhook_of(&theirs, "msg_1").await.unwrap(), None);
}
