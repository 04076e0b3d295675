//! Box: folders by marker, a stream of events by position, trash beside it; refresh tokens good once; webhooks on a folder,
//! signed with two keys of the app.

use crate::{
    auth::{self, Client, OAuth},
    call::Call,
    clock::Time,
    provider::{Id, Kind, Limit, Provider, Trouble, authorize, feed, get, list, other, subscribe, token},
    rate,
    reply::{Outcome, Outgoing, Reply, ok},
    sign,
    webhooks::{EACH, Packing, Subscription, Webhooks, content},
    world::{Action, Change, Tenant},
};
use serde_json::{Value, json};

const FILES: &str = "documents_files";
const FOLDERS: &str = "documents_folders";
const BOTH: &[&str] = &[FOLDERS, FILES];
const ZONE: Time = Time::Zone(-7);

pub(crate) fn provider() -> Provider {
    let kind = |resource, word, example| {
        Kind::new(resource, word, Id::Digits, example)
            .created("created_at", ZONE)
            .updated("modified_at", ZONE)
            .parent("parent.id")
    };
    Provider {
        credentials: &["client_id", "client_secret"],
        kinds: vec![
            kind(FOLDERS, "folder", r#"{"type":"folder","etag":"0","sequence_id":"0","name":"test {n}","size":0,"trashed_at":null,"parent":{"type":"folder","id":"0","name":"All Files"},"owned_by":{"type":"user","id":"51155487851","name":"Test User","login":"api@example.com"},"item_status":"active"}"#),
            kind(FILES, "file", r#"{"type":"file","etag":"0","sequence_id":"0","sha1":"33ccb23eac228a94054d9f027b6ed9664c3b2d10","name":"test-file {n}.txt","size":36,"trashed_at":null,"parent":{"type":"folder","id":"0","name":"All Files"},"owned_by":{"type":"user","id":"51155487851","name":"Test User","login":"api@example.com"},"item_status":"active"}"#),
        ],
        routes: vec![
            token("/oauth2/token", |call| {
                let oauth = OAuth { seconds: 3600, rotates: true, client: Client::Form, grants: &["authorization_code", "refresh_token", "client_credentials"] };
                if call.field("grant_type").as_deref() == Some("client_credentials") && call.field("box_subject_id").is_none() {
                    return Err(Reply::json(400, &json!({"error": "invalid_grant", "error_description": "box_subject_type and box_subject_id are required"})));
                }
                auth::token(call, &oauth, &json!({"restricted_to": []}))
            }),
            authorize("/api/oauth2/authorize"),
            list("/2.0/folders/trash/items", trash).query(&["limit", "marker", "usemarker", "fields", "offset"]),
            list("/2.0/folders/{folder}/items", items).of(FILES).query(&["limit", "marker", "usemarker", "fields", "offset", "sort", "direction"]),
            feed("/2.0/events", stream).of(FILES).query(&["stream_type", "stream_position", "limit"]),
            other("OPTIONS", "/2.0/events", |c| ok(json!({"chunk_size": 1, "entries": [{"type": "realtime_server", "url": c.request.base, "ttl": "10", "max_retries": "10", "retry_timeout": 610}]}))),
            get("/2.0/files/{id}", |c| ok(c.get(FILES)?)).of(FILES).query(&["fields"]),
            get("/2.0/folders/{id}", folder).of(FOLDERS).query(&["fields", "limit", "offset"]),
            get("/2.0/users/me", |_| ok(json!({"type": "user", "id": "51155487851", "name": "Test User", "login": "api@example.com"}))).query(&["fields"]),
            subscribe("POST", "/2.0/webhooks", create).body(&["target", "address", "triggers"]),
            subscribe("GET", "/2.0/webhooks", |c| ok(json!({"entries": c.tenant.subscriptions.iter().map(hook_json).collect::<Vec<_>>(), "limit": 1000, "next_marker": null}))).query(&["limit", "marker"]),
            subscribe("GET", "/2.0/webhooks/{id}", |c| ok(hook_json(c.subscription(c.hole("id")).ok_or_else(|| c.missing())?))),
            subscribe("PUT", "/2.0/webhooks/{id}", replace).body(&["target", "address", "triggers"]),
            subscribe("DELETE", "/2.0/webhooks/{id}", |call| {
                let id = call.hole("id").to_owned();
                call.unsubscribe(&id)?;
                Ok(Reply::empty(204))
            }),
        ],
        guard: auth::bearer,
        refuse: |trouble, words| {
            let code = match trouble {
                Trouble::Unauthorized => "unauthorized",
                Trouble::Forbidden => "access_denied_insufficient_permissions",
                Trouble::NotFound => "not_found",
                Trouble::BadRequest => "bad_request",
                Trouble::Limited => "rate_limit_exceeded",
                Trouble::Broken => "internal_server_error",
            };
            Reply::json(trouble.status(), &json!({"type": "error", "status": trouble.status(), "code": code, "message": words, "request_id": "r1"}))
        },
        limit: Some(Limit { most: 1000, seconds: 60, headers: rate::silent, over: rate::retry_after }),
        webhooks: Some(Webhooks { events, pack, retries: &[30, 60, 120, 240, 480, 600, 600, 900, 900, 900, 900, 900], ..EACH }),
        ..Provider::new("box", "Box")
    }
}

fn items(call: &mut Call<'_>) -> Outcome {
    let size = call.number("limit", 100, 1, 1000)?;
    let folder = call.hole("folder").to_owned();
    if folder != "0" && call.one(FOLDERS, &folder).is_none() {
        return Err(call.missing());
    }
    if call.query("usemarker") != Some("true") {
        return Err(call.bad("only paging by marker is simulated"));
    }
    let marker = call.query("marker").filter(|m| !m.is_empty()).map(str::to_owned);
    let Some((after, carry)) = call.cursor(marker.as_deref(), Value::Null) else {
        return Err(call.bad("marker is not valid"));
    };
    let mut rows = call.rows_of(BOTH);
    rows.retain(|row| row.body["parent"]["id"] == json!(folder));
    let page = call.behind(&rows, after, size, &carry);
    let asked = call.query("fields").map(|f| f.split(',').map(str::to_owned).collect::<Vec<_>>());
    let entries: Vec<Value> = page
        .rows
        .iter()
        .map(|row| {
            let mut chosen = json!({"type": row.body["type"], "id": row.id, "etag": row.body["etag"]});
            let every = ["sequence_id", "name", "sha1"].map(str::to_owned).to_vec();
            for field in asked.clone().unwrap_or(every) {
                if let Some(value) = row.body.get(&field) {
                    chosen[field] = value.clone();
                }
            }
            chosen
        })
        .collect();
    let mut body = json!({"entries": entries, "limit": size});
    if let Some(next) = page.next {
        body["next_marker"] = next.into();
    }
    ok(body)
}

fn trash(call: &mut Call<'_>) -> Outcome {
    let gone: Vec<Value> = BOTH
        .iter()
        .flat_map(|resource| call.all(resource, true))
        .map(|row| {
            let mut body = row.body;
            (body["item_status"], body["trashed_at"]) = ("trashed".into(), ZONE.json(row.updated));
            body
        })
        .collect();
    ok(json!({"entries": gone, "limit": 1000, "next_marker": null}))
}

/// Positions are large numbers that go up with the log; the end is where one is given back.
fn stream(call: &mut Call<'_>) -> Outcome {
    const FIRST: usize = 30_401_068_076_164_269;
    let size = call.number("limit", 100, 1, 500)?;
    if !matches!(call.query("stream_type"), Some("changes" | "all" | "sync")) {
        return Err(call.bad("stream_type is changes"));
    }
    let position = |n: usize| (FIRST + n).to_string();
    let from = match call.query("stream_position") {
        Some("now") => {
            return ok(json!({"chunk_size": 0, "next_stream_position": position(call.end()), "entries": []}));
        }
        None | Some("0") => 0,
        Some(text) => text
            .parse::<usize>()
            .ok()
            .and_then(|n| n.checked_sub(FIRST))
            .filter(|n| *n <= call.end())
            .ok_or_else(|| call.bad("stream_position is not valid"))?,
    };
    let word = |change: &Change| match (change.action, change.resource) {
        (Action::Created, FILES) => "ITEM_UPLOAD",
        (Action::Created, _) => "ITEM_CREATE",
        (Action::Updated, _) if change.fields.iter().any(|f| f == "name") => "ITEM_RENAME",
        (Action::Updated, FILES) => "ITEM_UPLOAD",
        (Action::Updated, _) => "ITEM_MODIFY",
        (Action::Deleted, _) => "ITEM_TRASH",
    };
    let empty = call.bites(&crate::fault::FaultKind::Empty);
    let changes: Vec<&Change> =
        call.tenant.log.iter().skip(from).take(if empty { 0 } else { size }).collect();
    let entry = |change: &&Change| {
        let mut source = content(change).clone();
        if change.action == Action::Deleted {
            source["item_status"] = "trashed".into();
        }
        json!({"type": "event", "event_id": &sign::digest(&format!("{}/{}", change.id, change.at))[..40], "event_type": word(change),
            "created_at": ZONE.text(change.at), "created_by": {"type": "user", "id": "51155487851"}, "source": source})
    };
    let entries: Vec<Value> = changes.iter().map(entry).collect();
    let to = if call.bites(&crate::fault::FaultKind::RepeatCursor) { from } else { from + changes.len() };
    ok(json!({"chunk_size": entries.len(), "next_stream_position": position(to), "entries": entries}))
}

fn folder(call: &mut Call<'_>) -> Outcome {
    if call.hole("id") == "0" {
        return ok(
            json!({"type": "folder", "id": "0", "name": "All Files", "parent": null, "item_status": "active"}),
        );
    }
    ok(call.get(FOLDERS)?)
}

fn hook_json(subscription: &Subscription) -> Value {
    json!({"id": subscription.id, "type": "webhook", "target": subscription.extra.get("target"), "address": subscription.url, "triggers": subscription.events,
        "created_by": {"type": "user", "id": "51155487851"}, "created_at": ZONE.text(subscription.created)})
}

fn triggers(call: &Call<'_>) -> Vec<String> {
    call.fields()
        .get("triggers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(crate::world::text)
        .collect()
}

/// The root takes none.
fn create(call: &mut Call<'_>) -> Outcome {
    let (url, events) = (call.target("address")?, triggers(call));
    let target = call.fields().get("target").cloned().unwrap_or(Value::Null);
    let id = crate::world::text(&target["id"]);
    let there = call.one(FOLDERS, &id).is_some() && target["type"] == "folder"
        || call.one(FILES, &id).is_some() && target["type"] == "file";
    if events.is_empty() || !there {
        return Err(call.bad("target is a file or folder that is there, not the root; triggers are required"));
    }
    if call.tenant.subscriptions.iter().any(|s| s.url == url && s.extra.get("target") == Some(&target)) {
        return Err(Reply { status: 409, ..call.bad("a webhook with this target and address exists") });
    }
    call.quota(1000, Reply { status: 400, ..call.bad("the limit of webhooks is reached") })?;
    let secret = call.app.client_secret.clone();
    let hook = (11_446_000 + call.tenant.next()).to_string();
    let made = call.subscribe(hook, &url, events);
    made.secret = secret;
    made.extra.insert("target".into(), target);
    Ok(Reply::json(201, &hook_json(made)))
}

fn replace(call: &mut Call<'_>) -> Outcome {
    let url = if call.field("address").is_some() { Some(call.target("address")?) } else { None };
    let (id, missing, events) = (call.hole("id").to_owned(), call.missing(), triggers(call));
    let found = call.tenant.subscriptions.iter_mut().find(|s| s.id == id).ok_or(missing)?;
    found.url = url.unwrap_or_else(|| found.url.clone());
    if !events.is_empty() {
        found.events = events;
    }
    ok(hook_json(found))
}

fn events(_: &Tenant, change: &Change) -> Vec<(String, Value)> {
    let word = match (change.resource, change.action) {
        (FILES, Action::Created) => "FILE.UPLOADED",
        (FILES, Action::Deleted) => "FILE.TRASHED",
        (FILES, _) if change.fields.iter().any(|f| f == "name") => "FILE.RENAMED",
        (FILES, _) if change.fields.iter().any(|f| f == "parent") => "FILE.MOVED",
        (FILES, _) => "FILE.UPLOADED",
        (_, Action::Created) => "FOLDER.CREATED",
        (_, Action::Deleted) => "FOLDER.TRASHED",
        _ if change.fields.iter().any(|f| f == "parent") => "FOLDER.MOVED",
        _ => "FOLDER.RENAMED",
    };
    let body = json!({"type": "webhook_event", "created_at": ZONE.text(change.at), "trigger": word,
        "created_by": {"type": "user", "id": "51155487851", "name": "Test User", "login": "api@example.com"}, "source": content(change), "additional_info": []});
    vec![(word.to_owned(), body)]
}

/// The second key signs beside the first: either may be in the middle of a change.
fn pack(packing: &Packing<'_>) -> Outgoing {
    let message = &packing.messages[0];
    let mut body = message.body.clone();
    (body["id"], body["webhook"]) =
        (message.id.clone().into(), json!({"id": message.subscription, "type": "webhook"}));
    let outgoing = Outgoing::json(&packing.subscription.url, &body);
    let timestamp = ZONE.text(packing.now);
    let signed = [outgoing.body.as_slice(), timestamp.as_bytes()].concat();
    let second = format!("{}-second", packing.subscription.secret);
    outgoing
        .with("box-delivery-id", format!("{}-{}", message.id, message.attempt))
        .with("box-delivery-timestamp", timestamp)
        .with("box-signature-version", "1")
        .with("box-signature-algorithm", "HmacSHA256")
        .with("box-signature-primary", sign::base64_sha256(&packing.subscription.secret, &signed))
        .with("box-signature-secondary", sign::base64_sha256(&second, &signed))
}
