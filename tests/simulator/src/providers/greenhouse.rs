//! Greenhouse: Harvest v3, newest id first, `Link` with a cursor that stands alone; webhooks by hand with a ping.

use crate::{
    auth::{self, Client, OAuth},
    call::{Call, newest_first, since, until, with},
    clock::{Time, instant},
    provider::{Id, Kind, Limit, Provider, Route, list, subscribe, token},
    rate,
    reply::{Outcome, Outgoing, Reply, ok},
    sign,
    webhooks::{By, EACH, Packing, Subscription, Webhooks, content},
    world::{Action, Change, Tenant},
};
use serde_json::{Value, json};

const LIST: &[&str] = &["per_page", "cursor", "updated_at", "created_at", "ids"];

pub(crate) fn provider() -> Provider {
    let kind = |resource, word, example| {
        Kind::new(resource, word, Id::Number, example)
            .created("created_at", Time::Milliseconds)
            .updated("updated_at", Time::Milliseconds)
    };
    Provider {
        switches: &[("v3_webhooks", "`POST /v3/webhooks`, its list and delete [U]")],
        credentials: &["client_id", "client_secret"],
        kinds: vec![
            kind("ats_candidates", "candidate", CANDIDATE).touch("last_name"),
            kind("ats_jobs", "job", r#"{"name":"Mechanic {n}","status":"open","confidential":false,"departments":[],"offices":[],"custom_fields":{},"opened_at":null}"#),
            kind("ats_applications", "application", APPLICATION).touch("current_stage.name"),
            kind("ats_job_postings", "job_post", r#"{"title":"Mechanic {n}","job_id":"{ats_jobs}","active":true,"live":true,"internal":false,"content":"text","location":{"name":"Here"}}"#).touch("title"),
            kind("ats_interviews", "interview", r#"{"application_id":"{ats_applications}","status":"scheduled","start":{"date_time":"2026-12-01T10:00:00.000Z"},"end":{"date_time":"2026-12-01T11:00:00.000Z"},"interviewers":[]}"#).touch("status"),
            kind("ats_users", "user", r#"{"first_name":"Uma","last_name":"User {n}","primary_email":"u{n}@example.com","disabled":false,"site_admin":false}"#).touch("last_name"),
            kind("ats_lists", "department", r#"{"name":"Department {n}","parent_id":null,"child_ids":[]}"#),
        ],
        routes: vec![
            Route { query: &["grant_type"], ..token("/token", tokens) },
            listed("/v3/candidates", "ats_candidates", |c| listing(c, "ats_candidates")),
            Route { query: &["per_page", "cursor", "updated_at", "created_at", "ids", "candidate_ids", "job_ids", "status"],
                ..listed("/v3/applications", "ats_applications", |c| listing(c, "ats_applications")) },
            listed("/v3/jobs", "ats_jobs", |c| listing(c, "ats_jobs")),
            Route { query: &["per_page", "cursor", "updated_at", "created_at", "ids", "active"],
                ..listed("/v3/job_posts", "ats_job_postings", |c| listing(c, "ats_job_postings")) },
            listed("/v3/interviews", "ats_interviews", |c| listing(c, "ats_interviews")),
            Route { query: &["per_page", "cursor", "updated_at", "created_at", "ids", "show_service_accounts"],
                ..listed("/v3/users", "ats_users", |c| listing(c, "ats_users")) },
            listed("/v3/departments", "ats_lists", |c| listing(c, "ats_lists")),
            list("/v3/offices", |_| ok(json!([]))).query(LIST),
            list("/v3/rejection_reasons", |_| ok(json!([{"id": 1, "name": "Too far away"}]))).query(LIST),
            list("/v3/close_reasons", |_| ok(json!([]))).query(LIST),
            list("/v3/tags", |_| ok(json!([]))).query(LIST),
            list("/v3/scorecards", |_| ok(json!([]))).query(LIST),
            list("/v3/offers", |_| ok(json!([]))).query(LIST),
            subscribe("POST", "/v3/webhooks", create).body(&["name", "endpoint", "secret_key", "event_action_type"]).behind("v3_webhooks"),
            subscribe("GET", "/v3/webhooks", |c| ok(c.tenant.subscriptions.iter().map(hook_json).collect())).behind("v3_webhooks"),
            subscribe("DELETE", "/v3/webhooks/{id}", remove).behind("v3_webhooks"),
        ],
        guard: auth::bearer,
        refuse: |trouble, words| Reply::json(trouble.status(), &json!({"errors": [words]})),
        limit: Some(Limit { most: 150, seconds: 30, headers: rate::x_rate_limit, over: rate::retry_after }),
        webhooks: Some(Webhooks {
            events,
            pack,
            done: |status| status == 200,
            retries: &[60, 900, 3600, 7200, 14400, 28800],
            ping: Some(ping),
            pong: |_, answer| answer.status == 200,
            by: By::Hand,
            ..EACH
        }),
        ..Provider::new("greenhouse", "Greenhouse")
    }
}

const CANDIDATE: &str = r#"{"first_name":"Giuseppe","last_name":"Hurley {n}","company":"Example","title":"Engineer","is_private":false,
"email_addresses":[{"value":"g{n}@example.com","type":"personal"}],"phone_numbers":[{"value":"+155501","type":"mobile"}],
"addresses":[],"social_media_addresses":[],"tags":[],"application_ids":[],"custom_fields":{}}"#;
const APPLICATION: &str = r#"{"candidate_id":"{ats_candidates}","job_id":"{ats_jobs}","prospect":false,"applied_at":"2026-03-26T20:11:39.000Z",
"rejected_at":null,"last_activity_at":"2026-08-27T16:13:15.000Z","source":{"id":1871,"public_name":"Happy <Hour> & more"},
"jobs":[{"id":"{ats_jobs}","name":"Mechanic"}],"job_post_id":null,"status":"active","current_stage":{"id":62828,"name":"Recruiter Phone Screen"},
"answers":[],"custom_fields":{"bio":"short"},"attachments":[]}"#;

const fn listed(path: &'static str, resource: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Route {
    list(path, run).of(resource).query(LIST)
}

fn tokens(call: &mut Call<'_>) -> Outcome {
    let oauth = OAuth {
        seconds: 3600,
        rotates: true,
        client: Client::Basic,
        grants: &["client_credentials", "authorization_code", "refresh_token"],
    };
    let expires = Time::Seconds.text(call.now() + 3_600_000);
    auth::token(call, &oauth, &json!({"expires_at": expires}))
}

/// `gte|A|lte|B`: both bounds, split by bars.
fn bounds(call: &Call<'_>, name: &str) -> Result<(Option<i64>, Option<i64>), Reply> {
    let Some(text) = call.query(name) else { return Ok((None, None)) };
    let parts: Vec<&str> = text.split('|').collect();
    let unclear = || call.bad(&format!("{name} is not understood"));
    let (mut from, mut to) = (None, None);
    for pair in parts.chunks(2) {
        let [operator, time] = pair else { return Err(unclear()) };
        let time = Some(instant(time).ok_or_else(unclear)?);
        match *operator {
            "gte" | "gt" => from = time,
            "lte" | "lt" => to = time,
            _ => return Err(unclear()),
        }
    }
    Ok((from, to))
}

fn listing(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let cursor = call.query("cursor").map(str::to_owned);
    if cursor.is_some() && call.request.query.len() > 1 {
        let words = "When passing a cursor, do not include other query params.";
        return Err(Reply { status: 422, ..call.bad(words) });
    }
    let size = call.number("per_page", 100, 1, 500)?;
    let few = |name: &str| call.query(name).is_some_and(|ids| ids.split(',').count() > 50);
    if few("ids") || few("candidate_ids") || few("job_ids") {
        return Err(call.bad("at most 50 ids"));
    }
    let begin = json!({"size": size, "updated": bounds(call, "updated_at")?, "active": call.query("active"),
        "ids": call.query("ids"), "candidates": call.query("candidate_ids"), "status": call.query("status")});
    let Some((after, carry)) = call.cursor(cursor.as_deref(), begin) else {
        return Err(call.bad("the cursor is not valid"));
    };
    let (from, to): (Option<i64>, Option<i64>) =
        serde_json::from_value(carry["updated"].clone()).unwrap_or_default();
    let mut rows = newest_first(until(since(call.rows(resource), from), to));
    rows = with(with(rows, "active", carry["active"].as_str()), "status", carry["status"].as_str());
    for (filter, field) in [("ids", "id"), ("candidates", "candidate_id")] {
        if let Some(ids) = carry[filter].as_str() {
            rows.retain(|row| ids.split(',').any(|id| id == crate::world::text(&row.body[field])));
        }
    }
    let size = carry["size"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(100);
    let page = call.behind(&rows, after, size, &carry);
    let reply = Reply::json(200, &Value::Array(page.bodies()));
    Ok(match page.next {
        Some(next) => {
            let path = call.request.path.clone();
            reply.with("link", format!("<{}>; rel=\"next\"", call.url(&path, &[("cursor", next)])))
        }
        None => reply,
    })
}

fn hook_json(subscription: &Subscription) -> Value {
    json!({"id": subscription.id.parse::<u64>().unwrap_or(0), "endpoint": subscription.url, "event_action_type": subscription.events[0]})
}

fn create(call: &mut Call<'_>) -> Outcome {
    let url = call.target("endpoint")?;
    let (Some(event), Some(secret)) = (call.field("event_action_type"), call.field("secret_key")) else {
        return Err(call.bad("event_action_type and secret_key are required"));
    };
    let id = call.tenant.next().to_string();
    let made = call.subscribe(id, &url, vec![event]);
    made.secret = secret;
    Ok(Reply::json(201, &hook_json(made)))
}

fn remove(call: &mut Call<'_>) -> Outcome {
    let id = call.hole("id").to_owned();
    call.unsubscribe(&id)?;
    Ok(Reply::empty(204))
}

fn events(_: &Tenant, change: &Change) -> Vec<(String, Value)> {
    let body = content(change);
    let (word, payload) = match change.resource {
        "ats_candidates" => match change.action {
            Action::Created => (
                "new_prospect_application",
                json!({"application": {"id": null, "prospect": true, "candidate": body}}),
            ),
            Action::Updated => ("update_candidate", json!({"candidate": body})),
            Action::Deleted => (
                "delete_candidate",
                json!({"person": {"id": body["id"], "first_name": body["first_name"],
                "last_name": body["last_name"], "deleted_application_ids": []}}),
            ),
        },
        "ats_applications" => {
            let candidate =
                json!({"id": body["candidate_id"], "first_name": "Giuseppe", "last_name": "Hurley"});
            let mut application = body.clone();
            application["candidate"] = candidate;
            let stage = change.fields.iter().any(|f| f == "current_stage");
            let word = match (change.action, body["status"].as_str()) {
                (Action::Created, _) => "new_candidate_application",
                (Action::Deleted, _) => "delete_application",
                (Action::Updated, Some("hired")) => "hire_candidate",
                (Action::Updated, Some("rejected")) => "reject_candidate",
                (Action::Updated, _) => {
                    if stage {
                        "candidate_stage_change"
                    } else {
                        "application_updated"
                    }
                }
            };
            (
                word,
                if word == "delete_application" || word == "application_updated" {
                    application
                } else {
                    json!({"application": application})
                },
            )
        }
        "ats_jobs" => {
            (change.action.choose("job_created", "job_updated", "job_deleted"), json!({"job": body}))
        }
        "ats_job_postings" => {
            (change.action.choose("job_post_created", "job_post_updated", "job_post_deleted"), body.clone())
        }
        "ats_interviews" if change.action == Action::Deleted => ("interview_deleted", body.clone()),
        "ats_lists" if change.action == Action::Deleted => ("department_deleted", body.clone()),
        _ => return Vec::new(),
    };
    vec![(word.to_owned(), json!({"action": word, "payload": payload}))]
}

/// `<`, `>` and `&` are escaped: what is signed is the bytes.
fn signed(subscription: &Subscription, body: &Value) -> Outgoing {
    let mut outgoing = Outgoing::json(&subscription.url, body);
    let text = body.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    outgoing.body = text.into_bytes();
    let signature = sign::hex_sha256(&subscription.secret, &outgoing.body);
    outgoing.with("signature", format!("sha256 {signature}"))
}

fn ping(subscription: &Subscription) -> Outgoing {
    signed(subscription, &json!({"action": "ping", "payload": {"name": "Simulated"}}))
}

fn pack(packing: &Packing<'_>) -> Outgoing {
    signed(packing.subscription, &packing.messages[0].body)
        .with("greenhouse-event-id", &packing.messages[0].id)
}
