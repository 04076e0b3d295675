//! What is wanted at a provider: (webhooks, enabled or disabled, ∪ topic wishes) × account × event.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tributary_schemas::{
    entity::{Account, TopicWish, Webhook},
    resource::{EventName, Mode},
    time::Timestamp,
};

use super::{actual::ProviderEvent, terms::Terms};

/// What is wanted for an account, and what a plan may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// How the account stands.
    pub standing: Standing,
    /// Which subscriptions.
    pub needs: BTreeMap<ProviderEvent, Need>,
    /// How they behave at the provider.
    pub terms: Terms,
    /// The beginning of URLs that providers call.
    pub base: Arc<str>,
    /// When the account last changed: what was refused before is tried again.
    pub changed_at: Timestamp,
    /// How much may be asked of the provider now.
    pub allowance: Allowance,
}

/// How an account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It can be used.
    Usable,
    /// It can't be used for now: nothing is asked of its provider.
    Unusable,
    /// It is being deleted.
    Leaving {
        /// Since when.
        since: Timestamp,
    },
}

/// A subscription that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// What it asks for.
    pub asks: BTreeSet<ProviderEvent>,
    /// Whether polling can take over.
    pub polls: bool,
}

/// What is left of this account's share of the provider's limits (a rollout takes a fifth).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// So many calls now.
    pub calls: u32,
    /// When there are more.
    pub more_at: Timestamp,
}

/// A rule of a definition that is automatic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutomaticRule {
    /// What is asked for at the provider.
    pub event: ProviderEvent,
    /// What it is told as.
    pub emits: EventName,
    /// Whether its resource can be polled.
    pub polls: bool,
}

/// What there is one subscription of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// An account.
    Account,
    /// An event of an account.
    Event,
}

/// The subscriptions that somebody wants of an account. Whether a webhook is enabled makes no difference: its subscriptions are
/// kept while it is disabled.
pub fn needs(
    account: &Account,
    webhooks: &[Webhook],
    topics: &[TopicWish],
    rules: &[AutomaticRule],
    per: Per,
) -> BTreeMap<ProviderEvent, Need> {
    let mut needs = BTreeMap::<ProviderEvent, Need>::new();
    for rule in rules {
        let wanted = webhooks.iter().any(|it| webhook_wants(it, account, rule.emits))
            || topics.iter().any(|it| topic_wants(it, account, rule.emits));
        if !wanted {
            continue;
        }
        let of = match per {
            Per::Account => ProviderEvent("*".into()),
            Per::Event => rule.event.clone(),
        };
        let need = needs.entry(of).or_insert_with(|| Need { asks: BTreeSet::new(), polls: true });
        need.asks.insert(rule.event.clone());
        need.polls &= rule.polls;
    }
    needs
}

fn webhook_wants(webhook: &Webhook, account: &Account, event: EventName) -> bool {
    webhook.project == account.project
        && webhook.events.iter().any(|it| it.selects(event))
        && webhook.providers.as_ref().is_none_or(|only| only.contains(&account.provider))
        && webhook.accounts.as_ref().is_none_or(|only| only.contains(&account.id))
        && webhook.origin_owner_id.as_ref().is_none_or(|only| account.origin_owner_id.as_ref() == Some(only))
        && webhook.modes.as_ref().is_none_or(|only| only.contains(&Mode::NativeAutomatic))
}

fn topic_wants(wish: &TopicWish, account: &Account, event: EventName) -> bool {
    wish.events.iter().any(|it| it.selects(event))
        && wish.providers.as_ref().is_none_or(|only| only.contains(&account.provider))
}

#[cfg(test)]
mod tests {
    use tributary_schemas::{
        entity::{AccountStatus, NativeWebhook, Ordering, RecordType, Sealed, WebhookStatus},
        resource::EventPattern,
    };

    use super::*;

