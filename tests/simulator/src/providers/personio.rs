//! Personio: v2 persons with a `next` link and dotted filters, employments below each; webhooks by API with a static value.

use crate::{
    auth::{self, Client, OAuth},
    call::{Call, since, until},
    clock::Time,
    provider::{Id, Kind, Limit, Provider, get, list, subscribe, token},
    rate,
    reply::{Outcome, Outgoing, Reply, ok},
    webhooks::{EACH, Packing, Subscription, Webhooks, content},
    world::{Change, Tenant},
};
use serde_json::{Value, json};

const PERSONS: &str = "hris_employees";
const EMPLOYMENTS: &str = "hris_employments";
const FILTERS: &[&str] = &[
    "limit",
    "cursor",
    "updated_at",
    "updated_at.gt",
    "updated_at.lt",
    "created_at",
    "created_at.gt",
    "created_at.lt",
    "id",
    "email",
    "status",
];
const FIELDS: &[&str] =
    &["url", "description", "enabled_events", "status", "auth_type", "token", "custom_headers"];

pub(crate) fn provider() -> Provider {
    let kind = |resource, word, id, example| {
        Kind::new(resource, word, id, example)
            .created("created_at", Time::Seconds)
            .updated("updated_at", Time::Seconds)
    };
    Provider {
        credentials: &["client_id", "client_secret"],
        kinds: vec![
            kind(PERSONS, "person", Id::Digits, r#"{"email":"l{n}@example.com","first_name":"Lena","last_name":"Vogel {n}","preferred_name":"Lena","status":"ACTIVE","custom_attributes":[],"employments":[]}"#).touch("last_name"),
            kind(EMPLOYMENTS, "employment", Id::Digits, r#"{"person":{"id":"{hris_employees}"},"status":"ACTIVE","position":{"title":"Engineer"},"employment_start_date":"2024-02-01","type":"INTERNAL","weekly_working_hours":40}"#).touch("position.title").parent("person.id"),
        ],
        routes: vec![
            token("/v2/auth/token", |call| {
                let oauth = OAuth { seconds: 86_400, rotates: false, client: Client::Form, grants: &["client_credentials"] };
                auth::token(call, &oauth, &json!({"scope": "personio:persons:read"}))
            }),
            list("/v2/persons", |call| listing(call, PERSONS)).of(PERSONS).query(FILTERS),
            get("/v2/persons/{id}", |call| ok(call.get(PERSONS)?)).of(PERSONS),
            list("/v2/persons/{id}/employments", |call| listing(call, EMPLOYMENTS)).of(EMPLOYMENTS).query(FILTERS),
            get("/v2/persons/{person}/employments/{id}", |call| ok(call.get(EMPLOYMENTS)?)).of(EMPLOYMENTS),
            subscribe("POST", "/v2/webhooks", create).body(FIELDS),
            subscribe("GET", "/v2/webhooks", |call| ok(json!({"_data": call.tenant.subscriptions.iter().map(hook_json).collect::<Vec<_>>()}))).query(&["limit", "cursor"]),
            subscribe("GET", "/v2/webhooks/{id}", |call| ok(hook_json(call.subscription(call.hole("id")).ok_or_else(|| call.missing())?))),
            subscribe("PATCH", "/v2/webhooks/{id}", patch).body(FIELDS),
            subscribe("DELETE", "/v2/webhooks/{id}", |call| {
                let id = call.hole("id").to_owned();
                call.unsubscribe(&id)?;
                Ok(Reply::empty(204))
            }),
        ],
        guard: auth::bearer,
        refuse: |trouble, words| {
            let status = trouble.status();
            let mut reply = Reply::json(status, &json!({"title": words, "status": status, "errors": [{"detail": words}]}));
            reply.headers.retain(|(name, _)| name != "content-type");
            reply.with("content-type", "application/problem+json")
        },
        limit: Some(Limit { most: 300, seconds: 60, headers: rate::silent, over: rate::silent }),
        webhooks: Some(Webhooks { events, pack, retries: &[1, 300, 301, 3600, 3601, 21_600, 21_601, 86_400, 86_401, 172_800], ..EACH }),
        ..Provider::new("personio", "Personio")
    }
}

fn listing(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let size = call.number("limit", 10, 1, 50)?;
    let cursor = call.query("cursor").map(str::to_owned);
    let filters = json!([
        call.time("updated_at.gt")?,
        call.time("updated_at.lt")?,
        call.query("id"),
        call.query("status")
    ]);
    let Some((after, carry)) = call.cursor(cursor.as_deref(), filters) else {
        return Err(call.bad("the cursor is not valid"));
    };
    let mut rows =
        until(since(call.rows(resource), carry[0].as_i64().map(|t| t + 1)), carry[1].as_i64().map(|t| t - 1));
    if resource == EMPLOYMENTS {
        let person = call.hole("id").to_owned();
        call.one(PERSONS, &person).ok_or_else(|| call.missing())?;
        rows.retain(|row| crate::world::text(&row.body["person"]["id"]) == person);
    }
    rows = crate::call::with(crate::call::with(rows, "id", carry[2].as_str()), "status", carry[3].as_str());
    let page = call.behind(&rows, after, size, &carry);
    let mut body = json!({"_data": page.bodies(), "_meta": {"links": {"self": {"href": call.again(&[])}}}});
    if let Some(next) = page.next {
        let path = call.request.path.clone();
        body["_meta"]["links"]["next"] =
            json!({"href": call.url(&path, &[("limit", size.to_string()), ("cursor", next)])});
    }
    ok(body)
}

fn hook_json(subscription: &Subscription) -> Value {
    let mut body = Value::Object(subscription.extra.clone());
    body["id"] = subscription.id.clone().into();
    body["url"] = subscription.url.clone().into();
    body["enabled_events"] = subscription.events.clone().into();
    body["status"] = if subscription.status == "active" { "ENABLED" } else { "DISABLED" }.into();
    body
}

/// `status` is DISABLED unless asked otherwise.
fn set(call: &Call<'_>, hook: &mut Subscription) -> Result<(), Reply> {
    let fields = call.fields();
    if let Some(events) = fields.get("enabled_events").and_then(Value::as_array) {
        hook.events = events.iter().map(crate::world::text).collect();
    }
    match call.field("status").as_deref() {
        Some("ENABLED") => hook.status = "active".into(),
        Some("DISABLED") => hook.status = "disabled".into(),
        None => {}
        Some(_) => return Err(call.bad("status is ENABLED or DISABLED")),
    }
    if let Some(custom) = fields.get("custom_headers") {
        let few = custom.as_object().is_some_and(|h| h.len() <= 3)
            && fields.get("auth_type") == Some(&json!("CUSTOM"));
        if !few {
            return Err(Reply {
                status: 422,
                ..call.bad("at most three custom_headers, with auth_type CUSTOM")
            });
        }
    }
    hook.secret = call.field("token").unwrap_or_else(|| std::mem::take(&mut hook.secret));
    hook.extra.extend(
        fields
            .into_iter()
            .filter(|(name, _)| !["token", "url", "enabled_events", "status"].contains(&name.as_str())),
    );
    Ok(())
}

fn create(call: &mut Call<'_>) -> Outcome {
    let url = call.target("url")?;
    if call.field("description").is_none() || call.field("enabled_events").is_none() {
        return Err(Reply { status: 422, ..call.bad("url, description and enabled_events are required") });
    }
    let mut hook = Subscription {
        id: call.tenant.uuid("webhook"),
        url,
        status: "disabled".into(),
        created: call.now(),
        ..Subscription::default()
    };
    set(call, &mut hook)?;
    let body = hook_json(&hook);
    call.tenant.subscriptions.push(hook);
    Ok(Reply::json(201, &body))
}

fn patch(call: &mut Call<'_>) -> Outcome {
    let mut hook = call.subscription(call.hole("id")).cloned().ok_or_else(|| call.missing())?;
    if call.field("url").is_some() {
        hook.url = call.target("url")?;
    }
    set(call, &mut hook)?;
    let body = hook_json(&hook);
    call.tenant.subscriptions.retain(|s| s.id != hook.id);
    call.tenant.subscriptions.push(hook);
    ok(body)
}

fn events(tenant: &Tenant, change: &Change) -> Vec<(String, Value)> {
    let (word, payload) = match change.resource {
        PERSONS => ("person", json!({"person_id": change.id})),
        _ => {
            ("employment", json!({"person_id": content(change)["person"]["id"], "employment_id": change.id}))
        }
    };
    let event = format!("{word}.{}", change.action.word());
    let body = json!({"company_id": tenant.number.to_string(), "event_name": event, "occurred_at": Time::Seconds.text(change.at), "payload": payload, "meta": {}});
    vec![(event, body)]
}

/// The token as it stands is the whole `Authorization`.
fn pack(packing: &Packing<'_>) -> Outgoing {
    let mut outgoing = Outgoing::json(&packing.subscription.url, &packing.messages[0].body);
    let extra = &packing.subscription.extra;
    match extra.get("auth_type").and_then(Value::as_str) {
        Some("NONE") => outgoing,
        Some("CUSTOM") => {
            for (name, value) in extra.get("custom_headers").and_then(Value::as_object).into_iter().flatten()
            {
                outgoing = outgoing.with(&name.to_lowercase(), crate::world::text(value));
            }
            outgoing
        }
        _ => outgoing.with("authorization", &packing.subscription.secret),
    }
}
