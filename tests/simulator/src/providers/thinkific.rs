//! Thinkific: page numbers with `meta.pagination`, a key and a subdomain in headers; webhooks by API, signed over the body.

use crate::{
    auth::{self, Client, OAuth},
    call::{Call, since, with},
    clock::Time,
    provider::{Id, Kind, Limit, Provider, Trouble, authorize, get, list, subscribe, token},
    rate,
    reply::{Outcome, Outgoing, Reply, ok},
    sign,
    webhooks::{EACH, Packing, Subscription, Webhooks, content},
    world::{Action, Change, Tenant},
};
use serde_json::{Value, json};

const USERS: &str = "lms_users";
const COURSES: &str = "lms_courses";
const ENROLLMENTS: &str = "lms_assignments";
const COMPLETIONS: &str = "lms_completions";
const TOPICS: &[&str] = &[
    "user.signup",
    "user.signin",
    "user.updated",
    "enrollment.created",
    "enrollment.progress",
    "enrollment.completed",
    "course.created",
    "course.updated",
    "course.deleted",
    "lesson.completed",
    "order.created",
];

pub(crate) fn provider() -> Provider {
    Provider {
        switches: &[("course_topics", "`course.created`, `.updated`, `.deleted` topics [U]")],
        credentials: &["api_key", "subdomain"],
        kinds: vec![
            Kind::new(USERS, "user", Id::Number, r#"{"first_name":"Uma","last_name":"User {n}","email":"u{n}@example.com","company":null,"roles":[],"external_source":null}"#).created("created_at", Time::Milliseconds).touch("last_name"),
            Kind::new(COURSES, "course", Id::Number, r#"{"name":"Course {n}","slug":"course-{n}","subtitle":null,"product_id":1,"description":"text","course_card_image_url":null,"instructor_id":null,"chapter_ids":[]}"#),
            Kind::new(ENROLLMENTS, "enrollment", Id::Number, r#"{"user_id":"{lms_users}","course_id":"{lms_courses}","user_email":"u@example.com","course_name":"Course","activated_at":"2026-01-01T00:00:00.000Z","percentage_completed":"0.0","completed":false,"completed_at":null,"expired":false,"is_free_trial":false}"#)
                .created("created_at", Time::Milliseconds).updated("updated_at", Time::Milliseconds).touch("percentage_completed").parent("course_id"),
            Kind::new(COMPLETIONS, "enrollment", Id::Number, r#"{"user_id":"{lms_users}","course_id":"{lms_courses}","user_email":"u@example.com","course_name":"Course","percentage_completed":"1.0","completed":true,"completed_at":"2026-02-01T00:00:00.000Z"}"#)
                .created("created_at", Time::Milliseconds).updated("updated_at", Time::Milliseconds).touch("user_email").parent("course_id"),
        ],
        routes: vec![
            token("/oauth2/token", |call| {
                let oauth = OAuth { seconds: 86_400, rotates: true, client: Client::Basic, grants: &["authorization_code", "refresh_token"] };
                auth::token(call, &oauth, &json!({"gid": call.tenant.name}))
            }),
            authorize("/oauth2/authorize"),
            list("/api/public/v1/users", |c| listing(c, &[USERS])).of(USERS).query(&["page", "limit", "query[email]"]),
            list("/api/public/v1/courses", |c| listing(c, &[COURSES])).of(COURSES).query(&["page", "limit"]),
            list("/api/public/v1/enrollments", |c| listing(c, &[ENROLLMENTS, COMPLETIONS])).of(ENROLLMENTS)
                .query(&["page", "limit", "query[user_id]", "query[course_id]", "query[updated_after]", "query[updated_on_or_after]", "query[completed]"]),
            get("/api/public/v1/users/{id}", |c| ok(c.get(USERS)?)).of(USERS),
            get("/api/public/v1/courses/{id}", |c| ok(c.get(COURSES)?)).of(COURSES),
            get("/api/public/v1/enrollments/{id}", |c| ok(c.get(ENROLLMENTS).or_else(|_| c.get(COMPLETIONS))?)).of(ENROLLMENTS),
            subscribe("POST", "/api/v2/webhooks", create).body(&["topic", "target_url"]),
            subscribe("GET", "/api/v2/webhooks", hooks).query(&["page", "limit"]),
            subscribe("GET", "/api/v2/webhooks/{id}", |c| ok(hook_json(c.subscription(c.hole("id")).ok_or_else(|| c.missing())?))),
            subscribe("PUT", "/api/v2/webhooks/{id}", replace).body(&["topic", "target_url"]),
            subscribe("DELETE", "/api/v2/webhooks/{id}", |call| {
                let id = call.hole("id").to_owned();
                call.unsubscribe(&id)?;
                Ok(Reply::empty(204))
            }),
        ],
        guard: |call| {
            if call.header("authorization").is_some() {
                return auth::header(call, "authorization", "Bearer ", "api_key").or_else(|_| auth::bearer(call));
            }
            auth::header(call, "x-auth-api-key", "", "api_key")?;
            auth::header(call, "x-auth-subdomain", "", "subdomain")
        },
        refuse: |trouble: Trouble, words| Reply::json(trouble.status(), &json!({"error": words})),
        limit: Some(Limit { most: 120, seconds: 60, headers: rate::silent, over: rate::retry_after }),
        webhooks: Some(Webhooks { events, pack, retries: &[60, 600, 3600, 14_400], ..EACH }),
        ..Provider::new("thinkific", "Thinkific")
    }
}

fn listing(call: &mut Call<'_>, resources: &[&'static str]) -> Outcome {
    let (size, number) = (call.number("limit", 25, 1, 250)?, call.number("page", 1, 1, usize::MAX / 500)?);
    let from =
        call.time("query[updated_after]")?.map(|at| at + 1).or(call.time("query[updated_on_or_after]")?);
    let mut rows = since(call.rows_of(resources), from);
    for (name, field) in [
        ("query[email]", "email"),
        ("query[user_id]", "user_id"),
        ("query[course_id]", "course_id"),
        ("query[completed]", "completed"),
    ] {
        rows = with(rows, field, call.query(name));
    }
    let page = call.window(&rows, (number - 1) * size, size);
    let next = page.next.map(|next| next / size + 1);
    ok(json!({"items": page.bodies(), "meta": {"pagination": {"current_page": number, "next_page": next,
        "prev_page": (number > 1).then(|| number - 1), "total_pages": rows.len().div_ceil(size), "total_items": page.total}}}))
}

fn hook_json(subscription: &Subscription) -> Value {
    json!({"id": subscription.id, "topic": subscription.events[0], "target_url": subscription.url, "created_at": Time::Milliseconds.text(subscription.created)})
}

fn create(call: &mut Call<'_>) -> Outcome {
    let url = call.target("target_url")?;
    let known = |t: &String| {
        TOPICS.contains(&t.as_str()) && (call.tenant.on("course_topics") || !t.starts_with("course."))
    };
    let Some(topic) = call.field("topic").filter(known) else {
        return Err(Reply { status: 422, ..call.bad("topic is not known") });
    };
    // An app's hooks are signed with its secret; those of a key, with the key.
    let own = call.tenant.credentials.get("api_key").cloned().unwrap_or_default();
    let of_app = call.header("authorization").is_some_and(|h| h != format!("Bearer {own}"));
    let (id, secret) =
        (call.tenant.uuid("webhook"), if of_app { call.app.client_secret.clone() } else { own });
    let made = call.subscribe(id, &url, vec![topic]);
    made.secret = secret;
    Ok(Reply::json(201, &hook_json(made)))
}

fn hooks(call: &mut Call<'_>) -> Outcome {
    let all: Vec<Value> = call.tenant.subscriptions.iter().map(hook_json).collect();
    ok(
        json!({"items": all, "meta": {"pagination": {"has_next": false, "next_page": null, "page_items": all.len(), "total_items": all.len(), "total_pages": 1}}}),
    )
}

fn replace(call: &mut Call<'_>) -> Outcome {
    let (url, id, missing, topic) =
        (call.target("target_url")?, call.hole("id").to_owned(), call.missing(), call.field("topic"));
    let found = call.tenant.subscriptions.iter_mut().find(|s| s.id == id).ok_or(missing)?;
    found.url = url;
    if let Some(topic) = topic {
        found.events = vec![topic];
    }
    ok(hook_json(found))
}

fn events(tenant: &Tenant, change: &Change) -> Vec<(String, Value)> {
    let body = content(change);
    let (resource, action) = match (change.resource, change.action) {
        (USERS, Action::Created) => ("user", "signup"),
        (USERS, Action::Updated) => ("user", "updated"),
        (ENROLLMENTS, Action::Created) => ("enrollment", "created"),
        (ENROLLMENTS, Action::Updated) if body["completed"] == json!(true) => ("enrollment", "completed"),
        (ENROLLMENTS, Action::Updated) => ("enrollment", "progress"),
        (COMPLETIONS, Action::Created) => ("enrollment", "completed"),
        (COURSES, action) => ("course", action.word()),
        _ => return Vec::new(),
    };
    let body = json!({"resource": resource, "action": action, "tenant_id": tenant.number.to_string(), "created_at": Time::Milliseconds.text(change.at), "payload": body});
    vec![(format!("{resource}.{action}"), body)]
}

fn pack(packing: &Packing<'_>) -> Outgoing {
    let mut body = packing.messages[0].body.clone();
    body["id"] = packing.messages[0].id.clone().into();
    let outgoing = Outgoing::json(&packing.subscription.url, &body);
    let signature = sign::hex_sha256(&packing.subscription.secret, &outgoing.body);
    outgoing.with("x-thinkific-hmac-sha256", signature)
}
