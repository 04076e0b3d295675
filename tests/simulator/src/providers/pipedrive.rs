//! Pipedrive: v2 with cursors, v1 by start with the deleted still there; webhooks v2, forty a user, proven by HTTP Basic.

use crate::{
    auth::{self, Client, OAuth},
    call::{Call, by_updated, newest_first, since, until},
    clock::Time,
    provider::{Id, Kind, Limit, Provider, Trouble, Window, authorize, get, list, subscribe, token},
    rate,
    reply::{Outcome, Outgoing, Reply, ok},
    sign,
    webhooks::{EACH, Packing, Subscription, Webhooks, content},
    world::{Action, Change, Tenant},
};
use serde_json::{Value, json};

const PERSONS: &str = "crm_contacts";
const ORGANIZATIONS: &str = "crm_accounts";
const V2: &[&str] = &[
    "limit",
    "cursor",
    "updated_since",
    "updated_until",
    "sort_by",
    "sort_direction",
    "api_token",
    "ids",
    "include_fields",
    "custom_fields",
];
const V1: &[&str] = &["start", "limit", "api_token", "sort"];

pub(crate) fn provider() -> Provider {
    let kind = |resource, word, example| {
        Kind::new(resource, word, Id::Number, example)
            .created("add_time", Time::Seconds)
            .updated("update_time", Time::Seconds)
    };
    Provider {
        switches: &[("v1", "`GET /v1/persons`, `/v1/organizations`: their shape is v2's here [U]")],
        credentials: &["api_token"],
        kinds: vec![
            kind(ORGANIZATIONS, "organization", r#"{"name":"Company {n}","owner_id":25760681,"address":null,"visible_to":3,"is_deleted":false,"custom_fields":{}}"#),
            kind(PERSONS, "person", r#"{"name":"Jane Smith {n}","first_name":"Jane","last_name":"Smith {n}","owner_id":25760681,"org_id":"{crm_accounts}","emails":[{"label":"work","value":"j{n}@example.com","primary":true}],"phones":[{"label":"work","value":"+14155551234","primary":true}],"visible_to":3,"is_deleted":false,"custom_fields":{}}"#),
        ],
        routes: vec![
            token("/oauth/token", |call| {
                let oauth = OAuth { seconds: 3600, rotates: false, client: Client::Basic, grants: &["authorization_code", "refresh_token"] };
                let base = call.request.base.clone();
                auth::token(call, &oauth, &json!({"api_domain": base, "scope": "contacts:full"}))
            }),
            authorize("/oauth/authorize"),
            list("/api/v2/persons", |c| listing(c, PERSONS)).of(PERSONS).query(V2),
            list("/api/v2/organizations", |c| listing(c, ORGANIZATIONS)).of(ORGANIZATIONS).query(V2),
            get("/api/v2/persons/{id}", |c| ok(json!({"success": true, "data": c.get(PERSONS)?}))).of(PERSONS).query(&["api_token", "include_fields", "custom_fields"]),
            get("/api/v2/organizations/{id}", |c| ok(json!({"success": true, "data": c.get(ORGANIZATIONS)?}))).of(ORGANIZATIONS).query(&["api_token", "include_fields", "custom_fields"]),
            list("/v1/persons", |c| by_start(c, PERSONS)).of(PERSONS).query(V1).behind("v1"),
            list("/v1/organizations", |c| by_start(c, ORGANIZATIONS)).of(ORGANIZATIONS).query(V1).behind("v1"),
            get("/v1/users/me", |c| ok(json!({"success": true, "data": {"id": 1, "company_id": c.tenant.number, "company_domain": c.tenant.name}}))).query(&["api_token"]),
            hook("POST", "/v1/webhooks", create),
            hook("POST", "/api/v1/webhooks", create),
            hook("GET", "/v1/webhooks", hooks),
            hook("GET", "/api/v1/webhooks", hooks),
            hook("DELETE", "/v1/webhooks/{id}", remove),
            hook("DELETE", "/api/v1/webhooks/{id}", remove),
        ],
        guard: |call| {
            if call.query("api_token").is_some_and(|t| Some(t) == call.tenant.credentials.get("api_token").map(String::as_str)) {
                return Ok(());
            }
            auth::header(call, "x-api-token", "", "api_token").or_else(|refusal| auth::bearer(call).map_err(|_| refusal))
        },
        refuse: |trouble: Trouble, words| Reply::json(trouble.status(), &json!({"success": false, "error": words, "error_info": "", "data": null})),
        limit: Some(Limit { most: 80, seconds: 2, headers, over: rate::silent }),
        webhooks: Some(Webhooks { events, pack, retries: &[3, 30, 150], ..EACH }),
        ..Provider::new("pipedrive", "Pipedrive")
    }
}

const fn hook(
    method: &'static str,
    path: &'static str,
    run: fn(&mut Call<'_>) -> Outcome,
) -> crate::provider::Route {
    subscribe(method, path, run).query(&["api_token"]).body(&[
        "subscription_url",
        "event_action",
        "event_object",
        "name",
        "version",
        "user_id",
        "http_auth_user",
        "http_auth_password",
    ])
}

fn headers(window: &Window) -> Vec<(&'static str, String)> {
    vec![
        ("x-ratelimit-limit", window.most.to_string()),
        ("x-ratelimit-remaining", window.left.to_string()),
        ("x-ratelimit-reset", window.wait.to_string()),
        ("x-daily-ratelimit-token-limit", "100000".into()),
    ]
}

fn listing(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let size = call.number("limit", 100, 1, 500)?;
    let (from, to) = (call.time("updated_since")?, call.time("updated_until")?);
    let cursor = call.query("cursor").map(str::to_owned);
    let Some((after, carry)) = call.cursor(cursor.as_deref(), Value::Null) else {
        return Err(call.bad("cursor is not valid"));
    };
    let mut rows = until(since(call.rows(resource), from), to);
    match call.query("sort_by").unwrap_or("id") {
        "id" | "add_time" => {}
        "update_time" => rows = by_updated(rows),
        _ => return Err(call.bad("sort_by is not known")),
    }
    match call.query("sort_direction").unwrap_or("asc") {
        "asc" => {}
        "desc" => rows = newest_first(rows),
        _ => return Err(call.bad("sort_direction is asc or desc")),
    }
    let page = call.behind(&rows, after, size, &carry);
    ok(json!({"success": true, "data": page.bodies(), "additional_data": {"next_cursor": page.next}}))
}

fn by_start(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let (size, from) = (call.number("limit", 100, 1, 500)?, call.number("start", 0, 0, usize::MAX / 2)?);
    let rows = call.rows(resource);
    let page = call.window(&rows, from, size);
    ok(
        json!({"success": true, "data": page.bodies(), "additional_data": {"pagination": {"start": from, "limit": size,
        "more_items_in_collection": page.next.is_some(), "next_start": page.next}}}),
    )
}

fn hook_json(tenant: &Tenant, subscription: &Subscription) -> Value {
    let kept = |name: &str| subscription.extra.get(name).cloned().unwrap_or(Value::Null);
    json!({"id": subscription.id.parse::<u64>().unwrap_or(0), "company_id": tenant.number, "owner_id": 1, "user_id": 1,
        "event_action": kept("event_action"), "event_object": kept("event_object"), "subscription_url": subscription.url,
        "version": "2.0", "is_active": 1, "add_time": Time::Seconds.text(subscription.created), "name": kept("name"),
        "last_delivery_time": null, "last_http_status": null, "remove_reason": null})
}

fn create(call: &mut Call<'_>) -> Outcome {
    let url = call.target("subscription_url")?;
    let (Some(action), Some(object)) = (call.field("event_action"), call.field("event_object")) else {
        return Err(call.bad("event_action and event_object are required"));
    };
    let objects = ["person", "organization", "deal", "lead", "activity", "note", "product", "user", "*"];
    if !["create", "change", "delete", "*"].contains(&action.as_str()) || !objects.contains(&object.as_str())
    {
        return Err(call.bad("event_action or event_object is not known"));
    }
    if call.field("version").is_some_and(|v| v != "2.0") {
        return Err(call.bad("version is 2.0"));
    }
    call.quota(40, Reply { status: 400, ..call.bad("the limit of webhooks is reached") })?;
    let every = |given: &str, all: &[&str]| -> Vec<String> {
        if given == "*" { all.iter().map(|w| (*w).to_owned()).collect() } else { vec![given.to_owned()] }
    };
    let (actions, objects) =
        (every(&action, &["create", "change", "delete"]), every(&object, &["person", "organization"]));
    let events = actions.iter().flat_map(|a| objects.iter().map(move |o| format!("{a}.{o}"))).collect();
    let secret =
        call.field("http_auth_user").zip(call.field("http_auth_password")).map(|(u, p)| format!("{u}:{p}"));
    let extra = call
        .fields()
        .into_iter()
        .filter(|(name, _)| ["event_action", "event_object", "name"].contains(&name.as_str()))
        .collect();
    let id = (1_828_000 + call.tenant.next()).to_string();
    let made = call.subscribe(id.clone(), &url, events);
    (made.secret, made.extra) = (secret.unwrap_or_default(), extra);
    let body = call.subscription(&id).map(|s| hook_json(call.tenant, s));
    Ok(Reply::json(201, &json!({"status": "ok", "success": true, "data": body})))
}

fn hooks(call: &mut Call<'_>) -> Outcome {
    let all: Vec<Value> = call.tenant.subscriptions.iter().map(|s| hook_json(call.tenant, s)).collect();
    ok(json!({"status": "ok", "success": true, "data": all}))
}

fn remove(call: &mut Call<'_>) -> Outcome {
    let id = call.hole("id").to_owned();
    call.unsubscribe(&id)?;
    ok(json!({"status": "ok", "success": true}))
}

fn events(tenant: &Tenant, change: &Change) -> Vec<(String, Value)> {
    let (action, word) = (
        change.action.choose("create", "change", "delete"),
        if change.resource == PERSONS { "person" } else { "organization" },
    );
    let previous = match change.action {
        Action::Created => Value::Null,
        Action::Deleted => change.before.clone(),
        Action::Updated => change
            .fields
            .iter()
            .map(|f| (f.clone(), change.before[f].clone()))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    };
    let data = if change.action == Action::Deleted { Value::Null } else { content(change).clone() };
    let meta = json!({"action": action, "company_id": tenant.number.to_string(), "correlation_id": "c1", "entity_id": change.id, "entity": word,
        "is_bulk_edit": false, "timestamp": Time::Milliseconds.text(change.at), "type": "general", "user_id": "12941358", "version": "2.0",
        "webhook_owner_id": "16219013", "change_source": "app", "permitted_user_ids": ["9251590"], "host": format!("{}.pipedrive.com", tenant.name)});
    vec![(format!("{action}.{word}"), json!({"data": data, "previous": previous, "meta": meta}))]
}

fn pack(packing: &Packing<'_>) -> Outgoing {
    let message = &packing.messages[0];
    let mut body = message.body.clone();
    (body["meta"]["id"], body["meta"]["attempt"]) = (message.id.clone().into(), (message.attempt + 1).into());
    body["meta"]["webhook_id"] = message.subscription.clone().into();
    let outgoing = Outgoing::json(&packing.subscription.url, &body);
    match packing.subscription.secret.as_str() {
        "" => outgoing,
        pair => outgoing.with("authorization", format!("Basic {}", sign::base64_text(pair))),
    }
}
