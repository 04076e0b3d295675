//! Recruitee: by limit and offset; webhooks by hand with a test call, signed over the body.

use crate::{
    auth,
    call::{Call, since},
    clock::Time,
    provider::{Id, Kind, Provider, get, list},
    reply::{Outcome, Outgoing, Reply, ok},
    sign,
    webhooks::{By, EACH, Packing, Subscription, Webhooks, content},
    world::{Action, Change, Tenant},
};
use serde_json::{Value, json};

const CANDIDATES: &str = "ats_candidates";
const OFFERS: &str = "ats_jobs";

pub(crate) fn provider() -> Provider {
    let kind = |resource, word, example| {
        Kind::new(resource, word, Id::Number, example)
            .created("created_at", Time::Milliseconds)
            .updated("updated_at", Time::Milliseconds)
    };
    Provider {
        switches: &[
            ("updated_after", "`GET /candidates?updated_after=` (seconds) [U]"),
            ("candidate_updated", "an event for a change of a candidate that is no move [U]"),
        ],
        credentials: &["api_token"],
        kinds: vec![
            kind(OFFERS, "offer", r#"{"title":"Designer {n}","status":"published","kind":"job","department":"Design","location":"Here","slug":"designer-{n}"}"#).touch("title"),
            kind(CANDIDATES, "candidate", r#"{"name":"Pim Vis {n}","emails":["p{n}@example.com"],"phones":["+31201234567"],"links":[],"referrer":null,"placements":[{"id":1,"offer_id":"{ats_jobs}","stage_id":1}],"tags":[]}"#),
            kind("ats_users", "admin", r#"{"first_name":"Uma","last_name":"User {n}","email":"u{n}@example.com","role":"admin","status":"active"}"#).touch("last_name"),
        ],
        routes: vec![
            list("/c/{company}/candidates", |c| listing(c, CANDIDATES, "candidates")).of(CANDIDATES).query(&["limit", "offset", "sort", "created_after", "updated_after"]),
            list("/c/{company}/offers", |c| listing(c, OFFERS, "offers")).of(OFFERS).query(&["limit", "offset", "scope", "view_mode", "kind"]),
            list("/c/{company}/admins", |c| listing(c, "ats_users", "admins")).of("ats_users").query(&["limit", "offset"]),
            get("/c/{company}/candidates/{id}", |c| ok(json!({"candidate": c.get(CANDIDATES)?, "references": []}))).of(CANDIDATES),
            get("/c/{company}/offers/{id}", |c| ok(json!({"offer": c.get(OFFERS)?}))).of(OFFERS),
            list("/c/{company}/departments", |_| ok(json!({"departments": [{"id": 1, "name": "Design"}]}))),
            list("/c/{company}/disqualify_reasons", |_| ok(json!({"disqualify_reasons": [{"id": 1, "name": "Other"}]}))),
        ],
        guard: |call| auth::header(call, "authorization", "Bearer ", "api_token"),
        refuse: |trouble, words| Reply::json(trouble.status(), &json!({"error": [words]})),
        webhooks: Some(Webhooks { events, pack, by: By::Hand, ping: Some(ping), retries: &[60, 300, 1800, 7200, 21_600], ..EACH }),
        ..Provider::new("recruitee", "Recruitee")
    }
}

fn listing(call: &mut Call<'_>, resource: &'static str, word: &str) -> Outcome {
    let (size, from) = (call.number("limit", 60, 1, 10_000)?, call.number("offset", 0, 0, usize::MAX / 2)?);
    if call.query("updated_after").is_some() && !call.tenant.on("updated_after") {
        return Err(call.bad("updated_after is not known"));
    }
    let (after, made) = (call.epoch("updated_after", 1000)?, call.query("created_after").map(str::to_owned));
    let mut rows = since(call.rows(resource), after);
    if let Some(made) = made {
        let made = crate::clock::instant(&made).or_else(|| made.parse::<i64>().ok().map(|s| s * 1000));
        let made = made.ok_or_else(|| call.bad("created_after is not a time"))?;
        rows.retain(|row| row.created >= made);
    }
    let page = call.window(&rows, from, size);
    ok(json!({word: page.bodies(), "references": [], "generated_at": Time::Seconds.text(call.now())}))
}

fn events(tenant: &Tenant, change: &Change) -> Vec<(String, Value)> {
    let (event, word) = match (change.resource, change.action) {
        (CANDIDATES, Action::Created) => ("new_candidate", "candidate"),
        (CANDIDATES, Action::Deleted) => ("candidate_deleted", "candidate"),
        (CANDIDATES, Action::Updated) if change.fields.iter().any(|f| f == "placements") => {
            ("candidate_moved", "candidate")
        }
        (CANDIDATES, Action::Updated) if tenant.on("candidate_updated") => ("candidate_updated", "candidate"),
        (OFFERS, action) => (action.choose("offer_created", "offer_updated", "offer_deleted"), "offer"),
        _ => return Vec::new(),
    };
    let company = json!({"id": tenant.number, "name": tenant.name});
    let body = json!({"created_at": Time::Milliseconds.text(change.at), "event_type": event, "level": "info",
        "payload": {word: content(change), "company": company}});
    vec![(event.to_owned(), body)]
}

fn signed(subscription: &Subscription, body: &Value) -> Outgoing {
    let outgoing = Outgoing::json(&subscription.url, body);
    let signature = sign::hex_sha256(&subscription.secret, &outgoing.body);
    outgoing.with("x-recruitee-signature", signature).with("user-agent", "Recruitee-Webhooks")
}

fn ping(subscription: &Subscription) -> Outgoing {
    signed(subscription, &json!({"test": true}))
}

fn pack(packing: &Packing<'_>) -> Outgoing {
    let message = &packing.messages[0];
    let mut body = message.body.clone();
    body["id"] = u64::from_str_radix(&message.id[..8], 16).unwrap_or(0).into();
    body["attempt_count"] = (message.attempt + 1).into();
    signed(packing.subscription, &body)
}
