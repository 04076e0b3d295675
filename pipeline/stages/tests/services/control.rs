//! control, killed between the store and the topics.

use std::time::Duration;

use serde_json::Value;
use tributary_schemas::{
    entity::{Account, Project},
    id::Sequence,
    observation::NativePayload,
    resource::Resource,
    time::Timestamp,
};
use tributary_stages::{
    clock::now,
    entity::{Entity, WriteError},
    secret::KeyRing,
    store::{Cas, EntityRef, Stored, Unpublished},
};

use crate::deployment::{Deployment, Reader, account};

fn project() -> Project {
    Project {
        id: "swept".parse().unwrap(),
        version: 0,
        name: "1".into(),
        native_payload: NativePayload::Full,
        id_prefix: "tr1!".into(),
        topics: Vec::new(),
        schedules: Vec::new(),
        suspended_at: None,
        created_at: now(),
        updated_at: now(),
    }
}

/// What a process has done of a change when it dies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Died {
    /// Nothing is set.
    Registered,
    /// Set, and not published.
    Set,
}

async fn change(deployment: &Deployment, entity: &EntityRef, version: u64, at: Timestamp, died: Died) {
    let control = &deployment.stores.control;
    let registered = Unpublished { entity: entity.clone(), version, registered_at: at };
    control.register(&registered).await.unwrap();
    if died == Died::Set {
        let mut doc: Value =
            serde_json::from_slice(&control.get(entity).await.unwrap().unwrap().doc).unwrap();
        doc["version"] = version.into();
        doc["told"] = serde_json::json!({ "version": version, "before": doc["told"]["version"] });
        let stored = Stored { version, doc: serde_json::to_vec(&doc).unwrap() };
        assert_eq!(control.put(entity, Some(version - 1), &stored).await.unwrap(), Cas::Done);
    }
}

async fn published(reader: &mut Reader) -> Value {
    let record: Value = serde_json::from_slice(&reader.next().await.payload.unwrap()).unwrap();
    assert!(record.to_string().contains("swept"), "{record}");
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_publishes_what_the_dead_had_set_and_leaves_alone_what_is_under_way() {
    let deployment = Deployment::new("sweep").await;
    let writer = deployment.writer();
    let project = writer.create(project()).await.unwrap();
    let entity = project.reference();
    let mut reader = deployment.reader(deployment.cluster.topics().control_webhooks());
    assert!(published(&mut reader).await.to_string().contains("\"version\":1"));
    assert_eq!(writer.sweep().await.unwrap(), 0, "what was published is not registered any more");

    let long_ago = now().minus(Duration::from_secs(60));
    change(&deployment, &entity, 2, long_ago, Died::Set).await;
    assert_eq!(writer.sweep().await.unwrap(), 1);
    assert!(published(&mut reader).await.to_string().contains("\"version\":2"));
    assert_eq!(writer.sweep().await.unwrap(), 0);

    // A slow writer that has not set anything yet keeps its registration: it may die after that.
    change(&deployment, &entity, 3, long_ago, Died::Registered).await;
    assert_eq!(writer.sweep().await.unwrap(), 0);
    change(&deployment, &entity, 3, long_ago, Died::Set).await;
    assert_eq!(writer.sweep().await.unwrap(), 1);
    assert!(published(&mut reader).await.to_string().contains("\"version\":3"));

    // One that is under way publishes by itself.
    change(&deployment, &entity, 4, now(), Died::Set).await;
    assert_eq!(writer.sweep().await.unwrap(), 0);
    let open = deployment.stores.control.unpublished().await.unwrap();
    assert_eq!(open.iter().map(|change| change.version).collect::<Vec<_>>(), [4]);
    // What was never made is forgotten after a day.
    change(&deployment, &entity, 9, now().minus(Duration::from_secs(2 * 86_400)), Died::Registered).await;
    assert_eq!(writer.sweep().await.unwrap(), 0);
    let open = deployment.stores.control.unpublished().await.unwrap();
    assert_eq!(open.iter().map(|change| change.version).collect::<Vec<_>>(), [4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_version_of_an_account_is_an_event_though_its_maker_died_before_it_said_so() {
    let deployment = Deployment::new("versions").await;
    let writer = deployment.writer();
    let keys = KeyRing::parse(&KeyRing::generate()).unwrap();
    let (id, project) = ("versions".parse().unwrap(), "p".parse().unwrap());
    let account = writer.create(account(&id, &project, &keys, String::new())).await.unwrap();
    let entity = account.reference();
    let mut reader = deployment.unified(Resource::Account);
    let relabel = async |label: &str| {
        let relabel = |account: &mut Account| -> Result<(), WriteError> {
            account.label = Some(label.to_owned());
            Ok(())
        };
        writer.update(&project, id.as_str(), relabel).await.unwrap()
    };

    // Another change comes before the sweep …
    change(&deployment, &entity, 2, now(), Died::Set).await;
    assert_eq!(relabel("three").await.version, 3);
    // … a loser's registration of what was announced is no harm but a repetition, under the same id …
    change(&deployment, &entity, 3, now(), Died::Registered).await;
    assert_eq!(relabel("four").await.version, 4);
    // … how it is polled is no event …
    let poll_daily = |account: &mut Account| -> Result<(), WriteError> {
        account.schedules.insert(Resource::HrisEmployees, Default::default());
        Ok(())
    };
    let quiet = writer.update(&project, id.as_str(), poll_daily).await.unwrap();
    assert_eq!((quiet.version, quiet.told.version), (5, 4));
    // … and the last one is the sweep's.
    change(&deployment, &entity, 6, now().minus(Duration::from_secs(60)), Died::Set).await;
    assert_eq!(writer.sweep().await.unwrap(), 1);

    let mut ids = std::collections::BTreeSet::new();
    let expected = [(1, None, false), (2, Some(1), false), (3, Some(2), false), (3, Some(2), true)];
    for (sequence, previous, repeated) in
        expected.into_iter().chain([(4, Some(3), false), (6, Some(4), false)])
    {
        let event = reader.event().await;
        assert_eq!(event.sequence, Sequence(sequence));
        assert_eq!(event.previous_sequence, previous.map(Sequence));
        assert_eq!(ids.insert(event.event_id), !repeated, "{sequence}");
    }
}
