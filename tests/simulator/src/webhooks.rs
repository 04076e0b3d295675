//! Callbacks: who must hear what, and how it is sent, signed, repeated and given up, as each provider does.

use crate::{
    call::Call,
    provider::Provider,
    reply::{Answer, Outgoing},
    world::{Action, App, Change, Side, Tenant, World},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::Notify;

/// How a provider calls back.
pub(crate) struct Webhooks {
    /// What a change is told as: the provider's event names with their bodies.
    pub(crate) events: fn(&Tenant, &Change) -> Vec<(String, Value)>,
    /// The request for some messages of one subscription (one, unless `batch` is more).
    pub(crate) pack: fn(&Packing<'_>) -> Outgoing,
    /// Whether an answer is a success.
    pub(crate) done: fn(u16) -> bool,
    /// The waits between attempts, in seconds.
    pub(crate) retries: &'static [i64],
    /// How many a request may hold.
    pub(crate) batch: usize,
    /// Whether a request may hold a message beside its first.
    pub(crate) together: fn(&Tenant, &Message, &Message) -> bool,
    /// The status a subscription has after an event was given up, if that changes it.
    pub(crate) gives_up: Option<&'static str>,
    /// How a call is made that a person's registration by hand (or in the app's console) waits for.
    pub(crate) ping: Option<fn(&Subscription) -> Outgoing>,
    /// Whether the ping's answer is good.
    pub(crate) pong: fn(&Subscription, &Answer) -> bool,
    /// Who registers.
    pub(crate) by: By,
}

/// Who registers a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// A call of the API
    Api,
    /// A person, in a tenant's settings
    Hand,
    /// A person or a call, for the app and so for all its tenants
    App,
}

pub(crate) const EACH: Webhooks = Webhooks {
    events: |_, _| Vec::new(),
    pack: |p| Outgoing::json(&p.subscription.url, &p.messages[0].body),
    done: |status| matches!(status, 200..300),
    retries: &[60, 300, 1800, 7200],
    batch: 1,
    together: |_, _, _| true,
    gives_up: None,
    ping: None,
    pong: |_, answer| answer.good(),
    by: By::Api,
};

/// A registration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subscription {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) events: Vec<String>,
    pub(crate) secret: String,
    pub(crate) created: i64,
    /// When it ends, if it does.
    pub(crate) until: Option<i64>,
    /// `active` is told; any other word is not.
    pub(crate) status: String,
    /// Whatever else the provider keeps.
    pub(crate) extra: Map<String, Value>,
    /// Messages so far.
    pub(crate) told: u64,
}

impl Subscription {
    pub(crate) fn json(&self) -> Value {
        json!({"id": self.id, "url": self.url, "events": self.events, "secret": self.secret, "status": self.status,
            "expires": self.until, "extra": self.extra})
    }
}

/// Something that a subscriber must hear.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) tenant: String,
    pub(crate) subscription: String,
    pub(crate) event: String,
    pub(crate) body: Value,
    /// From 0.
    pub(crate) attempt: usize,
    /// When, by the tenant's clock.
    pub(crate) due: i64,
    pub(crate) in_flight: bool,
}

/// What a request is made of.
pub(crate) struct Packing<'a> {
    pub(crate) app: &'a App,
    pub(crate) tenants: &'a BTreeMap<String, Tenant>,
    /// Those of the first message.
    pub(crate) tenant: &'a Tenant,
    pub(crate) subscription: &'a Subscription,
    pub(crate) messages: &'a [Message],
    /// By the machine's clock, which receivers hold signatures against.
    pub(crate) now: i64,
}

impl Packing<'_> {
    /// Whose a message is.
    pub(crate) fn of(&self, message: &Message) -> &Subscription {
        find(self.app, self.tenants.get(&message.tenant), &message.subscription).unwrap_or(self.subscription)
    }
}

impl Call<'_> {
    /// Adds a subscription of this tenant; `fill` sets what is special.
    pub(crate) fn subscribe(&mut self, id: String, url: &str, events: Vec<String>) -> &mut Subscription {
        let created = self.now();
        let secret = self.tenant.opaque("secret");
        self.tenant.subscriptions.push(Subscription {
            id,
            url: url.to_owned(),
            events,
            secret,
            created,
            status: "active".into(),
            ..Subscription::default()
        });
        self.tenant.subscriptions.last_mut().expect("pushed above")
    }

    pub(crate) fn subscription(&self, id: &str) -> Option<&Subscription> {
        self.tenant.subscriptions.iter().find(|s| s.id == id)
    }

    /// Removes it, or says that it isn't there.
    pub(crate) fn unsubscribe(&mut self, id: &str) -> Result<(), crate::reply::Reply> {
        let before = self.tenant.subscriptions.len();
        self.tenant.subscriptions.retain(|s| s.id != id);
        if self.tenant.subscriptions.len() == before { Err(self.missing()) } else { Ok(()) }
    }

    /// An https URL, or http to this machine.
    pub(crate) fn target(&self, field: &str) -> Result<String, crate::reply::Reply> {
        let given = self.field(field).unwrap_or_default();
        let url = url::Url::parse(&given).ok();
        let local = |url: &url::Url| matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        match url {
            Some(url) if url.scheme() == "https" || local(&url) => Ok(given),
            _ => Err(self.bad(&format!("{field} must be an https URL"))),
        }
    }

    /// Refused if the tenant has so many already (its setting `quota` goes before).
    pub(crate) fn quota(&self, most: u64, refusal: crate::reply::Reply) -> Result<(), crate::reply::Reply> {
        let most = self.tenant.settings.get("quota").and_then(Value::as_u64).unwrap_or(most);
        if self.tenant.subscriptions.len() as u64 >= most { Err(refusal) } else { Ok(()) }
    }
}

