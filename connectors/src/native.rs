//! What a provider's webhook tells: which events, of which records, and what of it may go on.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tributary_schemas::{
    body::raw_event,
    id::RemoteId,
    observation::DeliveryId,
    resource::{Action, Mode, Resource},
    time::Timestamp,
};

use crate::{
    expression::{Expression, Failed},
    legacy::{DeliveryIdForm, EventForm, Native as NativeForm},
    mapping::Mapping,
    signature::{Forged, SignatureForm},
};

/// A request as it came in. Header names are in lower case.
#[derive(Debug, Clone, Copy)]
pub struct Inbound<'a> {
    /// The method.
    pub method: &'a str,
    /// The URL as the provider called it.
    pub url: &'a str,
    /// The headers.
    pub headers: &'a [(String, String)],
    /// The body, byte for byte.
    pub body: &'a [u8],
}

impl Inbound<'_> {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

/// The native side of a connector, compiled.
#[derive(Debug)]
pub struct Native {
    form: NativeForm,
    delivery_id: Option<Expression>,
    ping: Option<Expression>,
    events: Vec<Event>,
}

#[derive(Debug)]
struct Event {
    form: EventForm,
    when: Expression,
    each: Expression,
    element: Option<Expression>,
    id: Expression,
    at: Option<Expression>,
    model: Option<Mapping>,
}

/// One event that a request means.
#[derive(Debug, Clone, PartialEq)]
pub struct NativeEvent {
    /// The kind of record.
    pub resource: Resource,
    /// What happened to it.
    pub action: Action,
    /// The provider's name for it.
    pub remote_id: RemoteId,
    /// The name of the key field in `record_id`.
    pub key_name: String,
    /// When it happened, by the provider's clock.
    pub occurred_at: Option<Timestamp>,
    /// The request as `raw_event`: JSON text.
    pub raw_event: String,
    /// What of it maps to the unified model; absent if nothing does.
    pub event_data: Option<Map<String, Value>>,
}

/// A request that claims what it does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmappable {
    /// The body is no JSON.
    #[error("the body is not JSON")]
    NotJson,
    /// A mapped event without its record's id.
    #[error("{resource}.{action}: the record has no id")]
    NoId {
        /// The kind of record.
        resource: Resource,
        /// What happened.
        action: Action,
    },
    /// An expression failed on it.
    #[error(transparent)]
    Failed(#[from] Failed),
}

impl Native {
    pub(crate) fn compile(form: &NativeForm, prelude: &str) -> Result<Self, String> {
        let expression = |text: &String| Expression::compile(text, prelude);
        let mut events = Vec::new();
        for event_form in &form.events {
            let model = match &event_form.model {
                Some(name) => {
                    let fields =
                        form.models.get(name).ok_or_else(|| format!("model `{name}` is not defined"))?;
                    Some(Mapping::compile(fields, prelude)?)
                }
                None => None,
            };
            events.push(Event {
                when: expression(&event_form.when)?,
                each: expression(&event_form.each)?,
                element: event_form.element.as_ref().map(expression).transpose()?,
                id: expression(&event_form.id)?,
                at: event_form.at.as_ref().map(expression).transpose()?,
                model,
                form: event_form.clone(),
            });
        }
        let delivery_id = match &form.delivery_id {
            DeliveryIdForm::Body(text) => Some(expression(text)?),
            DeliveryIdForm::Header(_) | DeliveryIdForm::Digest | DeliveryIdForm::None => None,
        };
        let ping = form.ping.as_ref().map(expression).transpose()?;
        Ok(Self { form: form.clone(), delivery_id, ping, events })
    }

    /// Who registers the webhooks.
    pub fn mode(&self) -> Mode {
        self.form.mode
    }

    /// The status that means success to the provider.
    pub fn success(&self) -> u16 {
        self.form.success
    }

    /// The events that the webhooks can tell.
    pub fn tells(&self) -> impl Iterator<Item = (Resource, Action)> {
        self.events.iter().map(|event| (event.form.resource, event.form.action))
    }

