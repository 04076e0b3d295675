//! Which webhooks want an event.

use tributary_schemas::{
    entity::{Webhook, WebhookStatus},
    event::UnifiedEvent,
    time::Timestamp,
};

use super::record::Cause;

/// Whether something is sent to a webhook, as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It is.
    Sent,
    /// It is disabled.
    Disabled,
    /// It is older than the webhook's beginning, or its filters leave it out.
    Filtered,
}

/// Decides it at the moment of sending: what waited may not be wanted any more. `told_at` is when the event was, by the clock
/// that `enabled_at` is by.
pub fn fits(webhook: &Webhook, event: &UnifiedEvent, told_at: Timestamp, cause: Cause) -> Fit {
    if webhook.status != WebhookStatus::Enabled {
        return Fit::Disabled;
    }
    let wanted = match cause {
        Cause::Asked => webhook.project == event.project,
        Cause::Wanted => selects(webhook, event),
    };
    if told_at >= webhook.enabled_at && wanted { Fit::Sent } else { Fit::Filtered }
}

/// Whether a webhook is for such an event at all, whenever it was detected.
pub fn selects(webhook: &Webhook, event: &UnifiedEvent) -> bool {
    webhook.events.iter().any(|pattern| pattern.selects(event.event)) && allows(webhook, event)
}

/// Whether everything but the event's name is as the webhook wants it.
pub(super) fn allows(webhook: &Webhook, event: &UnifiedEvent) -> bool {
    webhook.project == event.project
        && one_of(webhook.providers.as_ref(), &event.provider)
        && one_of(webhook.accounts.as_ref(), &event.account)
        && webhook
            .origin_owner_id
            .as_deref()
            .is_none_or(|owner| event.origin_owner_id.as_deref() == Some(owner))
        && one_of(webhook.modes.as_ref(), &event.mode)
}

fn one_of<T: PartialEq>(only: Option<&Vec<T>>, it: &T) -> bool {
    only.is_none_or(|only| only.contains(it))
}

#[cfg(test)]
mod tests {
    use tributary_schemas::{
        entity::{Ordering, RecordType},
        event::Subject,
        id::{EventId, RemoteId, Sequence},
        resource::Mode,
    };

    use super::*;

    fn webhook() -> Webhook {
        Webhook {
            id: "w".parse().unwrap(),
            project: "p".parse().unwrap(),
            version: 1,
            url: "https://example.com".into(),
            name: None,
            events: vec!["hris_*".parse().unwrap()],
            providers: None,
            accounts: None,
            origin_owner_id: None,
            modes: None,
            record_type: RecordType::Full,
            ordering: Ordering::Unordered,
            rate: None,
            headers: Default::default(),
            status: WebhookStatus::Enabled,
            secrets: Vec::new(),
            enabled_at: Timestamp::from_micros(10),
            created_at: Timestamp::from_micros(0),
            updated_at: Timestamp::from_micros(0),
        }
    }

    fn event() -> UnifiedEvent {
        let remote_id = RemoteId::new("1");
        UnifiedEvent {
            event_id: EventId([0; 16]),
            sequence: Sequence(1),
            previous_sequence: None,
            project: "p".parse().unwrap(),
            account: "a".parse().unwrap(),
            provider: "demo".parse().unwrap(),
            origin_owner_id: Some("customer-7".into()),
            event: "hris_employees.created".parse().unwrap(),
            event_date: Timestamp::from_micros(10),
            detected_at: Timestamp::from_micros(10),
            mode: Mode::Synthetic,
            subject: Subject::Record { record_id: "r".into(), remote_id, raw_event: None, event_data: None },
        }
    }

    #[test]
    fn what_is_sent_is_decided_by_the_webhook_as_it_is_then() {
        let at = Timestamp::from_micros;
        let disabled = || WebhookStatus::Disabled { reason: "by request".into() };
        for (rule, change, told_at, cause, expected) in [
            ("as it was", &(|_: &mut Webhook| {}) as &dyn Fn(&mut Webhook), 10, Cause::Wanted, Fit::Sent),
            (
                "of before it was enabled again",
                &|it| it.enabled_at = at(11),
                10,
                Cause::Wanted,
                Fit::Filtered,
            ),
            (
                "asked for before it was enabled",
                &|it| it.enabled_at = at(11),
                10,
                Cause::Asked,
                Fit::Filtered,
            ),
            ("disabled", &|it| it.status = disabled(), 10, Cause::Wanted, Fit::Disabled),
            (
                "not named any more",
                &|it| it.events = vec!["crm_*".parse().unwrap()],
                10,
                Cause::Wanted,
                Fit::Filtered,
            ),
            (
                "not named, but asked for",
                &|it| it.events = vec!["crm_*".parse().unwrap()],
                10,
                Cause::Asked,
                Fit::Sent,
            ),
        ] {
            let mut webhook = webhook();
            change(&mut webhook);
            assert_eq!(fits(&webhook, &event(), at(told_at), cause), expected, "{rule}");
        }
    }

    #[test]
    fn every_filter_counts() {
        let fit = |webhook: &Webhook| fits(webhook, &event(), Timestamp::from_micros(10), Cause::Wanted);
        assert_eq!(fit(&webhook()), Fit::Sent);
        let of_its_owner = Webhook { origin_owner_id: Some("customer-7".into()), ..webhook() };
        assert_eq!(fit(&of_its_owner), Fit::Sent);
        for (rule, change) in [
            (
                "another project",
                &(|it: &mut Webhook| it.project = "q".parse().unwrap()) as &dyn Fn(&mut Webhook),
            ),
            ("disabled", &|it| it.status = WebhookStatus::Disabled { reason: "by request".into() }),
            ("enabled later", &|it| it.enabled_at = Timestamp::from_micros(11)),
            ("other events", &|it| it.events = vec!["crm_*".parse().unwrap()]),
            ("other providers", &|it| it.providers = Some(vec!["tryton".parse().unwrap()])),
            ("other accounts", &|it| it.accounts = Some(vec![])),
            ("other end customers", &|it| it.origin_owner_id = Some("customer-8".into())),
            ("other modes", &|it| it.modes = Some(vec![Mode::NativeManual])),
        ] {
            let mut webhook = webhook();
            change(&mut webhook);
            assert_ne!(fit(&webhook), Fit::Sent, "{rule}");
        }
    }
}