    fn account() -> Account {
        let sealed = || Sealed(String::new());
        Account {
            id: "a".parse().unwrap(),
            project: "p".parse().unwrap(),
            version: 1,
            provider: "demo".parse().unwrap(),
            status: AccountStatus::Active,
            status_reasons: Vec::new(),
            label: None,
            origin_owner_id: None,
            origin_owner_name: None,
            origin_username: None,
            setup: BTreeMap::new(),
            credentials: sealed(),
            hash_key: sealed(),
            told: Default::default(),
            native: NativeWebhook { token_hash: String::new(), token: sealed(), secrets: Vec::new() },
            schedules: BTreeMap::new(),
            created_at: Timestamp::from_micros(0),
            updated_at: Timestamp::from_micros(0),
        }
    }

    fn webhook(pattern: &str, status: WebhookStatus) -> Webhook {
        Webhook {
            id: "w".parse().unwrap(),
            project: "p".parse().unwrap(),
            version: 1,
            url: "https://example.com".into(),
            name: None,
            events: vec![pattern.parse().unwrap()],
            providers: None,
            accounts: None,
            origin_owner_id: None,
            modes: None,
            record_type: RecordType::Full,
            ordering: Ordering::Unordered,
            rate: None,
            headers: BTreeMap::new(),
            status,
            secrets: Vec::new(),
            enabled_at: Timestamp::from_micros(0),
            created_at: Timestamp::from_micros(0),
            updated_at: Timestamp::from_micros(0),
        }
    }

    fn rules() -> Vec<AutomaticRule> {
        [("joined", "hris_employees.created", true), ("left", "hris_employees.deleted", false)]
            .map(|(event, emits, polls)| AutomaticRule {
                event: ProviderEvent(event.into()),
                emits: emits.parse().unwrap(),
                polls,
            })
            .into()
    }

    fn asked(webhooks: &[Webhook], topics: &[TopicWish], per: Per) -> Vec<(String, usize, bool)> {
        let needs = needs(&account(), webhooks, topics, &rules(), per);
        needs.into_iter().map(|(of, need)| (of.to_string(), need.asks.len(), need.polls)).collect()
    }

    #[test]
    fn what_anybody_wants_is_wanted_once_and_a_disabled_webhook_removes_nothing() {
        let disabled = || WebhookStatus::Disabled { reason: "by request".into() };
        let both = vec![("joined".to_owned(), 1, true), ("left".to_owned(), 1, false)];
        for (rule, webhooks, topics, expected) in [
            ("nobody", vec![], vec![], vec![]),
            ("a webhook", vec![webhook("hris_*", WebhookStatus::Enabled)], vec![], both.clone()),
            ("a disabled one", vec![webhook("hris_*", disabled())], vec![], both.clone()),
            (
                "two of them, once",
                vec![webhook("hris_*", disabled()), webhook("*", WebhookStatus::Enabled)],
                vec![],
                both.clone(),
            ),
            (
                "a part",
                vec![webhook("hris_employees.created", WebhookStatus::Enabled)],
                vec![],
                vec![both[0].clone()],
            ),
            ("another resource", vec![webhook("crm_*", WebhookStatus::Enabled)], vec![], vec![]),
            (
                "a topic wish",
                vec![],
                vec![TopicWish {
                    events: vec!["hris_employees.deleted".parse::<EventPattern>().unwrap()],
                    providers: None,
                }],
                vec![both[1].clone()],
            ),
            (
                "polled only",
                vec![Webhook {
                    modes: Some(vec![Mode::Synthetic]),
                    ..webhook("hris_*", WebhookStatus::Enabled)
                }],
                vec![],
                vec![],
            ),
        ] {
            assert_eq!(asked(&webhooks, &topics, Per::Event), expected, "{rule}");
        }
        let all = [webhook("hris_*", WebhookStatus::Enabled)];
        assert_eq!(asked(&all, &[], Per::Account), [("*".to_owned(), 2, false)]);
    }
}
