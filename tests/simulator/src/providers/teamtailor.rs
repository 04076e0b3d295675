//! Teamtailor: JSON:API with page numbers and `links.next`, a version header; its callbacks' signed text isn't verified.

use crate::{
    auth,
    call::{Call, Row, since},
    clock::Time,
    provider::{Id, Kind, Limit, Provider, get, list},
    rate,
    reply::{Outcome, Outgoing, Reply, ok},
    sign,
    webhooks::{By, EACH, Packing, Webhooks, content},
    world::{Change, Tenant},
};
use serde_json::{Value, json};

const LIST: &[&str] =
    &["page[size]", "page[number]", "filter[updated-at][from]", "filter[updated-at][to]", "sort", "include"];

pub(crate) fn provider() -> Provider {
    let kind = |resource, word, example| {
        Kind::new(resource, word, Id::Digits, example)
            .created("created-at", Time::Milliseconds)
            .updated("updated-at", Time::Milliseconds)
    };
    Provider {
        switches: &[("company_webhooks", "webhooks by hand, `signature` in the body over the payload's text [U]")],
        credentials: &["api_key"],
        kinds: vec![
            kind("ats_candidates", "candidates", r#"{"first-name":"Astrid","last-name":"Berg {n}","email":"a{n}@example.com","phone":"+46701234567","pitch":null,"tags":[],"sourced":false}"#).touch("last-name"),
            kind("ats_jobs", "jobs", r#"{"title":"Designer {n}","body":"text","status":"open","human-status":"published","employment-type":"fulltime","internal":false}"#).touch("title"),
            kind("ats_applications", "job-applications", r#"{"cover-letter":null,"rejected-at":null,"sourced":false,"job_id":"{ats_jobs}","candidate_id":"{ats_candidates}"}"#).touch("cover-letter"),
            kind("ats_users", "users", r#"{"name":"Uma User {n}","email":"u{n}@example.com","role":"user","title":"Recruiter"}"#),
        ],
        routes: vec![
            list("/v1/candidates", |c| listing(c, "ats_candidates")).of("ats_candidates").query(LIST),
            list("/v1/jobs", |c| listing(c, "ats_jobs")).of("ats_jobs").query(LIST),
            list("/v1/job-applications", |c| listing(c, "ats_applications")).of("ats_applications").query(LIST),
            list("/v1/users", |c| listing(c, "ats_users")).of("ats_users").query(LIST),
            get("/v1/candidates/{id}", |c| one(c, "ats_candidates")).of("ats_candidates").query(&["include"]),
            get("/v1/jobs/{id}", |c| one(c, "ats_jobs")).of("ats_jobs").query(&["include"]),
            get("/v1/job-applications/{id}", |c| one(c, "ats_applications")).of("ats_applications").query(&["include"]),
            get("/v1/users/{id}", |c| one(c, "ats_users")).of("ats_users"),
            get("/v1/company", |c| ok(json!({"data": {"id": c.tenant.number.to_string(), "type": "companies", "attributes": {"name": c.tenant.name}}}))),
        ],
        guard: |call| {
            auth::must(call, "x-api-version", None)?;
            auth::header(call, "authorization", "Token token=", "api_key")
        },
        refuse: |trouble, words| Reply::json(trouble.status(), &json!({"errors": [{"title": words, "status": trouble.status().to_string()}]})),
        limit: Some(Limit { most: 50, seconds: 10, headers: rate::x_rate_limit_dashed, over: rate::silent }),
        webhooks: Some(Webhooks { events, pack, by: By::Hand, ..EACH }),
        ..Provider::new("teamtailor", "Teamtailor")
    }
}

/// `{id, type, attributes, relationships}`: what is named `x_id` is a relation.
fn document(word: &str, body: &Value) -> Value {
    let (mut attributes, mut relationships) = (serde_json::Map::new(), serde_json::Map::new());
    for (name, value) in body.as_object().into_iter().flatten() {
        match name.strip_suffix("_id") {
            Some(of) => {
                let data = json!({"id": crate::world::text(value), "type": format!("{of}s")});
                relationships
                    .insert(of.to_owned(), json!({"data": if value.is_null() { Value::Null } else { data }}));
            }
            None if name == "id" => {}
            None => {
                attributes.insert(name.clone(), value.clone());
            }
        }
    }
    json!({"id": body["id"], "type": word, "attributes": attributes, "relationships": relationships})
}

fn word(call: &Call<'_>, resource: &str) -> &'static str {
    call.provider.kind(resource).map_or("", |kind| kind.word)
}

fn listing(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let (size, number) =
        (call.number("page[size]", 10, 1, 30)?, call.number("page[number]", 1, 1, usize::MAX / 100)?);
    let from = call.time("filter[updated-at][from]")?;
    let mut rows: Vec<Row> = since(call.rows(resource), from);
    if let Some(to) = call.time("filter[updated-at][to]")? {
        rows.retain(|row| row.updated <= to);
    }
    let page = call.window(&rows, (number - 1) * size, size);
    let word = word(call, resource);
    let data: Vec<Value> = page.rows.iter().map(|row| document(word, &row.body)).collect();
    let mut links = json!({"first": call.again(&[("page[number]", "1".into())])});
    if let Some(next) = page.next {
        links["next"] = call.again(&[("page[number]", (next / size + 1).to_string())]).into();
    }
    ok(
        json!({"data": data, "links": links, "meta": {"record-count": page.total, "page-count": rows.len().div_ceil(size)}}),
    )
}

fn one(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let word = word(call, resource);
    ok(json!({"data": document(word, &call.get(resource)?)}))
}

fn events(tenant: &Tenant, change: &Change) -> Vec<(String, Value)> {
    let (word, kind) = match change.resource {
        "ats_candidates" => ("candidate", "candidates"),
        "ats_jobs" => ("job", "jobs"),
        "ats_applications" => ("job_application", "job-applications"),
        _ => return Vec::new(),
    };
    if !tenant.on("company_webhooks") {
        return Vec::new();
    }
    let event = format!("{word}.{}", change.action.choose("create", "update", "destroy"));
    vec![(event.clone(), json!({"event_name": event, "data": document(kind, content(change))}))]
}

fn pack(packing: &Packing<'_>) -> Outgoing {
    let payload = &packing.messages[0].body;
    let signature =
        sign::base64_text(&sign::hex_sha256(&packing.subscription.secret, payload.to_string().as_bytes()));
    Outgoing::json(&packing.subscription.url, &json!({"payload": payload, "signature": signature}))
}
