//! The one world: for each provider its app and its tenants; for each tenant its records, and the log of what changed.

use crate::{
    auth::Tokens,
    clock::Clock,
    fault::{Fault, Mishaps},
    provider::{Id, Kind, Provider},
    report::Asked,
    sign,
    webhooks::{Message, Subscription},
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Everything there is.
pub(crate) struct World {
    pub(crate) sides: BTreeMap<&'static str, Side>,
    /// Requests for a provider or tenant that is not there.
    pub(crate) strangers: BTreeMap<String, u64>,
}

/// A provider, with what is there of it.
pub(crate) struct Side {
    pub(crate) provider: Provider,
    pub(crate) app: App,
    pub(crate) tenants: BTreeMap<String, Tenant>,
    pub(crate) asked: Asked,
    /// What subscribers have yet to hear.
    pub(crate) outbox: Vec<Message>,
    /// What was sent, and how it went.
    pub(crate) sent: Vec<Value>,
}

/// What an integrator registered with the provider: one for all tenants.
#[derive(Default)]
pub(crate) struct App {
    pub(crate) id: u64,
    pub(crate) client_id: String,
    /// Also the key of app-wide signatures.
    pub(crate) client_secret: String,
    pub(crate) developer_key: String,
    pub(crate) url: Option<String>,
    pub(crate) subscriptions: Vec<Subscription>,
}

/// One customer of a provider.
pub(crate) struct Tenant {
    pub(crate) name: String,
    /// What providers number their customers by.
    pub(crate) number: u64,
    pub(crate) clock: Clock,
    pub(crate) settings: Map<String, Value>,
    pub(crate) credentials: BTreeMap<String, String>,
    pub(crate) tables: BTreeMap<&'static str, BTreeMap<u64, Record>>,
    pub(crate) log: Vec<Change>,
    /// Positions that were given out: page cursors, sync tokens.
    pub(crate) cursors: BTreeMap<String, Value>,
    pub(crate) tokens: Tokens,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) mishaps: Mishaps,
    /// Begin of the rate window and requests in it.
    pub(crate) window: (i64, u64),
    /// The last number given out: of records, ids, tokens.
    pub(crate) last: u64,
}

/// A record as it is, or was when it was deleted.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) number: u64,
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    pub(crate) deleted: Option<i64>,
    pub(crate) body: Value,
}

/// What happened to a record.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) at: i64,
    pub(crate) action: Action,
    pub(crate) resource: &'static str,
    pub(crate) number: u64,
    pub(crate) id: String,
    /// The body before and after, in the provider's shape.
    pub(crate) before: Value,
    pub(crate) after: Value,
    /// The top-level fields that are not the same.
    pub(crate) fields: Vec<String>,
    /// It went with what it stood in.
    pub(crate) implied: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Created,
    Updated,
    Deleted,
}

impl Action {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }

    /// One of three words.
    pub(crate) fn choose(
        self,
        created: &'static str,
        updated: &'static str,
        deleted: &'static str,
    ) -> &'static str {
        match self {
            Self::Created => created,
            Self::Updated => updated,
            Self::Deleted => deleted,
        }
    }
}

impl World {
    pub(crate) fn new(providers: Vec<Provider>) -> Self {
        let sides = providers.into_iter().map(|provider| {
            let name = provider.name;
            let app = App {
                id: 98765,
                client_id: format!("{name}-client"),
                client_secret: format!("sim-{name}-app-{}", &sign::digest(name)[..24]),
                developer_key: format!("sim-{name}-developer-key"),
                ..App::default()
            };
            let side = Side {
                asked: Asked::default(),
                provider,
                app,
                tenants: BTreeMap::new(),
                outbox: Vec::new(),
                sent: Vec::new(),
            };
            (name, side)
        });
        Self { sides: sides.collect(), strangers: BTreeMap::new() }
    }
}