    /// The steps for the person who registers them.
    pub fn instructions(&self, url: &str, secret: &str) -> Vec<String> {
        let filled = |step: &String| step.replace("{url}", url).replace("{secret}", secret);
        self.form.instructions.iter().map(filled).collect()
    }

    /// Verifies a request against any of the account's secrets.
    ///
    /// # Errors
    /// [`Forged`] says why it is not believed.
    pub fn verify(&self, request: &Inbound<'_>, secrets: &[&[u8]], now: Timestamp) -> Result<(), Forged> {
        self.signature().verify(request, secrets, now)
    }

    fn signature(&self) -> &SignatureForm {
        &self.form.signature
    }

    /// Whether the request is only a test of the URL.
    pub fn is_ping(&self, request: &Inbound<'_>) -> bool {
        let Some(ping) = &self.ping else { return false };
        let Ok(body) = serde_json::from_slice(request.body) else { return false };
        matches!(ping.first(&body), Ok(Value::Bool(true)))
    }

    /// What tells this delivery from others (design §6).
    pub fn delivery_id(&self, request: &Inbound<'_>) -> DeliveryId {
        let declared = match &self.form.delivery_id {
            DeliveryIdForm::Header(name) => request.header(name).map(str::to_owned),
            DeliveryIdForm::Body(_) => {
                let body = serde_json::from_slice(request.body).unwrap_or(Value::Null);
                let found = self.delivery_id.as_ref().and_then(|expression| expression.first(&body).ok());
                found.as_ref().and_then(id_text)
            }
            DeliveryIdForm::Digest => {
                let digest = Sha256::digest(request.body);
                let mut first = [0; 16];
                first.copy_from_slice(&digest[..16]);
                return DeliveryId::Digest(first);
            }
            DeliveryIdForm::None => None,
        };
        declared.map_or(DeliveryId::None, DeliveryId::Declared)
    }

    /// The headers that go on: the chosen ones only.
    pub fn kept_headers(&self, request: &Inbound<'_>) -> Vec<(String, String)> {
        request.headers.iter().filter(|(name, _)| self.form.keep_headers.contains(name)).cloned().collect()
    }

    /// What a verified request means. Nothing, if it maps to nothing.
    ///
    /// # Errors
    /// [`Unmappable`] when it claims a mapped event but does not hold it.
    pub fn events(&self, headers: &[(String, String)], raw: &[u8]) -> Result<Vec<NativeEvent>, Unmappable> {
        let body: Value = serde_json::from_slice(raw).map_err(|_| Unmappable::NotJson)?;
        let mut events = Vec::new();
        for event in &self.events {
            if event.when.first(&body)? != Value::Bool(true) {
                continue;
            }
            for item in event.each.each(&body)? {
                events.push(event.of(headers, raw, &body, &item)?);
            }
        }
        Ok(events)
    }
}

impl Event {
    fn of(
        &self,
        headers: &[(String, String)],
        raw: &[u8],
        body: &Value,
        item: &Value,
    ) -> Result<NativeEvent, Unmappable> {
        let EventForm { resource, action, key, .. } = &self.form;
        let no_id = || Unmappable::NoId { resource: *resource, action: *action };
        let remote_id = id_text(&self.id.first(item)?).ok_or_else(no_id)?;
        let occurred_at = match &self.at {
            Some(at) => at.first(body)?.as_str().and_then(|text| text.parse().ok()),
            None => None,
        };
        let raw_event = match &self.element {
            Some(element) => {
                let own = element.first(&json!({ "body": body, "item": item }))?;
                raw_event(headers, own.to_string().as_bytes())
            }
            None => raw_event(headers, raw),
        };
        let mapped = self.model.as_ref().map(|model| model.map(item)).transpose()?;
        Ok(NativeEvent {
            resource: *resource,
            action: *action,
            remote_id: RemoteId::new(remote_id),
            key_name: key.clone(),
            occurred_at,
            raw_event,
            event_data: mapped.filter(|fields| !fields.is_empty()),
        })
    }
}

/// An id as text: a text or a number that is not empty.
pub(crate) fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
