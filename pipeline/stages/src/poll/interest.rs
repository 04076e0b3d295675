//! What is wanted: (webhooks, enabled or disabled, ∪ topic wishes) × accounts (design §5).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
};

use anyhow::Context;
use tributary_core::poll::{cadence::Interest, scheduler::Facts};
use tributary_schemas::{
    entity::{Account, Project, Wanted, Webhook},
    id::{AccountId, ProjectId, ProviderId, WebhookId},
    resource::{Action, EventName, EventPattern, Mode, Resource},
};

use crate::kafka::Table;

/// `control.webhooks` in memory, by project.
#[derive(Debug, Default)]
pub struct Interests {
    projects: HashMap<ProjectId, Wishes>,
    /// Whose the entity with a key is: a tombstone does not say.
    owners: HashMap<String, ProjectId>,
    /// Projects whose wishes or settings have changed since they were last asked for.
    touched: Mutex<HashMap<ProjectId, Touched>>,
}

/// What of a project has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touched {
    /// What is wanted.
    Wishes,
    /// How often, or what of a record counts, too.
    Settings,
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
        let wishes = self.projects.entry(owner.clone()).or_default();
        let mut touched = Touched::Wishes;
        match wanted {
            Wanted::Project(project) => {
                let before = wishes.project.as_ref().map(|it| (&it.schedules, &it.id_prefix));
                if before.is_some_and(|before| before != (&project.schedules, &project.id_prefix)) {
                    touched = Touched::Settings;
                }
                wishes.project = Some(project);
            }
            Wanted::Webhook(webhook) => {
                wishes.webhooks.insert(webhook.id.clone(), webhook);
            }
        }
        self.touch(owner, touched);
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
        self.touch(owner, Touched::Wishes);
    }

    fn touch(&self, project: ProjectId, what: Touched) {
        let mut touched = self.touched.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let known = touched.entry(project).or_insert(what);
        *known = what.max(*known);
    }

    /// Which projects have changed since this was last called.
    pub fn touched(&self) -> HashMap<ProjectId, Touched> {
        std::mem::take(&mut *self.touched.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// The account's project, with its settings.
    pub fn project(&self, id: &ProjectId) -> Option<&Project> {
        self.projects.get(id)?.project.as_ref()
    }

    /// Whether the operator has suspended a project.
    pub fn is_suspended(&self, id: &ProjectId) -> bool {
        self.project(id).is_some_and(|project| project.suspended_at.is_some())
    }

    /// Whether anybody wants to hear of an account's resource by polling.
    pub fn of(&self, account: &AccountId, facts: &Facts, resource: Resource) -> Interest {
        let Some(wishes) = self.projects.get(&facts.project) else { return Interest::Unwanted };
        let by_topic =
            wishes.project.iter().flat_map(|project| &project.topics).any(|wish| {
                selects(&wish.events, resource) && allows(wish.providers.as_ref(), &facts.provider)
            });
        let by_webhook = wishes.webhooks.values().any(|webhook| wants(webhook, account, facts, resource));
        if by_topic || by_webhook { Interest::Wanted } else { Interest::Unwanted }
    }
}

/// What the scheduler keeps of an account, but for its partition.
pub(super) fn facts(account: &Account) -> Facts {
    // The host that its runs ask: that of the first URL in its set-up, else one for the whole provider.
    let named = |value: &String| url::Url::parse(value).ok()?.host_str().map(str::to_ascii_lowercase);
    let host = account.setup.values().find_map(named);
    Facts {
        project: account.project.clone(),
        provider: account.provider.clone(),
        origin_owner_id: account.origin_owner_id.as_deref().map(Into::into),
        host: host.map_or_else(|| account.provider.as_str().into(), Into::into),
        partition: 0,
    }
}

fn wants(webhook: &Webhook, account: &AccountId, facts: &Facts, resource: Resource) -> bool {
    let owner = webhook.origin_owner_id.as_deref();
    selects(&webhook.events, resource)
        && allows::<ProviderId>(webhook.providers.as_ref(), &facts.provider)
        && allows(webhook.accounts.as_ref(), account)
        && (owner.is_none() || owner == facts.origin_owner_id.as_deref())
        && allows(webhook.modes.as_ref(), &Mode::Synthetic)
}

fn selects(patterns: &[EventPattern], resource: Resource) -> bool {
    let events = Action::ALL.map(|action| EventName { resource, action });
    patterns.iter().any(|pattern| events.iter().any(|event| pattern.selects(*event)))
}

fn allows<T: PartialEq>(only: Option<&Vec<T>>, it: &T) -> bool {
    only.is_none_or(|only| only.contains(it))
}
