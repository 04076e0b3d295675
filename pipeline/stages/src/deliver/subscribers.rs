//! The webhooks, with their secrets opened, as `control.webhooks` tells of them; and which projects are suspended.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use anyhow::Context;
use tokio::sync::mpsc;
use tributary_core::deliver::{partition::Seen, process::Input};
use tributary_schemas::{
    entity::{SecretRole, Wanted, Webhook},
    id::{ProjectId, WebhookId},
    time::Timestamp,
};

use super::metrics;
use crate::{
    kafka::Table,
    secret::{Field, KeyRing, Secret},
};

/// What deliveries to a webhook are made with.
#[derive(Debug)]
pub(super) struct Subscriber {
    /// Signs the compat header.
    pub(super) active: Option<Secret>,
    /// All live ones: they sign `webhook-signature`.
    pub(super) secrets: Vec<Secret>,
    pub(super) headers: Vec<(String, Secret)>,
}

/// A record of `control.webhooks`.
pub(super) struct Told {
    seen: Seen,
    key: String,
    wanted: Option<Wanted>,
}

/// Gives the records of `control.webhooks` on, in their order.
pub(super) struct Teller(pub(super) mpsc::UnboundedSender<Told>);

impl Table for Teller {
    fn take(&mut self, _: &str, _: Option<&[u8]>) -> anyhow::Result<()> {
        unreachable!("a view gives where its records stand")
    }

    fn take_at(&mut self, seen: Seen, key: &str, value: Option<&[u8]>) -> anyhow::Result<()> {
        let wanted = value.map(serde_json::from_slice).transpose();
        let (wanted, failed) = match wanted.context("decoding an entity of control.webhooks") {
            Ok(wanted) => (wanted, Ok(())),
            // It is passed over, and was read all the same.
            Err(error) => (None, Err(error)),
        };
        let key = if failed.is_ok() { key.to_owned() } else { String::new() };
        // It fails only when the stage has ended.
        let _ = self.0.send(Told { seen, key, wanted });
        failed
    }
}

/// A webhook as it was told last.
struct Known {
    webhook: Arc<Webhook>,
    subscriber: Option<Arc<Subscriber>>,
    seen: Seen,
    /// The record by which it was enabled as it is.
    since: (Timestamp, Seen),
}

/// All webhooks.
pub(super) struct Subscribers {
    keys: Arc<KeyRing>,
    all: HashMap<WebhookId, Known>,
    suspended: HashSet<ProjectId>,
    /// Whose a webhook is, also of those that only rows and deliveries name.
    projects: HashMap<WebhookId, ProjectId>,
}

impl Subscribers {
    pub(super) fn new(keys: Arc<KeyRing>) -> Self {
        Self { keys, all: HashMap::new(), suspended: HashSet::new(), projects: HashMap::new() }
    }

    /// What a webhook's deliveries are made with; `None` while its secrets can't be opened.
    pub(super) fn get(&self, webhook: &WebhookId) -> Option<Arc<Subscriber>> {
        self.all.get(webhook)?.subscriber.clone()
    }

    /// Whose a webhook is.
    pub(super) fn project(&self, webhook: &WebhookId) -> Option<&ProjectId> {
        self.projects.get(webhook)
    }

    /// A row or a delivery says whose a webhook is.
    pub(super) fn belongs(&mut self, webhook: &WebhookId, project: &ProjectId) {
        if !self.projects.contains_key(webhook) {
            self.projects.insert(webhook.clone(), project.clone());
        }
    }

    /// Takes in a record; gives what it is to the machine.
    pub(super) fn take(&mut self, told: Told) -> Vec<Input> {
        let Told { seen, key, wanted } = told;
        match wanted {
            None => {
                let gone = key.parse::<WebhookId>().ok().filter(|id| self.all.remove(id).is_some());
                match gone {
                    Some(webhook) => vec![Input::Gone { webhook, seen }],
                    None => vec![Input::View(seen)],
                }
            }
            Some(Wanted::Project(project)) => {
                let suspended = project.suspended_at.is_some();
                let changed = match suspended {
                    true => self.suspended.insert(project.id.clone()),
                    false => self.suspended.remove(&project.id),
                };
                let mut inputs = vec![Input::View(seen)];
                if changed {
                    let ours = self.all.values().filter(|it| it.webhook.project == project.id);
                    inputs.extend(ours.map(|it| self.changed(it)));
                }
                inputs
            }
            Some(Wanted::Webhook(webhook)) => {
                let id = webhook.id.clone();
                let subscriber = match self.open(&webhook) {
                    Ok(subscriber) => Some(Arc::new(subscriber)),
                    Err(error) => {
                        let error = format!("{error:#}");
                        tracing::error!(
                            webhook = id.as_str(),
                            error,
                            "its secrets can't be opened: it waits"
                        );
                        None
                    }
                };
                let before = self.all.get(&id).map(|it| it.since);
                let since = before.filter(|(at, _)| *at == webhook.enabled_at);
                let since = since.unwrap_or((webhook.enabled_at, seen));
                self.projects.insert(id.clone(), webhook.project.clone());
                let known = Known { webhook: Arc::new(webhook), subscriber, seen, since };
                let input = self.changed(&known);
                self.all.insert(id, known);
                let sealed = self.all.values().filter(|it| it.subscriber.is_none()).count();
                ::metrics::gauge!(metrics::SEALED).set(sealed as f64);
                vec![input]
            }
        }
    }

    fn changed(&self, known: &Known) -> Input {
        let suspended = self.suspended.contains(&known.webhook.project);
        Input::Changed {
            webhook: known.webhook.clone(),
            seen: known.seen,
            since: known.since.1,
            opened: known.subscriber.is_some() && !suspended,
        }
    }

    fn open(&self, webhook: &Webhook) -> anyhow::Result<Subscriber> {
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
        Ok(Subscriber { active, secrets, headers })
    }
}