/// Puts what each subscriber must hear of a change into the outbox; what that is.
pub(crate) fn tell(side: &mut Side, tenant: &str, change: &Change) -> Vec<Value> {
    let Some(webhooks) = &side.provider.webhooks else { return Vec::new() };
    let Some(owner) = side.tenants.get_mut(tenant) else { return Vec::new() };
    let now = owner.clock.now();
    let mut heard = Vec::new();
    for (event, body) in (webhooks.events)(owner, change) {
        let app = side.app.subscriptions.iter();
        let wanting: Vec<(String, String)> = app
            .chain(&owner.subscriptions)
            .filter(|s| s.status == "active" && s.until.is_none_or(|until| until > now))
            .filter(|s| s.events.iter().any(|e| e == "*" || *e == event || glob(e, &event)))
            .map(|s| (s.id.clone(), s.url.clone()))
            .collect();
        for (subscription, url) in wanting {
            if owner.mishaps.lose > 0 {
                owner.mishaps.lose -= 1;
                heard.push(json!({"event": event, "subscription": subscription, "url": url, "lost": true}));
                continue;
            }
            heard.push(json!({"event": event, "subscription": subscription, "url": url}));
            let copies = if owner.mishaps.double { 2 } else { 1 };
            let id = owner.uuid("message");
            for _ in 0..copies {
                side.outbox.push(Message {
                    id: id.clone(),
                    tenant: tenant.to_owned(),
                    subscription: subscription.clone(),
                    event: event.clone(),
                    body: body.clone(),
                    attempt: 0,
                    due: now,
                    in_flight: false,
                });
            }
        }
    }
    heard
}

fn glob(pattern: &str, event: &str) -> bool {
    pattern.strip_suffix('*').is_some_and(|start| event.starts_with(start))
}

/// A message outside any change: a ping, a sync.
pub(crate) fn say(side: &mut Side, tenant: &str, subscription: &str, event: &str, body: Value) {
    let Some(owner) = side.tenants.get_mut(tenant) else { return };
    let message = Message {
        id: owner.uuid("message"),
        tenant: tenant.to_owned(),
        subscription: subscription.to_owned(),
        event: event.to_owned(),
        body,
        attempt: 0,
        due: owner.clock.now(),
        in_flight: false,
    };
    side.outbox.push(message);
}

/// A change's unified name: what a subscriber of ours must hear in the end.
pub(crate) fn unified(change: &Change) -> Value {
    json!({"event": format!("{}.{}", change.resource, change.action.word()), "remote_id": change.id})
}

/// The body after a change, or before a deletion.
pub(crate) fn content(change: &Change) -> &Value {
    if change.action == Action::Deleted { &change.before } else { &change.after }
}

/// Sends what is due, one at a time to a URL, for as long as the process lives.
pub(crate) async fn deliver(world: Arc<Mutex<World>>, wake: Arc<Notify>, client: reqwest::Client) {
    loop {
        let (batches, next) = due(&mut world.lock().expect("no handler panics"));
        for (name, messages, outgoing) in batches {
            let (world, wake, client) = (world.clone(), wake.clone(), client.clone());
            tokio::spawn(async move {
                let answer = send(&client, &outgoing).await;
                settle(&mut world.lock().expect("no handler panics"), name, &messages, &outgoing, &answer);
                wake.notify_one();
            });
        }
        let wait =
            next.map_or(Duration::from_secs(3600), |ms| Duration::from_millis(ms.max(1).unsigned_abs()));
        let _ = tokio::time::timeout(wait, wake.notified()).await;
    }
}

