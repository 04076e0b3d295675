//! 360Learning: bare arrays with `Link`, a version header, filters in brackets; subscriptions by API, Standard Webhooks.

use crate::{
    auth::{self, Client, OAuth},
    call::{Call, since},
    clock::Time,
    provider::{Id, Kind, Provider, get, list, subscribe, token},
    reply::{Outcome, Outgoing, Reply, ok},
    sign,
    webhooks::{EACH, Packing, Subscription, Webhooks, content},
    world::{Action, Change, Tenant},
};
use serde_json::{Value, json};

const USERS: &str = "lms_users";
const COURSES: &str = "lms_courses";
const SESSIONS: &str = "lms_assignments";
const STATS: &str = "lms_completions";
const MODIFIED: &[&str] = &["modifiedAt[gte]", "modifiedAt[lt]", "cursor", "status[eq]", "status[ne]"];

pub(crate) fn provider() -> Provider {
    let kind = |resource, word, example| {
        Kind::new(resource, word, Id::Hex(24), example)
            .id_at("_id")
            .created("createdAt", Time::Milliseconds)
            .updated("modifiedAt", Time::Milliseconds)
    };
    Provider {
        credentials: &["client_id", "client_secret"],
        kinds: vec![
            Kind::new(USERS, "user", Id::Hex(24), r#"{"firstName":"Uma","lastName":"User {n}","mail":"u{n}@example.com","status":"active","lang":"en","deletedAt":null}"#).id_at("_id").created("createdAt", Time::Milliseconds).touch("lastName"),
            kind(COURSES, "course", r#"{"name":"Onboarding {n}","status":"published","type":"native","authorId":"507f191e810c19729de860ea","groupId":"507f191e810c19729de860eb","duration":1800,"sourceLang":"en"}"#),
            kind("lms_content", "path", r#"{"name":"Path {n}","status":"active","authorId":"507f191e810c19729de860ea"}"#),
            kind(SESSIONS, "session", r#"{"pathId":"{lms_content}","startDate":"2026-01-01T00:00:00.000Z","endDate":null,"status":"open","coaches":[]}"#).touch("status"),
            Kind::new(STATS, "stat", Id::Hex(24), r#"{"courseId":"{lms_courses}","userId":"{lms_users}","progress":100,"score":90,"timeSpent":600}"#).id_at("_id").updated("completedAt", Time::Milliseconds).touch("score"),
        ],
        routes: vec![
            token("/api/v2/oauth2/token", |call| {
                version(call)?;
                auth::token(call, &OAuth { seconds: 3600, rotates: false, client: Client::Json, grants: &["client_credentials"] }, &Value::Null)
            }),
            list("/api/v2/users", |c| listing(c, USERS, 500)).of(USERS).query(&["status[eq]", "mail[eq]", "cursor"]),
            list("/api/v2/courses", |c| listing(c, COURSES, 500)).of(COURSES).query(MODIFIED),
            list("/api/v2/courses/stats", |c| listing(c, STATS, 500)).of(STATS).query(&["completedAt[gte]", "completedAt[lt]", "cursor"]),
            list("/api/v2/paths", |c| listing(c, "lms_content", 200)).of("lms_content").query(MODIFIED),
            list("/api/v2/paths/sessions", |c| listing(c, SESSIONS, 500)).of(SESSIONS).query(MODIFIED),
            list("/api/v2/paths/stats", |_| ok(json!([]))).query(&["completedAt[gte]", "cursor"]),
            list("/api/v2/paths/{path}/enrollments", |_| ok(json!([]))).query(&["cursor"]),
            get("/api/v2/users/{id}", |c| ok(c.get(USERS)?)).of(USERS),
            get("/api/v2/courses/{id}", |c| ok(c.get(COURSES)?)).of(COURSES),
            get("/api/v2/paths/{id}", |c| ok(c.get("lms_content")?)).of("lms_content"),
            subscribe("POST", "/api/v2/webhooks/subscriptions", create).body(&["eventType", "name", "url"]),
            subscribe("GET", "/api/v2/webhooks/subscriptions", hooks).query(&["eventType"]),
            subscribe("GET", "/api/v2/webhooks/subscriptions/{id}", |c| ok(hook_json(c.subscription(c.hole("id")).ok_or_else(|| c.missing())?))),
            subscribe("PATCH", "/api/v2/webhooks/subscriptions/{id}", patch).body(&["name", "status", "url"]),
            subscribe("DELETE", "/api/v2/webhooks/subscriptions/{id}", |call| {
                let id = call.hole("id").to_owned();
                call.unsubscribe(&id)?;
                Ok(Reply::empty(204))
            }),
            subscribe("GET", "/api/v2/webhooks/subscriptions/{id}/secrets", |c| ok(json!({"secret": c.subscription(c.hole("id")).ok_or_else(|| c.missing())?.secret}))),
            subscribe("POST", "/api/v2/webhooks/subscriptions/{id}/secrets/rotate", rotate),
        ],
        guard: |call| {
            version(call)?;
            auth::bearer(call)
        },
        webhooks: Some(Webhooks { events, pack, retries: &[5, 300, 1800, 7200, 18_000], ..EACH }),
        ..Provider::new("360learning", "360Learning")
    }
}

fn version(call: &Call<'_>) -> Result<(), Reply> {
    auth::must(call, "360-api-version", Some("v2.0"))
}

/// The server says how many a page has.
fn listing(call: &mut Call<'_>, resource: &'static str, size: usize) -> Outcome {
    let whole = |at: Option<i64>| at.map(|at| at - at.rem_euclid(1000));
    let named = if resource == STATS {
        ["completedAt[gte]", "completedAt[lt]"]
    } else {
        ["modifiedAt[gte]", "modifiedAt[lt]"]
    };
    let (from, to) = (whole(call.time(named[0])?), whole(call.time(named[1])?));
    let cursor = call.query("cursor").map(str::to_owned);
    let Some((after, carry)) = call.cursor(cursor.as_deref(), Value::Null) else {
        return Err(call.bad("the cursor is not valid"));
    };
    // What is deleted stays in view, with its status.
    let mut rows = call.rows(resource);
    if [USERS, COURSES].contains(&resource) && !call.bites(&crate::fault::FaultKind::Empty) {
        rows.extend(call.all(resource, true).into_iter().map(|mut row| {
            row.body["status"] = "deleted".into();
            row.body["deletedAt"] = Time::Milliseconds.json(row.updated);
            row
        }));
        rows.sort_by_key(|row| row.key);
    }
    rows = since(rows, from);
    rows.retain(|row| to.is_none_or(|to| row.updated < to));
    rows = crate::call::with(rows, "status", call.query("status[eq]"));
    rows = crate::call::with(rows, "mail", call.query("mail[eq]"));
    if let Some(not) = call.query("status[ne]") {
        rows.retain(|row| row.body["status"] != json!(not));
    }
    let page = call.behind(&rows, after, size, &carry);
    let reply = Reply::json(200, &Value::Array(page.bodies()));
    Ok(match page.next {
        Some(next) => {
            let url = call.again(&[("cursor", next)]);
            reply.with("link", format!("<{url}>; rel=\"next\""))
        }
        None => reply,
    })
}

fn hook_json(subscription: &Subscription) -> Value {
    json!({"_id": subscription.id, "eventType": subscription.events[0], "name": subscription.extra.get("name"), "url": subscription.url, "status": subscription.status})
}

fn fresh(tenant: &mut Tenant) -> String {
    format!("whsec_{}", sign::base64_text(&tenant.opaque("secret")))
}

fn create(call: &mut Call<'_>) -> Outcome {
    let url = call.target("url")?;
    let (Some(event), Some(name)) = (call.field("eventType"), call.field("name")) else {
        return Err(call.bad("eventType, name and url are required"));
    };
    let (id, secret) = (call.tenant.opaque("webhook")[..24].to_owned(), fresh(call.tenant));
    let made = call.subscribe(id, &url, vec![event]);
    made.secret = secret;
    made.extra.insert("name".into(), name.into());
    Ok(Reply::json(201, &hook_json(made)))
}

fn hooks(call: &mut Call<'_>) -> Outcome {
    let wanted = call.query("eventType");
    ok(call
        .tenant
        .subscriptions
        .iter()
        .filter(|s| wanted.is_none_or(|w| s.events[0] == w))
        .map(hook_json)
        .collect())
}

fn patch(call: &mut Call<'_>) -> Outcome {
    let url = if call.field("url").is_some() { Some(call.target("url")?) } else { None };
    let (id, missing, status, name) =
        (call.hole("id").to_owned(), call.missing(), call.field("status"), call.field("name"));
    let found = call.tenant.subscriptions.iter_mut().find(|s| s.id == id).ok_or(missing)?;
    found.url = url.unwrap_or_else(|| found.url.clone());
    found.status = status.unwrap_or_else(|| found.status.clone());
    if let Some(name) = name {
        found.extra.insert("name".into(), name.into());
    }
    ok(hook_json(found))
}

fn rotate(call: &mut Call<'_>) -> Outcome {
    let (id, missing, secret) = (call.hole("id").to_owned(), call.missing(), fresh(call.tenant));
    let found = call.tenant.subscriptions.iter_mut().find(|s| s.id == id).ok_or(missing)?;
    found.secret.clone_from(&secret);
    ok(json!({"secret": secret}))
}

fn events(_: &Tenant, change: &Change) -> Vec<(String, Value)> {
    let body = content(change);
    let (event, data) = match (change.resource, change.action) {
        (USERS, action) => (format!("user.{}", action.word()), json!({"userId": change.id})),
        ("lms_content", action) => (format!("path.{}", action.word()), json!({"pathId": change.id})),
        (SESSIONS, Action::Created) => {
            ("path.session.added".into(), json!({"pathId": body["pathId"], "pathSessionId": change.id}))
        }
        (SESSIONS, Action::Deleted) => {
            ("path.session.removed".into(), json!({"pathId": body["pathId"], "pathSessionId": change.id}))
        }
        (STATS, Action::Created) => (
            "course.attempt.closed".into(),
            json!({"attemptId": change.id, "closedAt": body["completedAt"], "userId": body["userId"], "courseId": body["courseId"], "reason": "learnerFinished"}),
        ),
        _ => return Vec::new(),
    };
    vec![(event.clone(), json!({"type": event, "timestamp": change.at.div_euclid(1000), "data": data}))]
}

fn pack(packing: &Packing<'_>) -> Outgoing {
    let message = &packing.messages[0];
    let outgoing = Outgoing::json(&packing.subscription.url, &message.body);
    let (id, timestamp) = (format!("msg_{}", message.id), packing.now.div_euclid(1000));
    let signature = sign::standard(&packing.subscription.secret, &id, timestamp, &outgoing.body);
    outgoing.with("webhook-id", id).with("webhook-timestamp", timestamp).with("webhook-signature", signature)
}
