//! HubSpot: cursors, a JSON search that ends at 10 000, an archived list, webhooks of the app with portals mixed in one body.

use crate::{
    auth::{self, Client, OAuth},
    call::{Call, Row, by_updated},
    clock::Time,
    provider::{Id, Kind, Limit, Provider, Trouble, Window, authorize, get, list, search, subscribe, token},
    rate,
    reply::{Outcome, Outgoing, Reply, ok},
    sign,
    webhooks::{By, EACH, Packing, Subscription, Webhooks},
    world::{Action, Change, Tenant},
};
use serde_json::{Value, json};

const CONTACTS: &str = "crm_contacts";
const COMPANIES: &str = "crm_accounts";
const LIST: &[&str] = &["limit", "after", "properties", "archived", "associations"];
const SEARCH: &[&str] = &["filterGroups", "sorts", "properties", "limit", "after", "query"];

pub(crate) fn provider() -> Provider {
    Provider {
        kinds: vec![
            Kind::new(CONTACTS, "contact", Id::Digits, CONTACT)
                .created("createdAt", Time::Milliseconds)
                .updated("updatedAt", Time::Milliseconds)
                .touch("properties.lastname"),
            Kind::new(COMPANIES, "company", Id::Digits, COMPANY)
                .created("createdAt", Time::Milliseconds)
                .updated("updatedAt", Time::Milliseconds)
                .touch("properties.name"),
        ],
        routes: vec![
            token("/oauth/v1/token", tokens),
            token("/oauth/2026-03/token", tokens),
            authorize("/oauth/authorize"),
            list("/crm/v3/objects/contacts", |call| listing(call, CONTACTS)).of(CONTACTS).query(LIST),
            list("/crm/v3/objects/companies", |call| listing(call, COMPANIES)).of(COMPANIES).query(LIST),
            search("/crm/v3/objects/contacts/search", |call| searched(call, CONTACTS, "lastmodifieddate"))
                .of(CONTACTS)
                .body(SEARCH),
            search("/crm/v3/objects/companies/search", |call| {
                searched(call, COMPANIES, "hs_lastmodifieddate")
            })
            .of(COMPANIES)
            .body(SEARCH),
            get("/crm/v3/objects/contacts/{id}", |call| one(call, CONTACTS)).of(CONTACTS).query(&[
                "properties",
                "associations",
                "archived",
            ]),
            get("/crm/v3/objects/companies/{id}", |call| one(call, COMPANIES)).of(COMPANIES).query(&[
                "properties",
                "associations",
                "archived",
            ]),
            developer(
                subscribe("PUT", "/webhooks/v3/{app}/settings", settings).body(&["targetUrl", "throttling"]),
            ),
            developer(subscribe("POST", "/webhooks/v3/{app}/subscriptions", create).body(&[
                "eventType",
                "propertyName",
                "active",
            ])),
            developer(subscribe("GET", "/webhooks/v3/{app}/subscriptions", subscriptions)),
            developer(subscribe("DELETE", "/webhooks/v3/{app}/subscriptions/{id}", remove)),
        ],
        credentials: &["private_app_token"],
        guard: |call| {
            if call.request.path.starts_with("/webhooks/") {
                return match call.query("hapikey") {
                    Some(key) if key == call.app.developer_key => Ok(()),
                    _ => Err(call.refuse(Trouble::Unauthorized, "the developer key is missing or not valid")),
                };
            }
            auth::header(call, "authorization", "Bearer ", "private_app_token")
                .or_else(|_| auth::bearer(call))
        },
        refuse,
        limit: Some(Limit { most: 110, seconds: 10, headers, over: rate::silent }),
        webhooks: Some(Webhooks {
            events,
            pack,
            retries: &[60, 300, 900, 3600, 7200, 10800, 14400, 14400, 14400, 14400],
            batch: 100,
            by: By::App,
            ..EACH
        }),
        ..Provider::new("hubspot", "HubSpot")
    }
}

const CONTACT: &str = r#"{"properties":{"email":"c{n}@example.com","firstname":"Ana","lastname":"Silva {n}","phone":"+1234567890"},"archived":false}"#;
const COMPANY: &str = r#"{"properties":{"name":"Company {n}","domain":"c{n}.example.com","phone":"+1234567891","industry":"SOFTWARE"},"archived":false}"#;

const fn developer(mut route: crate::provider::Route) -> crate::provider::Route {
    route.query = &["hapikey"];
    route
}

fn refuse(trouble: Trouble, words: &str) -> Reply {
    let body = match trouble {
        Trouble::Limited => {
            json!({"status": "error", "message": "You have reached your ten_secondly_rolling limit.",
            "errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING"})
        }
        Trouble::Unauthorized => {
            json!({"status": "error", "message": words, "category": "EXPIRED_AUTHENTICATION"})
        }
        Trouble::Forbidden => json!({"status": "error", "message": words, "category": "MISSING_SCOPES"}),
        _ => json!({"status": "error", "message": words, "category": "VALIDATION_ERROR"}),
    };
    Reply::json(trouble.status(), &body)
}