type Batch = (&'static str, Vec<Message>, Outgoing);

/// What can be sent now, and in how many milliseconds to look again.
fn due(world: &mut World) -> (Vec<Batch>, Option<i64>) {
    let (mut batches, mut next) = (Vec::new(), None::<i64>);
    for (name, side) in &mut world.sides {
        let Some(webhooks) = &side.provider.webhooks else { continue };
        let url = |message: &Message| {
            find(&side.app, side.tenants.get(&message.tenant), &message.subscription).map(|s| s.url.clone())
        };
        let mut busy: BTreeSet<String> =
            side.outbox.iter().filter(|m| m.in_flight).filter_map(&url).collect();
        let mut order: Vec<usize> = (0..side.outbox.len()).collect();
        if side.tenants.values().any(|t| t.mishaps.reverse) {
            order.reverse();
        }
        let mut taken: Vec<usize> = Vec::new();
        for &first in &order {
            let message = &side.outbox[first];
            let Some(tenant) = side.tenants.get(&message.tenant) else { continue };
            let wait = message.due - tenant.clock.now();
            if message.in_flight || tenant.mishaps.hold || taken.contains(&first) {
                continue;
            }
            if wait > 0 {
                next = Some(next.map_or(wait, |n| n.min(wait)));
                continue;
            }
            let Some(subscription) = find(&side.app, Some(tenant), &message.subscription) else { continue };
            if !busy.insert(subscription.url.clone()) {
                continue;
            }
            let same: Vec<usize> = order
                .iter()
                .copied()
                .skip_while(|&i| i != first)
                .filter(|&i| {
                    let other = &side.outbox[i];
                    let held = side
                        .tenants
                        .get(&other.tenant)
                        .is_none_or(|t| t.mishaps.hold || other.due > t.clock.now());
                    !other.in_flight
                        && !held
                        && (i == first || (webhooks.together)(tenant, message, other))
                        && url(other).as_ref() == Some(&subscription.url)
                })
                .take(webhooks.batch)
                .collect();
            let messages: Vec<Message> = same.iter().map(|&i| side.outbox[i].clone()).collect();
            let packing = Packing {
                app: &side.app,
                tenants: &side.tenants,
                tenant,
                subscription,
                messages: &messages,
                now: Timestamp::now().as_millisecond(),
            };
            let mut outgoing = (webhooks.pack)(&packing);
            if tenant.mishaps.forge {
                outgoing.body.push(b' ');
            }
            taken.extend(&same);
            batches.push((*name, messages, outgoing));
        }
        for i in taken {
            side.outbox[i].in_flight = true;
        }
        // What has no subscription any more is told to nobody.
        let (app, tenants) = (&side.app, &side.tenants);
        side.outbox.retain(|m| m.in_flight || find(app, tenants.get(&m.tenant), &m.subscription).is_some());
    }
    (batches, next)
}

fn find<'a>(app: &'a App, tenant: Option<&'a Tenant>, id: &str) -> Option<&'a Subscription> {
    tenant.into_iter().flat_map(|t| &t.subscriptions).chain(&app.subscriptions).find(|s| s.id == id)
}

/// Takes what was done out of the outbox, or puts it off.
fn settle(world: &mut World, name: &str, messages: &[Message], outgoing: &Outgoing, answer: &Answer) {
    let Some(side) = world.sides.get_mut(name) else { return };
    let Some(webhooks) = &side.provider.webhooks else { return };
    let done = (webhooks.done)(answer.status);
    side.sent.push(json!({"url": outgoing.url, "status": answer.status, "done": done,
        "events": messages.iter().map(|m| json!({"tenant": m.tenant, "event": m.event, "id": m.id, "attempt": m.attempt + 1})).collect::<Vec<_>>(),
        "headers": outgoing.headers.iter().map(|(n, v)| (n.clone(), json!(v))).collect::<Map<_, _>>(),
        "body": String::from_utf8_lossy(&outgoing.body)}));
    for message in messages {
        let place = side
            .outbox
            .iter()
            .position(|m| m.in_flight && m.id == message.id && m.subscription == message.subscription);
        let Some(place) = place else { continue };
        let tenant = side.tenants.get_mut(&message.tenant);
        let wait = webhooks.retries.get(message.attempt);
        if let (false, Some(wait), Some(tenant)) = (done, wait, &tenant) {
            let waiting = &mut side.outbox[place];
            waiting.attempt += 1;
            waiting.due = tenant.clock.now() + wait * 1000;
            waiting.in_flight = false;
            continue;
        }
        side.outbox.remove(place);
        let subscriptions =
            tenant.into_iter().flat_map(|t| &mut t.subscriptions).chain(&mut side.app.subscriptions);
        if let Some(subscription) = subscriptions.into_iter().find(|s| s.id == message.subscription) {
            subscription.told += 1;
            if let (false, Some(status)) = (done, webhooks.gives_up) {
                subscription.status = status.to_owned();
            }
        }
    }
}

/// Makes the call; no answer is status 0.
pub(crate) async fn send(client: &reqwest::Client, outgoing: &Outgoing) -> Answer {
    let method = reqwest::Method::from_bytes(outgoing.method.as_bytes()).expect("a method that we wrote");
    let mut request = client.request(method, &outgoing.url).body(outgoing.body.clone());
    for (name, value) in &outgoing.headers {
        request = request.header(name, value);
    }
    let Ok(response) = request.send().await else { return Answer::default() };
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let headers = headers.map(|(n, v)| (n.to_string(), v.to_str().unwrap_or_default().to_owned())).collect();
    Answer { status, headers, body: response.text().await.unwrap_or_default() }
}

/// Whether a provider calls back for a kind at all; how: for the table.
pub(crate) fn how(provider: &Provider) -> &'static str {
    match provider.webhooks.as_ref().map(|w| w.by) {
        None => "–",
        Some(By::Api) => "by API",
        Some(By::Hand) => "by hand",
        Some(By::App) => "app-wide",
    }
}