impl Tenant {
    pub(crate) fn new(provider: &Provider, name: &str, settings: Map<String, Value>) -> Self {
        let number = u64::from_str_radix(&sign::digest(name)[..6], 16).unwrap_or(1) + 10_000;
        let secret =
            |of: &&str| format!("sim-{}", &sign::digest(&format!("{}/{name}/{of}", provider.name))[..32]);
        Self {
            name: name.to_owned(),
            number,
            clock: Clock::default(),
            settings,
            credentials: provider.credentials.iter().map(|of| ((*of).to_owned(), secret(of))).collect(),
            tables: provider.kinds.iter().map(|kind| (kind.resource, BTreeMap::new())).collect(),
            log: Vec::new(),
            cursors: BTreeMap::new(),
            tokens: Tokens::default(),
            subscriptions: Vec::new(),
            faults: Vec::new(),
            mishaps: Mishaps::default(),
            window: (0, 0),
            last: 0,
        }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Letters that stand for nothing: a token, a cursor.
    pub(crate) fn opaque(&mut self, of: &str) -> String {
        let n = self.next();
        sign::digest(&format!("{}/{of}/{n}", self.name))[..32].to_owned()
    }

    pub(crate) fn uuid(&mut self, of: &str) -> String {
        let n = self.next();
        uuid(&sign::digest(&format!("{}/{of}/{n}", self.name)))
    }

    /// A setting that is true.
    pub(crate) fn on(&self, setting: &str) -> bool {
        self.settings.get(setting) == Some(&Value::Bool(true))
    }

    pub(crate) fn find(&self, resource: &str, id: &str) -> Option<&Record> {
        self.tables.get(resource)?.values().rev().find(|record| record.id == id)
    }

    /// Adds a record: the kind's example with `with` over it.
    pub(crate) fn create(&mut self, kind: &Kind, with: &Map<String, Value>) -> Change {
        let number = self.next();
        let id = match with.get(kind.id_at) {
            Some(given) => text(given),
            None => self.id(kind.id, kind.word, number),
        };
        let mut body = self.example(kind, number);
        merge(&mut body, with);
        let at = self.clock.now();
        let record = Record { number, id, created: at, updated: at, deleted: None, body };
        let after = shape(kind, &record);
        self.tables.entry(kind.resource).or_default().insert(number, record.clone());
        self.note(kind, &record, Action::Created, Value::Null, after, false)
    }

    /// Changes a record by `with`, or by altering its `touch`; the time moves unless `silent`.
    pub(crate) fn update(&mut self, kind: &Kind, id: &str, with: &Map<String, Value>) -> Option<Change> {
        let turn = self.next();
        let now = self.clock.now();
        let record = self.tables.get_mut(kind.resource)?.values_mut().rev().find(|r| r.id == id)?;
        if record.deleted.is_some() {
            return None;
        }
        let before = shape(kind, record);
        if with.is_empty() {
            touch(&mut record.body, kind.touch, turn);
        } else {
            merge(&mut record.body, with);
        }
        record.updated = now.max(record.updated + 1);
        let record = record.clone();
        let after = shape(kind, &record);
        Some(self.note(kind, &record, Action::Updated, before, after, false))
    }

    /// Deletes a record and what stands in it: the record's own change comes first.
    pub(crate) fn delete(&mut self, provider: &Provider, resource: &str, id: &str) -> Vec<Change> {
        self.remove(provider, resource, id, false)
    }

    fn remove(&mut self, provider: &Provider, resource: &str, id: &str, implied: bool) -> Vec<Change> {
        let now = self.clock.now();
        let Some(kind) = provider.kind(resource) else { return Vec::new() };
        let table = self.tables.entry(kind.resource).or_default();
        let Some(record) = table.values_mut().rev().find(|r| r.id == id && r.deleted.is_none()) else {
            return Vec::new();
        };
        record.deleted = Some(now);
        record.updated = now.max(record.updated + 1);
        let record = record.clone();
        let before = shape(kind, &record);
        let mut changes = vec![self.note(kind, &record, Action::Deleted, before, Value::Null, implied)];
        for child in &provider.kinds {
            let Some(parent) = child.parent else { continue };
            let inside = self
                .tables
                .get(child.resource)
                .into_iter()
                .flat_map(BTreeMap::values)
                .filter(|r| r.deleted.is_none() && at(&r.body, parent).map(text).as_deref() == Some(id));
            for id in inside.map(|r| r.id.clone()).collect::<Vec<_>>() {
                changes.extend(self.remove(provider, child.resource, &id, true));
            }
        }
        changes
    }

    fn note(
        &mut self,
        kind: &Kind,
        record: &Record,
        action: Action,
        before: Value,
        after: Value,
        implied: bool,
    ) -> Change {
        let fields = match (&before, &after) {
            (Value::Object(before), Value::Object(after)) => after
                .iter()
                .filter(|(name, v)| before.get(*name) != Some(v))
                .map(|(name, _)| name.clone())
                .collect(),
            _ => Vec::new(),
        };
        let change = Change {
            at: record.updated,
            action,
            resource: kind.resource,
            number: record.number,
            id: record.id.clone(),
            before,
            after,
            fields,
            implied,
        };
        self.log.push(change.clone());
        change
    }

    fn id(&self, form: Id, word: &str, number: u64) -> String {
        let digest = sign::digest(&format!("{}/{word}/{number}", self.name));
        match form {
            Id::Number | Id::Digits => (1000 + number).to_string(),
            Id::Digits19 => format!("7328395{:012}", 680_000 + number),
            Id::Uuid => uuid(&digest),
            Id::Hex(length) => digest[..length].to_owned(),
            Id::Text(prefix, length) => format!("{prefix}{}", &digest[..length.saturating_sub(prefix.len())]),
        }
    }

    fn example(&self, kind: &Kind, number: u64) -> Value {
        let mut body: Value =
            serde_json::from_str(kind.example).expect("a kind's example is JSON: the tests make each");
        fill(&mut body, &|name| match name {
            "n" => Some(number.into()),
            "tenant" => Some(self.name.clone().into()),
            resource => {
                let newest = self.tables.get(resource)?.values().rev().find(|r| r.deleted.is_none());
                Some(newest.map_or(Value::Null, |r| {
                    r.id.parse::<u64>()
                        .ok()
                        .filter(|_| r.id.len() < 16)
                        .map_or_else(|| r.id.clone().into(), Value::from)
                }))
            }
        });
        body
    }
}

/// A record's body with its id and times, as the provider shows it.
pub(crate) fn shape(kind: &Kind, record: &Record) -> Value {
    let mut body = record.body.clone();
    let id = match kind.id {
        Id::Number => record.id.parse::<u64>().map_or_else(|_| record.id.clone().into(), Value::from),
        _ => record.id.clone().into(),
    };
    put(&mut body, kind.id_at, id);
    if let Some((field, time)) = kind.created {
        put(&mut body, field, time.json(record.created));
    }
    if let Some((field, time)) = kind.updated {
        put(&mut body, field, time.json(record.updated));
    }
    body
}

/// A field by a path with dots.
pub(crate) fn at<'a>(body: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(body, |value, step| value.get(step))
}

