//! `/_sim/…`: the surface by which a test makes a world and looks at it.

use crate::{
    auth,
    call::Request,
    fault::{Fault, Mishaps},
    reply::Reply,
    report,
    server::Shared,
    table,
    webhooks::{self, By, Subscription},
    world::{Change, Side, Tenant, World, shape},
};
use serde_json::{Map, Value, json};

/// What a refused control call is: a test's own mistake.
fn wrong(words: &str) -> Reply {
    Reply::json(400, &json!({"simulator": words}))
}

fn missing(words: &str) -> Reply {
    Reply::json(404, &json!({"simulator": words}))
}

/// Answers a control call; a registration by hand may wait for a ping.
pub(crate) async fn handle(shared: &Shared, path: &str, request: &Request) -> Reply {
    let segments: Vec<String> = path.split('/').skip(2).map(crate::call::decoded).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let body = match serde_json::from_slice::<Value>(&request.body) {
        Ok(Value::Object(fields)) => fields,
        Err(_) if request.body.is_empty() => Map::new(),
        _ => return wrong("the body must be a JSON object"),
    };
    if let ("POST", [provider, tenant, "subscriptions"]) = (request.method.as_str(), segments.as_slice()) {
        return by_hand(shared, provider, tenant, &body).await;
    }
    let world = &mut shared.world.lock().expect("no handler panics");
    let result = match (request.method.as_str(), segments.as_slice()) {
        ("GET", ["providers"]) => Ok(table::json(world)),
        ("GET", ["table"]) => return Reply::text(200, &table::markdown(world)),
        ("GET", ["report"]) => Ok(report::report(world)),
        ("POST", ["reset"]) => {
            **world = World::new(crate::providers::all());
            Ok(json!({}))
        }
        ("GET" | "POST" | "DELETE", ["fault"]) => faults(world, request, body),
        ("GET", [provider, "sent"]) => side(world, provider).map(|side| json!(side.sent)),
        ("GET" | "PATCH", [provider, "app"]) => {
            side(world, provider).and_then(|side| app(side, request, &body))
        }
        (_, [provider, tenant, rest @ ..]) => {
            side(world, provider).and_then(|side| of_tenant(side, tenant, rest, request, body))
        }
        _ => Err(missing("no such control call: see simulator --help")),
    };
    result.map_or_else(|refusal| refusal, |body| Reply::json(200, &body))
}

fn side<'a>(world: &'a mut World, provider: &str) -> Result<&'a mut Side, Reply> {
    world.sides.get_mut(provider).ok_or_else(|| missing("no such provider: GET /_sim/providers lists them"))
}

fn tenant<'a>(side: &'a mut Side, name: &str) -> Result<&'a mut Tenant, Reply> {
    side.tenants
        .get_mut(name)
        .ok_or_else(|| missing("no such tenant: PUT /_sim/<provider>/<tenant> makes one"))
}

fn of_tenant(
    side: &mut Side,
    name: &str,
    rest: &[&str],
    request: &Request,
    body: Map<String, Value>,
) -> Result<Value, Reply> {
    match (request.method.as_str(), rest) {
        ("PUT", []) => make(side, name, request, body),
        ("GET", []) => state(side, name, request),
        ("DELETE", []) => side.tenants.remove(name).map(|_| json!({})).ok_or_else(|| missing("no such tenant")),
        ("PATCH", []) => {
            let owner = tenant(side, name)?;
            for (field, value) in body {
                match (field.as_str(), value) {
                    ("settings", Value::Object(settings)) => owner.settings.extend(settings),
                    ("credentials", Value::Object(given)) => {
                        owner.credentials.extend(given.into_iter().map(|(n, v)| (n, crate::world::text(&v))));
                    }
                    _ => return Err(wrong("settings and credentials are what can be set")),
                }
            }
            state(side, name, request)
        }
        ("POST", ["advance"]) => {
            let seconds = body.get("seconds").and_then(Value::as_i64).ok_or_else(|| wrong("seconds is missing"))?;
            let owner = tenant(side, name)?;
            owner.clock.advance(seconds * 1000);
            Ok(json!({"now": crate::clock::Time::Milliseconds.text(owner.clock.now())}))
        }
        ("POST", ["revoke"]) => {
            let owner = tenant(side, name)?;
            owner.tokens = auth::Tokens::default();
            Ok(json!({}))
        }
        ("POST", ["webhooks"]) => {
            let owner = tenant(side, name)?;
            owner.mishaps = serde_json::from_value::<Mishaps>(Value::Object(body)).map_err(|e| wrong(&e.to_string()))?;
            Ok(json!(owner.mishaps))
        }
        ("GET", ["subscriptions"]) => {
            Ok(tenant(side, name)?.subscriptions.iter().map(Subscription::json).collect())
        }
        ("PATCH", ["subscriptions", id]) => {
            let owner = tenant(side, name)?;
            let mut all = owner.subscriptions.iter_mut();
            let found = all.find(|s| s.id == *id).ok_or_else(|| missing("no such subscription"))?;
            if let Some(status) = body.get("status").and_then(Value::as_str) {
                found.status = status.to_owned();
            }
            Ok(found.json())
        }
        ("DELETE", ["subscriptions", id]) => {
            tenant(side, name)?.subscriptions.retain(|s| s.id != *id);
            Ok(json!({}))
        }
        ("GET", ["outbox"]) => Ok(side
            .outbox
            .iter()
            .filter(|m| m.tenant == name)
            .map(|m| json!({"id": m.id, "event": m.event, "subscription": m.subscription, "attempt": m.attempt, "due": m.due}))
            .collect()),
        (_, ["records", resource, rest @ ..]) => records(side, name, resource, rest, request, &body),
        _ => Err(missing("no such control call: see simulator --help")),
    }
}