fn headers(window: &Window) -> Vec<(&'static str, String)> {
    vec![
        ("x-hubspot-ratelimit-max", window.most.to_string()),
        ("x-hubspot-ratelimit-remaining", window.left.to_string()),
        ("x-hubspot-ratelimit-interval-milliseconds", "10000".into()),
    ]
}

fn tokens(call: &mut Call<'_>) -> Outcome {
    let oauth = OAuth {
        seconds: 1800,
        rotates: false,
        client: Client::Form,
        grants: &["authorization_code", "refresh_token"],
    };
    let hub = json!({"hub_id": call.tenant.number});
    auth::token(call, &oauth, &hub)
}

/// The properties that were asked for, beside those that always come.
fn shown(row: &Row, asked: &[String]) -> Value {
    let mut body = row.body.clone();
    let modified = if row.resource == CONTACTS { "lastmodifieddate" } else { "hs_lastmodifieddate" };
    if let Some(properties) = body["properties"].as_object_mut() {
        let defaults: &[&str] =
            if row.resource == CONTACTS { &["email", "firstname", "lastname"] } else { &["name", "domain"] };
        properties
            .retain(|name, _| asked.contains(name) || asked.is_empty() && defaults.contains(&name.as_str()));
        for name in asked {
            properties.entry(name.clone()).or_insert(Value::Null);
        }
        properties.insert("hs_object_id".into(), row.id.clone().into());
        properties.insert("createdate".into(), Time::Milliseconds.json(row.created));
        properties.insert(modified.into(), Time::Milliseconds.json(row.updated));
    }
    body
}

