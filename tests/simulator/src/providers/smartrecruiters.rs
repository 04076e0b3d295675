//! SmartRecruiters: candidates by page id, jobs by offset; subscriptions that begin inactive, a handshake, secrets in a row.

use crate::{
    auth,
    call::{Call, since},
    clock::Time,
    provider::{Id, Kind, Limit, Provider, Window, get, list, subscribe},
    rate,
    reply::{Handshake, Outcome, Outgoing, Reply, ok},
    sign,
    webhooks::{EACH, Packing, Subscription, Webhooks, content},
    world::{Change, Tenant},
};
use serde_json::{Value, json};

const CANDIDATES: &str = "ats_candidates";
const JOBS: &str = "ats_jobs";
const APPLICATIONS: &str = "ats_applications";

pub(crate) fn provider() -> Provider {
    let kind = |resource, word, example| {
        Kind::new(resource, word, Id::Uuid, example)
            .created("createdOn", Time::Milliseconds)
            .updated("updatedOn", Time::Milliseconds)
    };
    Provider {
        switches: &[("alert_email_address", "`alertEmailAddress` instead of `alertingEmailAddress` in a subscription [U]")],
        credentials: &["api_key"],
        kinds: vec![
            kind(JOBS, "job", r#"{"title":"Nurse {n}","refNumber":"R{n}","status":"SOURCING","postingStatus":"PUBLIC","department":{"id":"1","label":"Care"},"location":{"country":"us","city":"Austin"}}"#).touch("title"),
            kind(CANDIDATES, "candidate", r#"{"firstName":"Amy","lastName":"Chen {n}","email":"a{n}@example.com","phoneNumber":"+1 555 0100","location":{"country":"USA","city":"Austin"},"primaryAssignment":{"job":{"id":"{ats_jobs}","title":"Nurse"},"status":"IN_REVIEW","subStatus":"Phone screen"},"secondaryAssignments":[],"tags":[]}"#).touch("lastName"),
            kind(APPLICATIONS, "application", r#"{"candidateId":"{ats_candidates}","jobId":"{ats_jobs}","status":"IN_REVIEW","subStatus":"Phone screen"}"#).touch("subStatus").parent("candidateId"),
            kind("ats_job_postings", "posting", r#"{"name":"Nurse {n}","jobId":"{ats_jobs}","releasedDate":"2026-02-01T10:00:00.000Z","location":{"city":"Austin"}}"#),
            kind("ats_users", "user", r#"{"firstName":"Uma","lastName":"User {n}","email":"u{n}@example.com","active":true}"#).touch("lastName"),
        ],
        routes: vec![
            list("/candidates", candidates).of(CANDIDATES).query(&["limit", "pageId", "updatedAfter"]),
            get("/candidates/{id}", |c| ok(c.get(CANDIDATES)?)).of(CANDIDATES),
            get("/candidates/{candidate}/jobs/{job}", application).of(APPLICATIONS),
            list("/jobs", |c| offset(c, JOBS)).of(JOBS).query(&["limit", "offset", "updatedAfter"]),
            get("/jobs/{id}", |c| ok(c.get(JOBS)?)).of(JOBS),
            list("/v1/companies/{company}/postings", |c| offset(c, "ats_job_postings")).of("ats_job_postings").query(&["limit", "offset"]),
            list("/user-api/v201804/users", |c| offset(c, "ats_users")).of("ats_users").query(&["limit", "offset"]),
            subscribe("POST", "/webhooks-api/v201907/subscriptions", create).body(&["callbackUrl", "events", "alertingEmailAddress", "alertEmailAddress"]),
            subscribe("GET", "/webhooks-api/v201907/subscriptions", |c| ok(json!({"content": c.tenant.subscriptions.iter().map(hook_json).collect::<Vec<_>>()}))).query(&["limit", "offset"]),
            subscribe("GET", "/webhooks-api/v201907/subscriptions/{id}", |c| ok(hook_json(c.subscription(c.hole("id")).ok_or_else(|| c.missing())?))),
            subscribe("PUT", "/webhooks-api/v201907/subscriptions/{id}/activation", activate),
            subscribe("POST", "/webhooks-api/v201907/subscriptions/{id}/secret-key", secret),
            subscribe("DELETE", "/webhooks-api/v201907/subscriptions/{id}", |call| {
                let id = call.hole("id").to_owned();
                call.unsubscribe(&id)?;
                Ok(Reply::empty(204))
            }),
        ],
        guard: |call| auth::header(call, "x-smarttoken", "", "api_key"),
        refuse: |trouble, words| Reply::json(trouble.status(), &json!({"message": words, "errors": [{"code": "SIMULATED", "message": words}]})),
        limit: Some(Limit { most: 10, seconds: 1, headers, over: rate::silent }),
        webhooks: Some(Webhooks { events, pack, done: |status| status == 202, retries: &[60, 180, 600, 2700, 7200, 14_400, 28_800, 43_200, 64_800, 86_400], gives_up: Some("suspended"), ..EACH }),
        ..Provider::new("smartrecruiters", "SmartRecruiters")
    }
}

fn headers(window: &Window) -> Vec<(&'static str, String)> {
    vec![("x-ratelimit-limit", window.most.to_string()), ("x-ratelimit-remaining", window.left.to_string())]
}

fn candidates(call: &mut Call<'_>) -> Outcome {
    let size = call.number("limit", 10, 1, 100)?;
    let from = call.time("updatedAfter")?;
    let page_id = call.query("pageId").map(str::to_owned);
    let Some((after, carry)) = call.cursor(page_id.as_deref(), Value::Null) else {
        return Err(call.bad("pageId is not valid"));
    };
    let rows = since(call.rows(CANDIDATES), from);
    let page = call.behind(&rows, after, size, &carry);
    let mut body = json!({"limit": size, "totalFound": page.total, "content": page.bodies()});
    if let Some(next) = page.next {
        body["nextPageId"] = next.into();
    }
    ok(body)
}

fn offset(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let (size, from) = (call.number("limit", 10, 1, 100)?, call.number("offset", 0, 0, usize::MAX / 2)?);
    let after = call.time("updatedAfter")?;
    let rows = since(call.rows(resource), after);
    let page = call.window(&rows, from, size);
    ok(json!({"limit": size, "offset": from, "totalFound": page.total, "content": page.bodies()}))
}

fn application(call: &mut Call<'_>) -> Outcome {
    let (candidate, job) = (json!(call.hole("candidate")), json!(call.hole("job")));
    let mut rows = call.rows(APPLICATIONS).into_iter();
    let found = rows.find(|row| row.body["candidateId"] == candidate && row.body["jobId"] == job);
    ok(found.ok_or_else(|| call.missing())?.body)
}

fn hook_json(subscription: &Subscription) -> Value {
    let events: Vec<Value> =
        subscription.events.iter().map(|name| json!({"name": name, "version": "v201910"})).collect();
    json!({"id": subscription.id, "callbackUrl": subscription.url, "events": events, "status": subscription.status})
}

fn create(call: &mut Call<'_>) -> Outcome {
    let url = call.target("callbackUrl")?;
    let spelling =
        if call.tenant.on("alert_email_address") { "alertEmailAddress" } else { "alertingEmailAddress" };
    let events: Vec<String> = call
        .fields()
        .get("events")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(crate::world::text)
        .collect();
    if events.is_empty() || call.field(spelling).is_none() {
        return Err(call.bad(&format!("callbackUrl, events and {spelling} are required")));
    }
    let id = call.tenant.uuid("subscription");
    let made = call.subscribe(id, &url, events);
    made.status = "inactive".into();
    made.secret = String::new();
    Ok(Reply::json(201, &hook_json(made)))
}

/// The URL must give back what it is sent, within 20 s.
fn activate(call: &mut Call<'_>) -> Outcome {
    let subscription = call.subscription(call.hole("id")).cloned().ok_or_else(|| call.missing())?;
    let value = call.tenant.opaque("hook");
    let send = Outgoing { method: "POST", url: subscription.url, headers: Vec::new(), body: Vec::new() }
        .with("x-hook-secret", &value);
    let finish = Box::new(move |call: &mut Call<'_>, answer: &crate::reply::Answer| {
        if answer.status != 200 || answer.header("x-hook-secret") != Some(&value) {
            return call.bad("the callback URL did not answer the handshake");
        }
        if let Some(found) = call.tenant.subscriptions.iter_mut().find(|s| s.id == subscription.id) {
            found.status = "active".into();
        }
        Reply::empty(204)
    });
    Ok(Reply { handshake: Some(Box::new(Handshake { send, finish })), ..Reply::empty(500) })
}

/// A new key; the one before stays good for a day, so that both sign.
fn secret(call: &mut Call<'_>) -> Outcome {
    let (id, missing, key, now) =
        (call.hole("id").to_owned(), call.missing(), call.tenant.opaque("secret"), call.now());
    let found = call.tenant.subscriptions.iter_mut().find(|s| s.id == id).ok_or(missing)?;
    if !found.secret.is_empty() {
        found.extra.insert("old".into(), found.secret.clone().into());
        found.extra.insert("old_until".into(), (now + 86_400_000).into());
    }
    found.secret.clone_from(&key);
    ok(json!({"secretKey": key}))
}

fn events(_: &Tenant, change: &Change) -> Vec<(String, Value)> {
    let body = content(change);
    let action = change.action.word();
    let (event, ids, link) = match (change.resource, action) {
        (JOBS, "created" | "updated") => {
            (format!("job.{action}"), json!({"job_id": change.id}), format!("/jobs/{}", change.id))
        }
        (CANDIDATES, _) => (
            format!("candidate.{action}"),
            json!({"candidate_id": change.id}),
            format!("/candidates/{}", change.id),
        ),
        (APPLICATIONS, "created" | "updated") => {
            let (candidate, job) =
                (crate::world::text(&body["candidateId"]), crate::world::text(&body["jobId"]));
            let word = if action == "created" { "application.created" } else { "application.status.updated" };
            (
                word.to_owned(),
                json!({"job_id": job, "candidate_id": candidate}),
                format!("/candidates/{candidate}/jobs/{job}"),
            )
        }
        _ => return Vec::new(),
    };
    vec![(event, json!({"link": link, "ids": ids}))]
}

fn pack(packing: &Packing<'_>) -> Outgoing {
    let (message, subscription) = (&packing.messages[0], packing.subscription);
    let outgoing = Outgoing::json(&subscription.url, &message.body["ids"]);
    let timestamp = packing.now.div_euclid(1000);
    let link = format!(
        "<https://api.smartrecruiters.com{}>; rel=\"self\"",
        crate::world::text(&message.body["link"])
    );
    let signed = [
        timestamp.to_string(),
        String::from_utf8_lossy(&outgoing.body).into_owned(),
        message.id.clone(),
        message.event.clone(),
        "v201910".into(),
        link.clone(),
    ]
    .join(".");
    let old = subscription
        .extra
        .get("old")
        .filter(|_| subscription.extra["old_until"].as_i64() > Some(packing.tenant.clock.now()));
    let keys = std::iter::once(subscription.secret.clone()).chain(old.map(crate::world::text));
    let signatures: Vec<String> =
        keys.map(|key| format!("v1={}", sign::hex_sha256(&key, signed.as_bytes()))).collect();
    outgoing
        .with("smartrecruiters-timestamp", timestamp)
        .with("smartrecruiters-signature", signatures.join(";"))
        .with("event-id", &message.id)
        .with("event-name", &message.event)
        .with("event-version", "v201910")
        .with("link", link)
}
