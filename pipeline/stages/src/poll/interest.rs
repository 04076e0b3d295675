//! What is wanted: (webhooks, enabled or disabled, ∪ topic wishes) × accounts (design §5).

use std::collections::{BTreeMap, HashMap};

use anyhow::Context;
use tributary_core::poll::cadence::Interest;
use tributary_schemas::{
    entity::{Account, Project, Wanted, Webhook},
    id::{ProjectId, ProviderId, WebhookId},
    resource::{Action, EventName, EventPattern, Mode, Resource},
};

use crate::kafka::Table;

/// `control.webhooks` in memory, by project.
#[derive(Debug, Default)]
pub struct Interests {
    projects: HashMap<ProjectId, Wishes>,
    /// Whose the entity with a key is: a tombstone does not say.
    owners: HashMap<String, ProjectId>,
}

#[derive(Debug, Default)]
struct Wishes {
    project: Option<Project>,
    webhooks: BTreeMap<WebhookId, Webhook>,
}

impl Table for Interests {
    fn take(&mut self, key: &str, value: Option<&[u8]>) -> anyhow::Result<()> {
        let Some(value) = value else {
            self.remove(key);
            return Ok(());
        };
        let wanted = serde_json::from_slice(value).context("decoding an entity of control.webhooks")?;
        let owner = match &wanted {
            Wanted::Project(project) => project.id.clone(),
            Wanted::Webhook(webhook) => webhook.project.clone(),
        };
        self.owners.insert(key.to_owned(), owner.clone());
        let wishes = self.projects.entry(owner).or_default();
        match wanted {
            Wanted::Project(project) => wishes.project = Some(project),
            Wanted::Webhook(webhook) => {
                wishes.webhooks.insert(webhook.id.clone(), webhook);
            }
        }
        Ok(())
    }
}

impl Interests {
    fn remove(&mut self, key: &str) {
        let Some(owner) = self.owners.remove(key) else { return };
        let Some(wishes) = self.projects.get_mut(&owner) else { return };
        if owner.as_str() == key {
            wishes.project = None;
        }
        wishes.webhooks.retain(|id, _| id.as_str() != key);
    }

    /// The account's project, with its settings.
    pub fn project(&self, id: &ProjectId) -> Option<&Project> {
        self.projects.get(id)?.project.as_ref()
    }

    /// Whether anybody wants to hear of the account's resource by polling.
    pub fn of(&self, account: &Account, resource: Resource) -> Interest {
        let Some(wishes) = self.projects.get(&account.project) else { return Interest::Unwanted };
        let by_topic = wishes.project.iter().flat_map(|project| &project.topics).any(|wish| {
            selects(&wish.events, resource) && allows(wish.providers.as_ref(), &account.provider)
        });
        let by_webhook = wishes.webhooks.values().any(|webhook| wants(webhook, account, resource));
        if by_topic || by_webhook { Interest::Wanted } else { Interest::Unwanted }
    }
}

fn wants(webhook: &Webhook, account: &Account, resource: Resource) -> bool {
    selects(&webhook.events, resource)
        && allows::<ProviderId>(webhook.providers.as_ref(), &account.provider)
        && allows(webhook.accounts.as_ref(), &account.id)
        && allows(webhook.modes.as_ref(), &Mode::Synthetic)
}

fn selects(patterns: &[EventPattern], resource: Resource) -> bool {
    let events = Action::ALL.map(|action| EventName { resource, action });
    patterns.iter().any(|pattern| events.iter().any(|event| pattern.selects(*event)))
}

fn allows<T: PartialEq>(only: Option<&Vec<T>>, it: &T) -> bool {
    only.is_none_or(|only| only.contains(it))
}
