//! control, killed between the store and the topics.

use std::time::Duration;

use serde_json::Value;
use tributary_schemas::{entity::Project, observation::NativePayload, time::Timestamp};
use tributary_stages::{
    clock::now,
    entity::{Entity, Writer},
    store::{Cas, EntityRef, Stored, Unpublished},
};

use crate::deployment::{Deployment, Reader};

fn project() -> Project {
    Project {
        id: "swept".parse().unwrap(),
        version: 0,
        name: "1".into(),
        native_payload: NativePayload::Full,
        id_prefix: "tr1!".into(),
        topics: Vec::new(),
        schedules: Vec::new(),
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
        (doc["version"], doc["name"]) = (version.into(), version.to_string().into());
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
    let writer = Writer::new(
        deployment.stores.control.clone(),
        deployment.publisher.clone(),
        deployment.cluster.topics().clone(),
    );
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