fn names(text: Option<&str>) -> Vec<String> {
    text.unwrap_or_default().split(',').filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

fn listing(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let size = call.number("limit", 10, 1, 100)?;
    let asked = names(call.query("properties"));
    let archived = call.query("archived") == Some("true");
    let after = call.query("after").map(str::to_owned);
    let Some((after, carry)) = call.cursor(after.as_deref(), json!(null)) else {
        return Err(call.bad("after is not valid"));
    };
    let rows = if archived { call.all(resource, true) } else { call.rows(resource) };
    let page = call.behind(&rows, after, size, &carry);
    let results = page.rows.iter().map(|row| {
        let mut body = shown(row, &asked);
        if archived {
            body["archived"] = true.into();
            body["archivedAt"] = Time::Milliseconds.json(row.updated);
        }
        body
    });
    let mut body = json!({"results": results.collect::<Vec<_>>()});
    if let Some(next) = page.next {
        body["paging"] = json!({"next": {"after": next, "link": call.again(&[("after", next.clone())])}});
    }
    ok(body)
}

fn searched(call: &mut Call<'_>, resource: &'static str, modified: &str) -> Outcome {
    let fields = call.fields();
    let size = call.bounded(call.field("limit"), "limit", 10, 1, 200)?;
    let from = call.bounded(call.field("after"), "after", 0, 0, 9_999)?;
    if from + size > 10_000 {
        return Err(call.bad("a search ends at 10000 results"));
    }
    let mut rows = by_updated(call.rows(resource));
    for filter in fields
        .get("filterGroups")
        .and_then(|g| g.pointer("/0/filters"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let name = filter["propertyName"].as_str().unwrap_or_default();
        let Some(value) = filter.get("value").map(crate::world::text).and_then(|v| v.parse::<i64>().ok())
        else {
            return Err(call.bad("the value is not in milliseconds"));
        };
        match (name == modified, filter["operator"].as_str()) {
            (true, Some("GTE")) => rows.retain(|row| row.updated >= value),
            (true, Some("GT")) => rows.retain(|row| row.updated > value),
            (true, Some("LTE")) => rows.retain(|row| row.updated <= value),
            (true, Some("LT")) => rows.retain(|row| row.updated < value),
            _ => return Err(call.bad("the filter is not understood")),
        }
    }
    match fields
        .get("sorts")
        .and_then(|s| s.get(0))
        .map(|s| (s["propertyName"].as_str(), s["direction"].as_str()))
    {
        None | Some((_, Some("ASCENDING"))) => {}
        Some((_, Some("DESCENDING"))) => rows.reverse(),
        Some(_) => return Err(call.bad("the sort is not understood")),
    }
    let asked: Vec<String> = fields
        .get("properties")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(crate::world::text)
        .collect();
    let page = call.window(&rows, from, size);
    let mut body = json!({"total": page.total, "results": page.rows.iter().map(|row| shown(row, &asked)).collect::<Vec<_>>()});
    if let Some(next) = page.next {
        body["paging"] = json!({"next": {"after": next.to_string()}});
    }
    ok(body)
}

fn one(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let row = call.one(resource, call.hole("id")).ok_or_else(|| call.missing())?;
    ok(shown(&row, &names(call.query("properties"))))
}

fn settings(call: &mut Call<'_>) -> Outcome {
    let url = call.target("targetUrl")?;
    call.app.url = Some(url.clone());
    for subscription in &mut call.app.subscriptions {
        subscription.url.clone_from(&url);
    }
    ok(json!({"targetUrl": url, "throttling": call.fields().get("throttling")}))
}

fn subscription_json(subscription: &Subscription) -> Value {
    let mut body = json!({"id": subscription.id, "eventType": subscription.events[0], "active": subscription.status == "active",
        "createdAt": Time::Milliseconds.text(subscription.created)});
    if let Some(name) = subscription.extra.get("propertyName") {
        body["propertyName"] = name.clone();
    }
    body
}

fn create(call: &mut Call<'_>) -> Outcome {
    let Some(url) = call.app.url.clone() else { return Err(call.bad("the app has no target URL")) };
    let (event, property) = (call.field("eventType").unwrap_or_default(), call.field("propertyName"));
    if event.ends_with(".propertyChange") != property.is_some() {
        return Err(call.bad("propertyName goes with propertyChange"));
    }
    let same = |s: &Subscription| {
        s.events[0] == event && s.extra.get("propertyName").map(crate::world::text) == property
    };
    if call.app.subscriptions.iter().any(same) {
        return Err(Reply { status: 409, ..call.bad("there is such a subscription") });
    }
    let made = Subscription {
        id: (25 + call.tenant.next()).to_string(),
        url,
        events: vec![event],
        created: call.now(),
        status: if call.field("active").as_deref() == Some("true") { "active" } else { "paused" }.into(),
        extra: property.into_iter().map(|p| ("propertyName".to_owned(), p.into())).collect(),
        ..Subscription::default()
    };
    let body = subscription_json(&made);
    call.app.subscriptions.push(made);
    Ok(Reply::json(201, &body))
}

fn subscriptions(call: &mut Call<'_>) -> Outcome {
    ok(json!({"results": call.app.subscriptions.iter().map(subscription_json).collect::<Vec<_>>()}))
}

fn remove(call: &mut Call<'_>) -> Outcome {
    let id = call.hole("id").to_owned();
    call.app.subscriptions.retain(|s| s.id != id);
    Ok(Reply::empty(204))
}

/// A change is an event for each property.
fn events(tenant: &Tenant, change: &Change) -> Vec<(String, Value)> {
    let word = if change.resource == CONTACTS { "contact" } else { "company" };
    let event = |kind: &str, with: Value| {
        let mut body = json!({"portalId": tenant.number, "occurredAt": change.at, "subscriptionType": format!("{word}.{kind}"),
            "objectId": change.id.parse::<u64>().unwrap_or(0), "changeSource": "CRM_UI", "sourceId": "userId:12345"});
        if let (Some(body), Some(with)) = (body.as_object_mut(), with.as_object()) {
            body.extend(with.clone());
        }
        (format!("{word}.{kind}"), body)
    };
    match change.action {
        Action::Created => vec![event("creation", json!({"changeFlag": "NEW"}))],
        Action::Deleted => vec![event("deletion", json!({"changeFlag": "DELETED"}))],
        Action::Updated => {
            let (before, after) = (&change.before["properties"], &change.after["properties"]);
            let changed = after
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(name, value)| before.get(name.as_str()) != Some(value));
            changed
                .map(|(name, value)| {
                    event("propertyChange", json!({"propertyName": name, "propertyValue": value}))
                })
                .collect()
        }
    }
}

fn pack(packing: &Packing<'_>) -> Outgoing {
    let body: Vec<Value> = packing
        .messages
        .iter()
        .map(|message| {
            let mut body = message.body.clone();
            body["eventId"] = u64::from_str_radix(&message.id[..8], 16).unwrap_or(0).into();
            body["subscriptionId"] = message.subscription.parse::<u64>().unwrap_or(0).into();
            body["appId"] = packing.app.id.into();
            body["attemptNumber"] = message.attempt.into();
            body
        })
        .collect();
    let outgoing = Outgoing::json(&packing.subscription.url, &Value::Array(body));
    let timestamp = packing.now.to_string();
    let signed = [b"POST", outgoing.url.as_bytes(), &outgoing.body, timestamp.as_bytes()].concat();
    let v1 =
        sign::digest(&format!("{}{}", packing.app.client_secret, String::from_utf8_lossy(&outgoing.body)));
    outgoing
        .with("x-hubspot-signature-v3", sign::base64_sha256(&packing.app.client_secret, &signed))
        .with("x-hubspot-request-timestamp", timestamp)
        .with("x-hubspot-signature", v1)
        .with("x-hubspot-signature-version", "v1")
}
