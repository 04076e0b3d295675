//! The webhooks, in memory, with their secrets opened.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use anyhow::Context;
use tributary_core::deliver::interest::wants;
use tributary_schemas::{
    entity::{SecretRole, Wanted, Webhook},
    event::UnifiedEvent,
    id::{ProjectId, WebhookId},
};

use crate::{
    kafka::Table,
    secret::{Field, KeyRing, Secret},
};

/// A webhook, ready to be delivered to.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) webhook: Webhook,
    /// Signs the compat header.
    pub(super) active: Option<Secret>,
    /// All live ones: they sign `webhook-signature`.
    pub(super) secrets: Vec<Secret>,
    pub(super) headers: Vec<(String, Secret)>,
}

/// `control.webhooks`, by project.
pub(super) struct Subscribers {
    keys: Arc<KeyRing>,
    by_project: HashMap<ProjectId, BTreeMap<WebhookId, Arc<Subscriber>>>,
    owners: HashMap<WebhookId, ProjectId>,
}

impl Subscribers {
    pub(super) fn new(keys: Arc<KeyRing>) -> Self {
        Self { keys, by_project: HashMap::new(), owners: HashMap::new() }
    }

    /// The webhooks that want an event.
    pub(super) fn of(&self, event: &UnifiedEvent) -> Vec<WebhookId> {
        let ours = self.by_project.get(&event.project).into_iter().flat_map(BTreeMap::values);
        ours.filter(|it| wants(&it.webhook, event)).map(|it| it.webhook.id.clone()).collect()
    }

    /// A webhook as it is now.
    pub(super) fn get(&self, webhook: &WebhookId) -> Option<Arc<Subscriber>> {
        let owner = self.owners.get(webhook)?;
        self.by_project.get(owner)?.get(webhook).cloned()
    }

    fn open(&self, webhook: Webhook) -> anyhow::Result<Subscriber> {
        let mut active = None;
        let mut secrets = Vec::new();
        for secret in &webhook.secrets {
            let opened = self.keys.open(&Field::WebhookSecret.of(&webhook.id), &secret.secret)?;
            if secret.role == SecretRole::Active {
                active = Some(opened.clone());
            }
            secrets.push(opened);
        }
        let header = |(name, sealed): (&String, _)| {
            Ok((name.clone(), self.keys.open(&Field::WebhookHeader.of(&webhook.id), sealed)?))
        };
        let headers = webhook.headers.iter().map(header).collect::<anyhow::Result<_>>()?;
        Ok(Subscriber { active, secrets, headers, webhook })
    }
}

impl Table for Subscribers {
    fn take(&mut self, key: &str, value: Option<&[u8]>) -> anyhow::Result<()> {
        let Some(value) = value else {
            if let Ok(id) = key.parse::<WebhookId>()
                && let Some(owner) = self.owners.remove(&id)
                && let Some(ours) = self.by_project.get_mut(&owner)
            {
                ours.remove(&id);
            }
            return Ok(());
        };
        match serde_json::from_slice(value).context("decoding an entity of control.webhooks")? {
            Wanted::Project(_) => {}
            Wanted::Webhook(webhook) => {
                let (id, project) = (webhook.id.clone(), webhook.project.clone());
                let subscriber = self.open(webhook)?;
                self.owners.insert(id.clone(), project.clone());
                self.by_project.entry(project).or_default().insert(id, Arc::new(subscriber));
            }
        }
        Ok(())
    }
}
