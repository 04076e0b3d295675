//! Ashby: everything is a POST; cursors, and sync tokens that the last page gives; errors come as 200; webhooks by API.

use crate::{
    auth,
    call::Call,
    clock::Time,
    provider::{Id, Kind, Limit, Provider, Route, Trouble, get, search, subscribe},
    rate,
    reply::{Outcome, Outgoing, Reply, ok},
    sign,
    webhooks::{EACH, Packing, Subscription, Webhooks, content},
    world::{Change, Tenant},
};
use serde_json::{Value, json};

const LIST: &[&str] = &[
    "limit",
    "cursor",
    "syncToken",
    "createdAfter",
    "status",
    "jobId",
    "includeDeactivated",
    "includeArchived",
    "expand",
];
const CREATABLE: &[&str] = &[
    "applicationSubmit",
    "applicationUpdate",
    "candidateHire",
    "candidateStageChange",
    "candidateDelete",
    "candidateMerge",
    "interviewPlanTransition",
    "interviewScheduleCreate",
    "interviewScheduleUpdate",
    "jobPostingUpdate",
    "jobPostingPublish",
    "jobPostingUnpublish",
    "offerCreate",
    "offerUpdate",
    "offerDelete",
    "pushToHRIS",
    "surveySubmit",
];

pub(crate) fn provider() -> Provider {
    let kind = |resource, word, example| {
        Kind::new(resource, word, Id::Uuid, example)
            .created("createdAt", Time::Milliseconds)
            .updated("updatedAt", Time::Milliseconds)
    };
    Provider {
        credentials: &["api_key"],
        kinds: vec![
            kind("ats_candidates", "candidate", CANDIDATE),
            kind("ats_jobs", "job", r#"{"title":"Engineer {n}","status":"Open","departmentId":"d1","locationId":"l1","confidential":false}"#).touch("title"),
            kind("ats_applications", "application", APPLICATION).touch("currentInterviewStage.title"),
            kind("ats_interviews", "interviewSchedule", r#"{"status":"Scheduled","applicationId":"{ats_applications}","interviewEvents":[]}"#).touch("status"),
            kind("ats_job_postings", "jobPosting", r#"{"title":"Engineer {n}","jobId":"{ats_jobs}","isListed":true,"employmentType":"FullTime"}"#).touch("title"),
            kind("ats_lists", "project", r#"{"title":"Project {n}","isArchived":false}"#).touch("title"),
            Kind::new("ats_users", "user", Id::Uuid, r#"{"firstName":"Uma","lastName":"User {n}","email":"u{n}@example.com","isEnabled":true,"globalRole":"Elevated Access"}"#)
                .updated("updatedAt", Time::Milliseconds)
                .touch("lastName"),
            Kind::new("ats_assessments", "assessment", Id::Uuid, r#"{"name":"Assessment {n}"}"#),
        ],
        routes: vec![
            listed("/candidate.list", "ats_candidates", |c| list(c, "ats_candidates")),
            listed("/application.list", "ats_applications", |c| list(c, "ats_applications")),
            listed("/interviewSchedule.list", "ats_interviews", |c| list(c, "ats_interviews")),
            listed("/job.list", "ats_jobs", |c| list(c, "ats_jobs")),
            listed("/user.list", "ats_users", |c| list(c, "ats_users")),
            listed("/project.list", "ats_lists", |c| list(c, "ats_lists")),
            listed("/assessment.list", "ats_assessments", |c| list(c, "ats_assessments")),
            search("/jobPosting.list", postings).of("ats_job_postings").body(&["listedOnly"]),
            info("/candidate.info", &["id"], |c| one(c, "ats_candidates", "id")).of("ats_candidates"),
            info("/application.info", &["applicationId", "expand"], |c| one(c, "ats_applications", "applicationId")).of("ats_applications"),
            info("/job.info", &["id", "expand"], |c| one(c, "ats_jobs", "id")).of("ats_jobs"),
            info("/user.info", &["userId"], |c| one(c, "ats_users", "userId")).of("ats_users"),
            info("/jobPosting.info", &["jobPostingId"], |c| one(c, "ats_job_postings", "jobPostingId")).of("ats_job_postings"),
            info("/apiKey.info", &[], |_| ok(json!({"success": true, "results": {"title": "Simulated"}}))),
            subscribe("POST", "/webhook.create", create).body(&["webhookType", "requestUrl", "secretToken"]),
            subscribe("POST", "/webhook.info", hook).body(&["webhookId"]),
            subscribe("POST", "/webhook.update", update).body(&["webhookId", "enabled", "requestUrl", "secretToken"]),
            subscribe("POST", "/webhook.delete", delete).body(&["webhookId"]),
        ],
        guard: |call| {
            auth::must(call, "accept", Some("application/json; version=1"))?;
            let refused = |_| match call.header("authorization") {
                None => call.refuse(Trouble::Unauthorized, "missing API key"),
                Some(_) => Reply::text(403, "Forbidden"),
            };
            auth::key_as_user(call, "api_key").map_err(refused)?;
            if call.request.body.is_empty() { Err(call.bad("a JSON body is required")) } else { Ok(()) }
        },
        refuse: |trouble, words| match trouble {
            Trouble::Unauthorized | Trouble::Forbidden | Trouble::Limited | Trouble::NotFound => Reply::text(trouble.status(), words),
            _ => failed("invalid_input", words).with("x-simulator-status", trouble.status()),
        },
        limit: Some(Limit { most: 1000, seconds: 60, headers: rate::silent, over: rate::retry_after }),
        webhooks: Some(Webhooks { events, pack, retries: &[60, 300, 1800], ping: Some(ping), ..EACH }),
        ..Provider::new("ashby", "Ashby")
    }
}

const CANDIDATE: &str = r#"{"name":"Test User {n}","primaryEmailAddress":{"value":"u{n}@example.com","type":"Personal","isPrimary":true},
"emailAddresses":[{"value":"u{n}@example.com","type":"Personal","isPrimary":true}],"phoneNumbers":[],"socialLinks":[],"tags":[],
"position":"Engineer","company":"Example","applicationIds":[],"customFields":[]}"#;
const APPLICATION: &str = r#"{"archivedAt":null,"status":"Active","candidate":{"id":"{ats_candidates}","name":"Test User"},
"currentInterviewStage":{"id":"c1","title":"Phone Screen","type":"Active","interviewPlanId":"p1","orderInInterviewPlan":2},
"source":{"id":"s1","title":"Applied","isArchived":false},"archiveReason":null,"job":{"id":"{ats_jobs}","title":"Engineer"},
"creditedToUser":null,"hiringTeam":[],"customFields":[]}"#;

const fn listed(path: &'static str, resource: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Route {
    search(path, run).of(resource).body(LIST)
}

const fn info(path: &'static str, body: &'static [&'static str], run: fn(&mut Call<'_>) -> Outcome) -> Route {
    get(path, run).posted().body(body)
}

/// Errors come as 200.
fn failed(code: &str, words: &str) -> Reply {
    Reply::json(
        200,
        &json!({"success": false, "errors": [code], "errorInfo": {"code": code, "message": words, "requestId": "r1"}}),
    )
}

fn list(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let size = call.bounded(call.field("limit"), "limit", 100, 1, 100)?;
    let (cursor, sync) = (call.field("cursor"), call.field("syncToken"));
    if let Some(token) = &sync {
        let known = call.recall(token).is_some();
        if !known {
            return Err(failed("sync_token_expired", "the sync token has expired"));
        }
        let at = cursor.as_ref().unwrap_or(token);
        let Some((changes, next)) = call.stretch(&[resource], at, size) else {
            return Err(failed("next_cursor_expired", "the cursor has expired"));
        };
        let results: Vec<Value> = changes.into_iter().filter_map(|c| c.row).map(|row| row.body).collect();
        return ok(match next {
            Ok(next) => {
                json!({"success": true, "results": results, "moreDataAvailable": true, "nextCursor": next})
            }
            Err(end) => {
                let token = call.remember(&json!({"log": end}));
                json!({"success": true, "results": results, "moreDataAvailable": false, "syncToken": token})
            }
        });
    }
    let begin = json!(call.end());
    let Some((after, carry)) = call.cursor(cursor.as_deref(), begin) else {
        return Err(failed("invalid_next_cursor", "the cursor is not valid"));
    };
    let mut rows = call.rows(resource);
    if let Some(from) = call.fields().get("createdAfter") {
        let from = from.as_i64().ok_or_else(|| call.bad("createdAfter is a number of milliseconds"))?;
        rows.retain(|row| row.created >= from);
    }
    if let Some(wanted) = call.fields().get("status") {
        let one_of =
            |status: &Value| wanted == status || wanted.as_array().is_some_and(|all| all.contains(status));
        rows.retain(|row| one_of(&row.body["status"]));
    }
    let page = call.behind(&rows, after, size, &carry);
    let mut body =
        json!({"success": true, "results": page.bodies(), "moreDataAvailable": page.next.is_some()});
    match page.next {
        Some(next) => body["nextCursor"] = next.into(),
        None => body["syncToken"] = call.remember(&json!({"log": carry})).into(),
    }
    ok(body)
}

fn postings(call: &mut Call<'_>) -> Outcome {
    let listed = call.field("listedOnly").as_deref() == Some("true");
    let rows = call.rows("ats_job_postings").into_iter().map(|row| row.body);
    let shown: Vec<Value> = rows.filter(|body| !listed || body["isListed"] == json!(true)).collect();
    ok(json!({"success": true, "results": shown, "moreDataAvailable": false}))
}

fn one(call: &mut Call<'_>, resource: &'static str, field: &str) -> Outcome {
    let row = call.one(resource, &call.field(field).unwrap_or_default());
    let row = row.ok_or_else(|| failed("not_found", "there is no such record"))?;
    ok(json!({"success": true, "results": row.body}))
}

fn hook_json(subscription: &Subscription) -> Value {
    json!({"id": subscription.id, "enabled": subscription.status == "active", "requestUrl": subscription.url,
        "secretToken": subscription.secret, "webhookType": subscription.events[0]})
}

fn create(call: &mut Call<'_>) -> Outcome {
    let url = call.target("requestUrl")?;
    let event = call.field("webhookType").filter(|t| CREATABLE.contains(&t.as_str()));
    let (Some(event), Some(secret)) = (event, call.field("secretToken")) else {
        return Err(call.bad("webhookType, requestUrl and secretToken are required"));
    };
    let id = call.tenant.uuid("webhook");
    let made = call.subscribe(id, &url, vec![event]);
    made.secret = secret;
    ok(json!({"success": true, "results": hook_json(made)}))
}

fn found(call: &Call<'_>) -> Result<Subscription, Reply> {
    let id = call.field("webhookId").unwrap_or_default();
    call.subscription(&id).cloned().ok_or_else(|| failed("webhook_not_found", "there is no such webhook"))
}

fn hook(call: &mut Call<'_>) -> Outcome {
    ok(json!({"success": true, "results": hook_json(&found(call)?)}))
}

fn update(call: &mut Call<'_>) -> Outcome {
    let mut new = found(call)?;
    if call.field("requestUrl").is_some() {
        new.url = call.target("requestUrl")?;
    }
    new.secret = call.field("secretToken").unwrap_or(new.secret);
    if let Some(enabled) = call.field("enabled") {
        new.status = if enabled == "true" { "active" } else { "disabled" }.into();
    }
    let body = hook_json(&new);
    call.tenant.subscriptions.retain(|s| s.id != new.id);
    call.tenant.subscriptions.push(new);
    ok(json!({"success": true, "results": body}))
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let id = found(call)?.id;
    call.tenant.subscriptions.retain(|s| s.id != id);
    ok(json!({"success": true, "results": {"webhookId": id}}))
}

/// One change fans out to its related hooks, all with one `webhookActionId`.
fn events(_: &Tenant, change: &Change) -> Vec<(String, Value)> {
    let body = content(change);
    let words: &[&str] = match (change.resource, change.action.word()) {
        ("ats_candidates", "deleted") => &["candidateDelete"],
        ("ats_applications", "created") => &["applicationSubmit"],
        ("ats_applications", "updated") if body["status"] == json!("Hired") => {
            &["candidateHire", "candidateStageChange", "applicationUpdate"]
        }
        ("ats_applications", "updated") if change.fields.iter().any(|f| f == "currentInterviewStage") => {
            &["candidateStageChange", "applicationUpdate"]
        }
        ("ats_applications", "updated") => &["applicationUpdate"],
        ("ats_interviews", "created") => &["interviewScheduleCreate", "interviewScheduleUpdate"],
        ("ats_interviews", "updated") => &["interviewScheduleUpdate"],
        ("ats_job_postings", "created") => &["jobPostingPublish", "jobPostingUpdate"],
        ("ats_job_postings", "updated") => &["jobPostingUpdate"],
        ("ats_job_postings", "deleted") => &["jobPostingUnpublish", "jobPostingUpdate"],
        ("ats_jobs", "created") => &["jobCreate"],
        ("ats_jobs", "updated") => &["jobUpdate"],
        _ => &[],
    };
    let id = &sign::digest(&format!("{}/{}", change.id, change.at))[..32];
    let data = match change.resource {
        "ats_candidates" => json!({"candidate": {"id": change.id}}),
        "ats_interviews" => json!({"interviewSchedule": body}),
        "ats_job_postings" => json!({"jobPosting": body}),
        "ats_jobs" => json!({"job": body}),
        _ => json!({"application": body}),
    };
    let told =
        |word: &&str| ((*word).to_owned(), json!({"webhookActionId": id, "action": word, "data": data}));
    words.iter().map(told).collect()
}

fn ping(subscription: &Subscription) -> Outgoing {
    let of = subscription.events.first().map_or("ping", String::as_str);
    signed(subscription, &json!({"action": "ping", "data": {"webhookActionType": of}}))
}

fn signed(subscription: &Subscription, body: &Value) -> Outgoing {
    let outgoing = Outgoing::json(&subscription.url, body);
    let signature = sign::hex_sha256(&subscription.secret, &outgoing.body);
    outgoing.with("ashby-signature", format!("sha256={signature}"))
}

fn pack(packing: &Packing<'_>) -> Outgoing {
    signed(packing.subscription, &packing.messages[0].body)
}