/// Makes a tenant, or makes it anew.
fn make(side: &mut Side, name: &str, request: &Request, body: Map<String, Value>) -> Result<Value, Reply> {
    let settings = body.get("settings").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut made = Tenant::new(&side.provider, name, settings);
    if let Some(given) = body.get("credentials").and_then(Value::as_object) {
        made.credentials.extend(given.iter().map(|(n, v)| (n.clone(), crate::world::text(v))));
    }
    let refresh = auth::give_refresh(&mut made);
    made.credentials.insert("refresh_token".into(), refresh);
    side.tenants.insert(name.to_owned(), made);
    state(side, name, request)
}

fn state(side: &mut Side, name: &str, request: &Request) -> Result<Value, Reply> {
    let app = json!({"id": side.app.id, "client_id": side.app.client_id, "client_secret": side.app.client_secret,
        "developer_key": side.app.developer_key});
    let host = request.header("host").unwrap_or("127.0.0.1").to_owned();
    let provider = side.provider.name;
    let owner = tenant(side, name)?;
    let count = |table: &std::collections::BTreeMap<u64, crate::world::Record>| {
        table.values().filter(|r| r.deleted.is_none()).count()
    };
    Ok(json!({
        "provider": provider, "tenant": name, "number": owner.number, "app": app,
        "base_url": format!("http://{host}/{provider}/{name}"),
        "credentials": owner.credentials, "settings": owner.settings,
        "now": crate::clock::Time::Milliseconds.text(owner.clock.now()),
        "records": owner.tables.iter().map(|(r, t)| ((*r).to_owned(), json!(count(t)))).collect::<Map<_, _>>(),
        "subscriptions": owner.subscriptions.len(), "mishaps": owner.mishaps,
    }))
}

/// The truth of a kind, and changes of it. A change says what a subscriber of ours must hear, and what the provider tells.
fn records(
    side: &mut Side,
    name: &str,
    resource: &str,
    rest: &[&str],
    request: &Request,
    body: &Map<String, Value>,
) -> Result<Value, Reply> {
    let kind = side.provider.kind(resource).copied().ok_or_else(|| {
        let known: Vec<_> = side.provider.kinds.iter().map(|k| k.resource).collect();
        missing(&format!("the provider has no {resource}; it has {}", known.join(", ")))
    })?;
    tenant(side, name)?;
    let owner = side.tenants.get_mut(name).expect("looked at above");
    let gone = || missing("no such record, or it was deleted");
    let changes: Vec<Change> = match (request.method.as_str(), rest) {
        ("GET", []) => {
            let live = owner.tables[kind.resource].values().filter(|r| r.deleted.is_none());
            return Ok(live.map(|r| json!({"id": r.id, "body": shape(&kind, r)})).collect());
        }
        ("GET", [id]) => return owner.find(resource, id).map(|r| shape(&kind, r)).ok_or_else(gone),
        ("POST", []) => {
            let count = request
                .query
                .iter()
                .find(|(n, _)| n == "count")
                .and_then(|(_, v)| v.parse().ok())
                .unwrap_or(1);
            (0..count).map(|_| owner.create(&kind, body)).collect()
        }
        ("PATCH", [id]) => vec![owner.update(&kind, id, body).ok_or_else(gone)?],
        ("DELETE", [id]) => {
            let changes = owner.delete(&side.provider, resource, id);
            if changes.is_empty() {
                return Err(gone());
            }
            changes
        }
        _ => return Err(missing("no such control call: see simulator --help")),
    };
    let told: Vec<Value> = changes
        .iter()
        .map(|change| {
            let native = webhooks::tell(side, name, change);
            json!({"id": change.id, "hear": webhooks::unified(change), "native": native})
        })
        .collect();
    Ok(json!({"changes": told}))
}

