//! How a change is told: the facts of an event that are its message's, not its record's.

use std::borrow::Cow;

use tributary_schemas::{
    body::without_body,
    event::{Subject, UnifiedEvent},
    id::{EventId, RecordKey, Sequence},
    observation::{DeltaPage, Notification, Run, Source},
    record_id,
    resource::{Action, EventName, Mode, Resource},
    state::Known,
    time::Timestamp,
};

use super::{
    input::{NativeChange, NativeInput},
    limits::MAX_EVENT_BYTES,
};

/// Whether the bodies of a request go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bodies {
    /// They do.
    Kept,
    /// Together they would be more than [`MAX_EVENT_BYTES`]: each event is told all the same.
    Omitted,
}

impl Bodies {
    /// Of a request whose events hold so many bytes together.
    pub(super) fn of(bytes: usize) -> Self {
        if bytes > MAX_EVENT_BYTES { Self::Omitted } else { Self::Kept }
    }
}

/// What each of so many events holds of one request.
fn part_of(raw_event: Option<&str>, events: usize) -> Option<Cow<'_, str>> {
    match (raw_event, Bodies::of(raw_event.map_or(0, str::len).saturating_mul(events))) {
        (Some(raw), Bodies::Kept) => Some(raw.into()),
        (Some(raw), Bodies::Omitted) => without_body(raw).map(Cow::from),
        (None, _) => None,
    }
}

/// How a change is told.
#[derive(Debug, Clone)]
pub struct Telling<'a> {
    source: &'a Source,
    resource: Resource,
    id_prefix: &'a str,
    key_name: &'a str,
    mode: Mode,
    /// When it happened by the provider's clock, or when we heard of it; `None`: it was detected now.
    happened_at: Option<Timestamp>,
    raw_event: Option<Cow<'a, str>>,
    event_data: Option<&'a str>,
}

impl<'a> Telling<'a> {
    /// A change that a run detected.
    pub fn synthetic(run: &'a Run) -> Self {
        Self {
            source: &run.source,
            resource: run.resource,
            id_prefix: &run.id_prefix,
            key_name: &run.key_name,
            mode: Mode::Synthetic,
            happened_at: None,
            raw_event: None,
            event_data: None,
        }
    }

    /// A change that a delta found: told as native where a provider's notification made the feed be read.
    pub(super) fn delta(page: &'a DeltaPage) -> Self {
        let synthetic = Self::synthetic(&page.run);
        match &page.notification {
            None => synthetic,
            Some(Notification { received_at, mode, raw_event }) => Self {
                mode: *mode,
                happened_at: Some(*received_at),
                raw_event: part_of(raw_event.as_deref(), page.changed.len() + page.deleted.len()),
                ..synthetic
            },
        }
    }

    /// A change that a provider told.
    pub fn native(input: &'a NativeInput, change: &'a NativeChange, bodies: Bodies) -> Self {
        let raw_event = change.raw_event.as_deref();
        Self {
            source: &input.source,
            resource: change.resource,
            id_prefix: &input.id_prefix,
            key_name: &change.key_name,
            mode: input.mode,
            happened_at: Some(change.occurred_at.unwrap_or(input.received_at)),
            raw_event: match bodies {
                Bodies::Kept => raw_event.map(Cow::from),
                Bodies::Omitted => raw_event.and_then(without_body).map(Cow::from),
            },
            event_data: change.event_data.as_deref(),
        }
    }

    /// The event that announces a change; `before` still has the sequence of the record's event before.
    pub(super) fn event(
        self,
        action: Action,
        key: RecordKey,
        before: &Known,
        sequence: Sequence,
        now: Timestamp,
    ) -> UnifiedEvent {
        let Source { project, account, provider, origin_owner_id } = self.source.clone();
        let name = self.resource.name();
        let event_id = EventId::digest(&[
            account.as_str().as_bytes(),
            name.as_bytes(),
            &key.0,
            &sequence.0.to_be_bytes(),
        ]);
        UnifiedEvent {
            event_id,
            sequence,
            previous_sequence: before.sequence,
            project,
            account,
            provider,
            origin_owner_id,
            event: EventName { resource: self.resource, action },
            event_date: self.happened_at.unwrap_or(now),
            detected_at: now,
            mode: self.mode,
            subject: Subject::Record {
                record_id: record_id::encode(self.id_prefix, self.key_name, &before.remote_id),
                remote_id: before.remote_id.clone(),
                raw_event: self.raw_event.map(Cow::into_owned),
                event_data: self.event_data.map(Into::into),
            },
        }
    }

    /// How many bytes of the provider's request an event holds.
    pub(super) fn payload(event: &UnifiedEvent) -> usize {
        match &event.subject {
            Subject::Record { raw_event, event_data, .. } => {
                raw_event.as_ref().map_or(0, String::len) + event_data.as_ref().map_or(0, String::len)
            }
            Subject::Account(_) => 0,
        }
    }
}
