//! What the API keeps beside the entities: answers for whoever asks again, uses of keys, and whose a delivery is.

use async_trait::async_trait;
use tributary_schemas::{
    id::{ProjectId, WebhookId},
    time::Timestamp,
};

use super::{Kind, StoreError};

/// What the API keeps beside the entities.
#[async_trait]
pub trait ApiStore: Send + Sync {
    /// Keeps `doc` under a project's name until then, if nothing is kept there; else gives what is.
    async fn begin_answer(
        &self,
        project: &ProjectId,
        name: &str,
        doc: &[u8],
        until: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreError>;

    /// Puts `doc` in the place of what is kept; where nothing is, nothing is put.
    async fn keep_answer(
        &self,
        project: &ProjectId,
        name: &str,
        doc: &[u8],
        until: Timestamp,
    ) -> Result<(), StoreError>;

    /// Keeps nothing there any more.
    async fn drop_answer(&self, project: &ProjectId, name: &str) -> Result<(), StoreError>;

    /// Notes that an API key was used.
    async fn note_key_use(&self, project: &ProjectId, id: &str, at: Timestamp) -> Result<(), StoreError>;

    /// When a project's API keys were last used, by id.
    async fn key_uses(&self, project: &ProjectId) -> Result<Vec<(String, Timestamp)>, StoreError>;

    /// How many entities of a kind a project has; deleted ones too, until that is published.
    async fn count(&self, kind: Kind, project: &ProjectId) -> Result<usize, StoreError>;

    /// Notes whose a delivery is; kept as long as attempts are.
    async fn note_delivery(
        &self,
        project: &ProjectId,
        delivery: &str,
        webhook: &WebhookId,
    ) -> Result<(), StoreError>;

    /// The webhook of a project's delivery, also when it is gone.
    async fn webhook_of(&self, project: &ProjectId, delivery: &str) -> Result<Option<WebhookId>, StoreError>;
}