fn app(side: &mut Side, request: &Request, body: &Map<String, Value>) -> Result<Value, Reply> {
    if request.method == "PATCH" {
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        if let Some(secret) = text("client_secret") {
            side.app.client_secret = secret;
        }
        if let Some(id) = text("client_id") {
            side.app.client_id = id;
        }
    }
    Ok(json!({"id": side.app.id, "client_id": side.app.client_id, "client_secret": side.app.client_secret,
        "developer_key": side.app.developer_key, "url": side.app.url,
        "subscriptions": side.app.subscriptions.iter().map(Subscription::json).collect::<Vec<_>>()}))
}

fn faults(world: &mut World, request: &Request, mut body: Map<String, Value>) -> Result<Value, Reply> {
    let mut take = |name: &str| body.remove(name).and_then(|v| v.as_str().map(str::to_owned));
    let of = |name: &str| request.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let provider = take("provider").or_else(|| of("provider"));
    let name = take("tenant").or_else(|| of("tenant"));
    let (Some(provider), Some(name)) = (provider, name) else {
        return Err(wrong("provider and tenant are missing"));
    };
    let owner = tenant(side(world, &provider)?, &name)?;
    match request.method.as_str() {
        "POST" => {
            let fault = Fault::read(body).map_err(|words| wrong(&words))?;
            owner.faults.push(fault);
        }
        "DELETE" => owner.faults.clear(),
        _ => {}
    }
    Ok(json!(owner.faults))
}

/// A person registers a URL in the provider's settings, or in the app's console.
async fn by_hand(shared: &Shared, provider: &str, name: &str, body: &Map<String, Value>) -> Reply {
    let text = |field: &str| body.get(field).and_then(Value::as_str).map(str::to_owned);
    let Some(url) = text("url") else { return wrong("url is missing") };
    let events = body.get("events").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![json!("*")]);
    let mut subscription = Subscription {
        url,
        events: events.iter().map(crate::world::text).collect(),
        status: "active".into(),
        extra: body.get("extra").and_then(Value::as_object).cloned().unwrap_or_default(),
        ..Subscription::default()
    };
    let (ping, pong, by) = {
        let world = &mut shared.world.lock().expect("no handler panics");
        let side = match side(world, provider) {
            Ok(side) => side,
            Err(refusal) => return refusal,
        };
        let Some((ping, pong, by)) = side.provider.webhooks.as_ref().map(|w| (w.ping, w.pong, w.by)) else {
            return wrong("the provider calls nobody back");
        };
        let app_secret = side.app.client_secret.clone();
        let owner = match tenant(side, name) {
            Ok(owner) => owner,
            Err(refusal) => return refusal,
        };
        subscription.id = (1000 + owner.next()).to_string();
        subscription.created = owner.clock.now();
        let own = text("secret").unwrap_or_else(|| owner.opaque("secret"));
        subscription.secret = if by == By::App { app_secret } else { own };
        (ping, pong, by)
    };
    if let Some(ping) = ping {
        let said = webhooks::send(&shared.client, &ping(&subscription)).await;
        if !pong(&subscription, &said) {
            let words = "the URL did not answer the ping as the provider wants";
            return Reply::json(422, &json!({"simulator": words, "status": said.status}));
        }
    }
    let world = &mut shared.world.lock().expect("no handler panics");
    let json = subscription.json();
    let result = side(world, provider).and_then(|side| {
        if by == By::App {
            side.app.url = Some(subscription.url.clone());
            side.app.subscriptions.push(subscription);
        } else {
            tenant(side, name)?.subscriptions.push(subscription);
        }
        Ok(())
    });
    result.map_or_else(|refusal| refusal, |()| Reply::json(201, &json))
}
