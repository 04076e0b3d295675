//! Workable: a walk by `since_id` with the next URL in the body, ten requests in ten seconds; subscriptions by API, a target each.

use crate::{
    auth,
    call::{Call, since},
    clock::Time,
    provider::{Id, Kind, Limit, Provider, get, list, subscribe},
    rate,
    reply::{Outcome, Outgoing, Reply, ok},
    sign,
    webhooks::{EACH, Packing, Webhooks, content},
    world::{Action, Change, Tenant},
};
use serde_json::{Value, json};

const CANDIDATES: &str = "ats_candidates";
const JOBS: &str = "ats_jobs";
const EMPLOYEES: &str = "hris_employees";
const EVENTS: &[&str] = &[
    "candidate_created",
    "candidate_moved",
    "candidate_deleted",
    "job_deleted",
    "employee_created",
    "employee_updated",
    "employee_published",
    "onboarding_completed",
    "timeoff_updated",
    "timeoff_request_approved",
    "timeoff_request_reverted",
];

pub(crate) fn provider() -> Provider {
    let kind = |resource, word, example| {
        Kind::new(resource, word, Id::Hex(8), example)
            .created("created_at", Time::Seconds)
            .updated("updated_at", Time::Seconds)
    };
    Provider {
        credentials: &["account_token"],
        kinds: vec![
            kind(JOBS, "job", r#"{"shortcode":"9CD658{n}","title":"Account Executive {n}","full_title":"Account Executive {n}","state":"published","department":"Sales","location":{"city":"Athens"}}"#).touch("title"),
            kind(CANDIDATES, "candidate", r#"{"name":"Elvie Schmidt {n}","firstname":"Elvie","lastname":"Schmidt {n}","headline":"Sales Executive","account":{"subdomain":"{tenant}","name":"Acme"},"job":{"shortcode":"9CD658E13E","title":"Account Executive"},"stage":"Assessment","stage_kind":"assessment","disqualified":false,"disqualification_reason":null,"hired_at":null,"sourced":false,"profile_url":"https://workable.example.com/{n}","email":"e{n}@example.com","phone":"+18579909675"}"#).touch("stage"),
            kind("ats_interviews", "event", r#"{"title":"Interview {n}","type":"interview","starts_at":"2026-12-01T10:00:00Z","ends_at":"2026-12-01T11:00:00Z","cancelled":false,"members":[]}"#).touch("title"),
            kind("ats_users", "member", r#"{"name":"Uma User {n}","email":"u{n}@example.com","role":"simple","active":true}"#),
            kind(EMPLOYEES, "employee", r#"{"firstname":"Edda","lastname":"Employee {n}","email":"e{n}@example.com","state":"published","job_title":"Engineer"}"#).touch("job_title"),
        ],
        routes: vec![
            list("/spi/v3/candidates", |c| listing(c, CANDIDATES, "candidates")).of(CANDIDATES).query(&["limit", "since_id", "max_id", "updated_after", "created_after", "shortcode", "stage"]),
            list("/spi/v3/jobs", |c| listing(c, JOBS, "jobs")).of(JOBS).query(&["limit", "since_id", "max_id", "updated_after", "created_after", "state", "include_fields"]),
            list("/spi/v3/events", |c| listing(c, "ats_interviews", "events")).of("ats_interviews").query(&["limit", "since_id", "type"]),
            list("/spi/v3/members", |c| listing(c, "ats_users", "members")).of("ats_users").query(&["limit", "since_id", "status"]),
            list("/spi/v3/employees", employees).of(EMPLOYEES).query(&["limit", "offset"]),
            list("/spi/v3/stages", |_| ok(json!({"stages": [{"slug": "sourced", "name": "Sourced", "kind": "sourced", "position": 0}]}))),
            list("/spi/v3/disqualification_reasons", |_| ok(json!({"disqualification_reasons": [{"id": "1", "name": "Overqualified"}]}))),
            list("/spi/v3/departments", |_| ok(json!([{"id": "1", "name": "Sales", "parent_id": null}]))),
            get("/spi/v3/candidates/{id}", |c| ok(json!({"candidate": c.get(CANDIDATES)?}))).of(CANDIDATES),
            get("/spi/v3/jobs/{id}", job).of(JOBS),
            get("/spi/v3/employees/{id}", |c| ok(c.get(EMPLOYEES)?)).of(EMPLOYEES),
            get("/spi/v3/accounts", |c| ok(json!({"accounts": [{"id": "1", "name": "Acme", "subdomain": c.tenant.name}]}))),
            subscribe("POST", "/spi/v3/subscriptions", create).body(&["target", "event", "args"]),
            subscribe("GET", "/spi/v3/subscriptions", hooks),
            subscribe("DELETE", "/spi/v3/subscriptions/{id}", |call| {
                let id = call.hole("id").to_owned();
                call.unsubscribe(&id)?;
                Ok(Reply::empty(204))
            }),
        ],
        guard: |call| auth::header(call, "authorization", "Bearer ", "account_token"),
        limit: Some(Limit { most: 10, seconds: 10, headers: rate::x_rate_limit_dashed, over: rate::silent }),
        webhooks: Some(Webhooks { events, pack, done: |status| status == 200, retries: &[60, 300, 1800], ..EACH }),
        ..Provider::new("workable", "Workable")
    }
}

/// By id; the last page has no `paging`.
fn listing(call: &mut Call<'_>, resource: &'static str, word: &str) -> Outcome {
    let size = call.number("limit", 50, 1, 100)?;
    let (from, made) = (call.time("updated_after")?, call.time("created_after")?);
    let mut rows = since(call.rows(resource), from.map(|t| t + 1));
    rows.retain(|row| made.is_none_or(|made| row.created > made));
    if let Some(state) = call.query("state").map(str::to_owned) {
        rows = crate::call::with(rows, "state", Some(&state));
    }
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    // since_id is the first of the next page.
    let begin = call
        .query("since_id")
        .map_or(Some(0), |id| rows.iter().position(|row| row.id.as_str() >= id))
        .unwrap_or(rows.len());
    let page = call.window(&rows, begin, size);
    let mut body = json!({word: page.bodies()});
    if let Some(row) = page.next.and_then(|next| rows.get(next)) {
        body["paging"] = json!({"next": call.again(&[("since_id", row.id.clone())])});
    }
    ok(body)
}

fn employees(call: &mut Call<'_>) -> Outcome {
    let (size, from) = (call.number("limit", 50, 1, 100)?, call.number("offset", 0, 0, usize::MAX / 2)?);
    let rows = call.rows(EMPLOYEES);
    let page = call.window(&rows, from, size);
    ok(json!({"employees": page.bodies(), "total": page.total}))
}

fn job(call: &mut Call<'_>) -> Outcome {
    let wanted = call.hole("id").to_owned();
    let mut rows = call.rows(JOBS).into_iter();
    let found = rows.find(|row| row.id == wanted || row.body["shortcode"] == json!(wanted));
    ok(found.ok_or_else(|| call.missing())?.body)
}

fn create(call: &mut Call<'_>) -> Outcome {
    let url = call.target("target")?;
    let Some(event) = call.field("event").filter(|e| EVENTS.contains(&e.as_str())) else {
        return Err(call.bad("event is not known"));
    };
    let args = call.fields().get("args").cloned();
    let of_candidates = event.starts_with("candidate_") || event.starts_with("job_");
    if of_candidates != args.as_ref().is_some_and(|a| a.get("account_id").is_some()) {
        return Err(Reply { status: 422, ..call.bad("args go with candidate events alone") });
    }
    if call.tenant.subscriptions.iter().any(|s| s.url == url) {
        return Err(Reply { status: 409, ..call.bad("the target is used") });
    }
    let id = (104_000 + call.tenant.next()).to_string();
    let key = call.tenant.credentials.get("account_token").cloned().unwrap_or_default();
    let made = call.subscribe(id.clone(), &url, vec![event]);
    made.secret = key;
    Ok(Reply::json(201, &json!({"id": id.parse::<u64>().unwrap_or(0)})))
}

fn hooks(call: &mut Call<'_>) -> Outcome {
    let all = call.tenant.subscriptions.iter().map(|s| {
        json!({"id": s.id.parse::<u64>().unwrap_or(0), "event": s.events[0], "target": s.url, "valid_until": null,
            "created_at": Time::Milliseconds.text(s.created), "stage_slug": null, "job_shortcode": null})
    });
    ok(json!({"subscriptions": all.collect::<Vec<_>>()}))
}

fn events(tenant: &Tenant, change: &Change) -> Vec<(String, Value)> {
    let word = match (change.resource, change.action) {
        (CANDIDATES, Action::Updated) if !change.fields.iter().any(|f| f == "stage") => return Vec::new(),
        (CANDIDATES, action) => action.choose("candidate_created", "candidate_moved", "candidate_deleted"),
        (JOBS, Action::Deleted) => "job_deleted",
        (EMPLOYEES, Action::Created | Action::Updated) => {
            change.action.choose("employee_created", "employee_updated", "")
        }
        _ => return Vec::new(),
    };
    let body = content(change);
    let kind = word.split('_').next().unwrap_or_default();
    let id =
        crate::sign::digest(&format!("{}/{}/{word}", tenant.name, change.number + change.at.unsigned_abs()));
    vec![(
        word.to_owned(),
        json!({"id": id[..32], "event_type": word, "fired_at": Time::Milliseconds.text(change.at), "resource_type": kind, "data": body}),
    )]
}

fn pack(packing: &Packing<'_>) -> Outgoing {
    let outgoing = Outgoing::json(&packing.subscription.url, &packing.messages[0].body);
    let signature = sign::hex_sha256(&packing.subscription.secret, &outgoing.body);
    outgoing.with("x-workable-signature", signature)
}
