//! Zoho CRM: page numbers up to 2 000 rows, then page tokens; `If-Modified-Since`; 204 and 304; channels that end within a day.

use crate::{
    auth::{self, Client, OAuth},
    call::{Call, by_updated, newest_first, since},
    clock::{Time, instant},
    provider::{Id, Kind, Provider, Trouble, authorize, feed, get, list, subscribe, token},
    reply::{Outcome, Outgoing, Reply, ok},
    webhooks::{EACH, Packing, Subscription, Webhooks, content},
    world::{Change, Tenant},
};
use serde_json::{Map, Value, json};

const CONTACTS: &str = "crm_contacts";
const ACCOUNTS: &str = "crm_accounts";
const LIST: &[&str] = &["fields", "page", "per_page", "page_token", "sort_by", "sort_order"];
const ZONE: Time = Time::Zone(3);
const DAY: i64 = 86_400_000;

pub(crate) fn provider() -> Provider {
    let kind = |resource, word, example| {
        Kind::new(resource, word, Id::Digits19, example)
            .created("Created_Time", ZONE)
            .updated("Modified_Time", ZONE)
    };
    Provider {
        switches: &[("week", "channels may live a week [U]"), ("edit_words", "`operation` is create, edit, delete as the pages list it, instead of insert, update, delete [U]")],
        kinds: vec![
            kind(ACCOUNTS, "Accounts", r#"{"Account_Name":"Company {n}","Website":"https://c{n}.example.com","Phone":"555-555-5555","Industry":"Energy","Owner":{"name":"Dev","id":"7328395000000605001","email":"dev@example.com"}}"#).touch("Account_Name"),
            kind(CONTACTS, "Contacts", r#"{"First_Name":"Donette","Last_Name":"Foller {n}","Email":"d{n}@example.invalid","Phone":"555-555-5555","Account_Name":{"name":"Printing","id":"{crm_accounts}"},"Owner":{"name":"Dev","id":"7328395000000605001","email":"dev@example.com"}}"#).touch("Last_Name"),
        ],
        routes: vec![
            token("/oauth/v2/token", |call| {
                let oauth = OAuth { seconds: 3600, rotates: false, client: Client::Form, grants: &["authorization_code", "refresh_token"] };
                let base = call.request.base.clone();
                auth::token(call, &oauth, &json!({"api_domain": base}))
            }),
            authorize("/oauth/v2/auth"),
            feed("/crm/v8/Contacts/deleted", |c| deleted(c, CONTACTS)).of(CONTACTS).query(&["type", "page", "per_page"]),
            feed("/crm/v8/Accounts/deleted", |c| deleted(c, ACCOUNTS)).of(ACCOUNTS).query(&["type", "page", "per_page"]),
            list("/crm/v8/Contacts", |c| listing(c, CONTACTS)).of(CONTACTS).query(LIST),
            list("/crm/v8/Accounts", |c| listing(c, ACCOUNTS)).of(ACCOUNTS).query(LIST),
            get("/crm/v8/Contacts/{id}", |c| ok(json!({"data": [c.get(CONTACTS)?]}))).of(CONTACTS).query(&["fields"]),
            get("/crm/v8/Accounts/{id}", |c| ok(json!({"data": [c.get(ACCOUNTS)?]}))).of(ACCOUNTS).query(&["fields"]),
            get("/crm/v8/org", |c| ok(json!({"org": [{"id": c.tenant.number.to_string(), "company_name": c.tenant.name}]}))),
            subscribe("POST", "/crm/v8/actions/watch", watch).body(&["watch"]),
            subscribe("PUT", "/crm/v8/actions/watch", watch).body(&["watch"]),
            subscribe("PATCH", "/crm/v8/actions/watch", watch).body(&["watch"]).query(&["channel_id"]),
            subscribe("GET", "/crm/v8/actions/watch", channels).query(&["channel_id", "page", "per_page"]),
            subscribe("DELETE", "/crm/v8/actions/watch", remove).query(&["channel_ids"]),
        ],
        guard: |call| auth::access(call, "Zoho-oauthtoken"),
        refuse: |trouble, words| {
            let code = match trouble {
                Trouble::Unauthorized => "INVALID_TOKEN",
                Trouble::Forbidden => "OAUTH_SCOPE_MISMATCH",
                Trouble::NotFound => "INVALID_URL_PATTERN",
                Trouble::BadRequest => "INVALID_DATA",
                Trouble::Limited => "TOO_MANY_REQUESTS",
                Trouble::Broken => "INTERNAL_ERROR",
            };
            Reply::json(trouble.status(), &json!({"code": code, "details": {}, "message": words, "status": "error"}))
        },
        webhooks: Some(Webhooks { events, pack, batch: 1, ..EACH }),
        ..Provider::new("zoho_crm", "Zoho CRM")
    }
}

fn modified(call: &Call<'_>) -> Result<Option<i64>, Reply> {
    let given = call.header("if-modified-since");
    given.map(|text| instant(text).ok_or_else(|| call.bad("If-Modified-Since is not a time"))).transpose()
}

/// 304 where nothing is newer, 204 where there is nothing.
fn listing(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let Some(fields) = call.query("fields").map(|f| f.split(',').map(str::to_owned).collect::<Vec<_>>())
    else {
        return Err(Reply::json(
            400,
            &json!({"code": "REQUIRED_PARAM_MISSING", "details": {"param": "fields"}, "message": "fields is required", "status": "error"}),
        ));
    };
    if fields.len() > 50 {
        return Err(call.bad("at most 50 fields"));
    }
    let size = call.number("per_page", 200, 1, 200)?;
    let (page, token) = (call.query("page").is_some(), call.query("page_token").map(str::to_owned));
    let number = call.number("page", 1, 1, usize::MAX / 500)?;
    if page && token.is_some() || number * size > 2000 {
        return Err(call.bad("past 2000 rows, page_token is needed, without page"));
    }
    let from = modified(call)?;
    let Some((after, carry)) = call.cursor(token.as_deref(), Value::Null) else {
        return Err(call.bad("page_token is not valid"));
    };
    let mut rows = since(call.rows(resource), from);
    match call.query("sort_by").unwrap_or("id") {
        "id" | "Created_Time" => {}
        "Modified_Time" => rows = by_updated(rows),
        _ => return Err(call.bad("sort_by is not known")),
    }
    if call.query("sort_order").unwrap_or("desc") == "desc" {
        rows = newest_first(rows);
    }
    if rows.is_empty() {
        return Ok(Reply::empty(if from.is_some() { 304 } else { 204 }));
    }
    let (shown, more, next) = if token.is_some() || !page {
        let page = call.behind(&rows, after, size, &carry);
        (page.rows, page.next.is_some(), page.next)
    } else {
        let page = call.window(&rows, (number - 1) * size, size);
        (page.rows, page.next.is_some(), None)
    };
    let data: Vec<Value> = shown
        .iter()
        .map(|row| {
            let chosen: Map<String, Value> =
                fields.iter().map(|f| (f.clone(), row.body.get(f).cloned().unwrap_or(Value::Null))).collect();
            let mut body = Value::Object(chosen);
            body["id"] = row.id.clone().into();
            body
        })
        .collect();
    ok(
        json!({"data": data, "info": {"per_page": size, "count": data.len(), "page": number, "more_records": more, "next_page_token": next}}),
    )
}

fn deleted(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    if !matches!(call.query("type"), Some("all" | "recycle" | "permanent")) {
        return Err(call.bad("type is required"));
    }
    let (size, number) = (call.number("per_page", 200, 1, 200)?, call.number("page", 1, 1, 10_000)?);
    let from = modified(call)?;
    let rows = if call.query("type") == Some("permanent") {
        Vec::new()
    } else {
        since(call.all(resource, true), from)
    };
    if rows.is_empty() {
        return Ok(Reply::empty(if from.is_some() { 304 } else { 204 }));
    }
    let page = call.window(&rows, (number - 1) * size, size);
    let data: Vec<Value> = page
        .rows
        .iter()
        .map(|row| json!({"id": row.id, "display_name": "Deleted", "deleted_time": ZONE.text(row.updated), "type": "recycle", "deleted_by": {"name": "Dev", "id": "1"}}))
        .collect();
    ok(
        json!({"data": data, "info": {"per_page": size, "count": data.len(), "page": number, "more_records": page.next.is_some()}}),
    )
}

fn channel(subscription: &Subscription) -> Value {
    json!({"channel_id": subscription.id, "events": subscription.events, "channel_expiry": ZONE.text(subscription.until.unwrap_or(0)),
        "token": subscription.secret, "notify_url": subscription.url, "resource_name": subscription.events.first().and_then(|e| e.split('.').next())})
}

/// A time longer than it may be falls back to an hour, in silence.
fn watch(call: &mut Call<'_>) -> Outcome {
    let (wanted, now) =
        (call.fields().get("watch").and_then(Value::as_array).cloned().unwrap_or_default(), call.now());
    let (mut answers, mut good) = (Vec::new(), 0);
    let most = if call.tenant.on("week") { 7 * DAY } else { DAY };
    for one in &wanted {
        let text = |name: &str| one.get(name).map(crate::world::text);
        let (Some(id), known) =
            (text("channel_id"), text("channel_id").and_then(|id| call.subscription(&id).cloned()))
        else {
            answers.push(json!({"code": "MANDATORY_NOT_FOUND", "details": {"api_name": "channel_id"}, "message": "required field not found", "status": "error"}));
            continue;
        };
        let url = text("notify_url").or_else(|| known.as_ref().map(|k| k.url.clone()));
        let secret =
            text("token").unwrap_or_else(|| known.as_ref().map(|k| k.secret.clone()).unwrap_or_default());
        let events: Vec<String> = one
            .get("events")
            .and_then(Value::as_array)
            .map(|e| e.iter().map(crate::world::text).collect())
            .or_else(|| known.as_ref().map(|k| k.events.clone()))
            .unwrap_or_default();
        let asked =
            text("channel_expiry").as_deref().and_then(instant).filter(|at| *at > now && *at <= now + most);
        let (Some(url), false, true) = (url, events.is_empty(), secret.len() <= 50) else {
            answers.push(
                json!({"code": "INVALID_DATA", "details": {}, "message": "invalid data", "status": "error"}),
            );
            continue;
        };
        if call.request.method != "POST" && known.is_none() {
            answers.push(json!({"code": "NOT_SUBSCRIBED", "details": {"channel_id": id}, "message": "not subscribed", "status": "error"}));
            continue;
        }
        call.tenant.subscriptions.retain(|s| s.id != id);
        let made = call.subscribe(id.clone(), &url, events);
        (made.secret, made.until) = (secret, Some(asked.unwrap_or(now + 3_600_000)));
        let until = ZONE.text(made.until.unwrap_or(0));
        let told: Vec<Value> = made.events.iter().map(|event| {
            let module = event.split('.').next().unwrap_or_default();
            json!({"channel_expiry": until, "resource_uri": format!("https://www.zohoapis.com/crm/v8/{module}"), "resource_id": "7328395000000002175", "resource_name": module, "channel_id": id})
        }).collect();
        good += 1;
        answers.push(json!({"code": "SUCCESS", "details": {"events": told}, "message": "Successfully subscribed for actions-watch of the given module", "status": "success"}));
    }
    let status = match (good, answers.len()) {
        (0, _) => 400,
        (good, all) if good < all => 207,
        _ if call.request.method == "POST" => 201,
        _ => 200,
    };
    Ok(Reply::json(status, &json!({"watch": answers})))
}

fn channels(call: &mut Call<'_>) -> Outcome {
    let now = call.now();
    call.tenant.subscriptions.retain(|s| s.until > Some(now));
    let wanted = call.query("channel_id");
    let all: Vec<Value> = call
        .tenant
        .subscriptions
        .iter()
        .filter(|s| wanted.is_none_or(|id| s.id == id))
        .map(channel)
        .collect();
    if all.is_empty() {
        Ok(Reply::empty(204))
    } else {
        ok(
            json!({"watch": all, "info": {"per_page": 200, "count": all.len(), "page": 1, "more_records": false}}),
        )
    }
}

fn remove(call: &mut Call<'_>) -> Outcome {
    let ids: Vec<String> =
        call.query("channel_ids").unwrap_or_default().split(',').map(str::to_owned).collect();
    call.tenant.subscriptions.retain(|s| !ids.contains(&s.id));
    let told: Vec<Value> = ids.iter().map(|id| json!({"code": "SUCCESS", "details": {"channel_id": id}, "message": "Successfully un-subscribed", "status": "success"})).collect();
    ok(json!({"watch": told}))
}

/// `Contacts.all` takes all three.
fn events(_: &Tenant, change: &Change) -> Vec<(String, Value)> {
    let module = if change.resource == CONTACTS { "Contacts" } else { "Accounts" };
    let word = change.action.choose("create", "edit", "delete");
    let mut values = Map::new();
    for field in change.fields.iter().filter(|f| *f != "Modified_Time") {
        values.insert(field.clone(), content(change)[field].clone());
    }
    let names: Vec<&String> = values.keys().collect();
    let affected = json!([{ change.id.clone(): names }]);
    let body = json!({"server_time": change.at, "query_params": {}, "module": module, "resource_uri": format!("https://www.zohoapis.com/crm/v8/{module}"),
        "ids": [change.id], "affected_fields": affected, "affected_values": [{"record_id": change.id, "values": values}],
        "operation": change.action.choose("insert", "update", "delete")});
    // Whoever watches `.all` is told once, by the word of its own registration.
    vec![(format!("{module}.{word}"), body.clone()), (format!("{module}.all"), body)]
}

fn pack(packing: &Packing<'_>) -> Outgoing {
    let message = &packing.messages[0];
    let mut body = message.body.clone();
    body["channel_id"] = message.subscription.clone().into();
    body["token"] = packing.subscription.secret.clone().into();
    if packing.tenant.on("edit_words") {
        let word = match body["operation"].as_str() {
            Some("insert") => "create",
            Some("update") => "edit",
            _ => "delete",
        };
        body["operation"] = word.into();
    }
    let query = packing.subscription.url.split_once('?').map_or("", |(_, q)| q);
    let pairs: Map<String, Value> = url::form_urlencoded::parse(query.as_bytes())
        .map(|(n, v)| (n.into_owned(), v.into_owned().into()))
        .collect();
    body["query_params"] = Value::Object(pairs);
    Outgoing::json(&packing.subscription.url, &body)
}