/// Sets a field by a path with dots; objects on the way are made.
pub(crate) fn put(body: &mut Value, path: &str, value: Value) {
    let mut place = body;
    for step in path.split('.') {
        if !place.is_object() {
            *place = json!({});
        }
        place = place.as_object_mut().expect("made one above").entry(step).or_insert(Value::Null);
    }
    *place = value;
}

/// A scalar as text, digits as they are.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn uuid(digest: &str) -> String {
    format!(
        "{}-{}-4{}-8{}-{}",
        &digest[..8],
        &digest[8..12],
        &digest[13..16],
        &digest[17..20],
        &digest[20..32]
    )
}

fn touch(body: &mut Value, path: &str, turn: u64) {
    let next = match at(body, path) {
        Some(Value::Number(n)) => (n.as_i64().unwrap_or(0) + 1).into(),
        Some(Value::Bool(b)) => (!b).into(),
        Some(Value::String(text)) => {
            let stem = text.split(" (").next().unwrap_or(text);
            format!("{stem} ({turn})").into()
        }
        _ => format!("changed ({turn})").into(),
    };
    put(body, path, next);
}

/// Keys with dots are paths; what they name is replaced whole.
fn merge(body: &mut Value, with: &Map<String, Value>) {
    for (path, value) in with {
        put(body, path, value.clone());
    }
}

fn fill(body: &mut Value, known: &dyn Fn(&str) -> Option<Value>) {
    match body {
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, known)),
        Value::Object(fields) => fields.values_mut().for_each(|field| fill(field, known)),
        Value::String(text) => {
            let whole =
                text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).filter(|t| !t.contains(['{', ' ']));
            if let Some(value) = whole.and_then(known) {
                *body = value;
                return;
            }
            let mut from = 0;
            while let Some(start) = text[from..].find('{').map(|i| i + from) {
                let Some(end) = text[start..].find('}').map(|i| i + start) else { break };
                if let Some(value) = known(&text[start + 1..end]) {
                    let value = self::text(&value);
                    text.replace_range(start..=end, &value);
                    from = start + value.len();
                } else {
                    from = start + 1;
                }
            }
        }
        _ => {}
    }
}
