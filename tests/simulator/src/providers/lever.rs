//! Lever: token offsets, times in milliseconds, lists of what was deleted, fan-out below opportunities; a hook an event, each
//! with its own token and a signature inside the body.

use crate::{
    auth::{self, Client, OAuth},
    call::{Call, since, until},
    clock::Time,
    provider::{Id, Kind, Limit, Provider, Route, Trouble, authorize, feed, get, list, subscribe, token},
    rate,
    reply::{Outcome, Outgoing, Reply, ok},
    sign,
    webhooks::{EACH, Packing, Subscription, Webhooks, content},
    world::{Action, Change, Tenant},
};
use serde_json::{Value, json};

const OPPORTUNITIES: &str = "ats_candidates";
const APPLICATIONS: &str = "ats_applications";
const INTERVIEWS: &str = "ats_interviews";
const LIST: &[&str] = &[
    "limit",
    "offset",
    "updated_at_start",
    "updated_at_end",
    "created_at_start",
    "created_at_end",
    "expand",
    "include",
    "state",
    "archived",
    "includeDeactivated",
];
const DELETED: &[&str] = &["limit", "offset", "deleted_at_start", "deleted_at_end"];
const EVENTS: &[&str] = &[
    "applicationCreated",
    "candidateHired",
    "candidateStageChange",
    "candidateArchiveChange",
    "candidateDeleted",
    "interviewCreated",
    "interviewUpdated",
    "interviewDeleted",
    "contactCreated",
    "contactUpdated",
];

pub(crate) fn provider() -> Provider {
    let kind = |resource, word, example| {
        Kind::new(resource, word, Id::Uuid, example)
            .created("createdAt", Time::EpochMilliseconds)
            .updated("updatedAt", Time::EpochMilliseconds)
    };
    Provider {
        credentials: &["api_key"],
        kinds: vec![
            kind(OPPORTUNITIES, "opportunity", r#"{"name":"Test Candidate {n}","headline":"Engineer","contact":"1419004b-c860-4c8f-a46a-4a5a9cccdee6","emails":["c{n}@example.dev"],"phones":[{"value":"(555) 123-4567","type":"mobile"}],"stage":"lead-new","archived":null,"tags":["Engineering"],"sources":["LinkedIn"],"origin":"sourced","applications":[]}"#).touch("stage"),
            kind("ats_job_postings", "posting", r#"{"text":"Engineer {n}","state":"published","categories":{"team":"Product","location":"Here"},"distributionChannels":["public"]}"#).touch("text"),
            kind("ats_jobs", "requisition", r#"{"name":"Engineer {n}","requisitionCode":"R-{n}","status":"open","headcountTotal":1}"#),
            kind(APPLICATIONS, "application", r#"{"opportunityId":"{ats_candidates}","type":"posting","posting":"{ats_job_postings}","archived":null}"#).touch("type").parent("opportunityId"),
            kind(INTERVIEWS, "interview", r#"{"opportunityId":"{ats_candidates}","panel":"p1","subject":"Onsite {n}","interviewers":[],"date":1782974002353,"duration":60}"#).touch("subject").parent("opportunityId"),
            kind("ats_users", "user", r#"{"name":"Uma User {n}","email":"u{n}@example.com","accessRole":"interviewer","deactivatedAt":null}"#),
            kind("ats_lists", "archive_reason", r#"{"text":"Reason {n}","status":"active","type":"non-hired"}"#).touch("text"),
        ],
        routes: vec![
            token("/oauth/token", |call| {
                let oauth = OAuth { seconds: 3600, rotates: true, client: Client::Form, grants: &["authorization_code", "refresh_token"] };
                auth::token(call, &oauth, &Value::Null)
            }),
            authorize("/authorize"),
            feed("/v1/opportunities/deleted", |c| deleted(c, OPPORTUNITIES)).of(OPPORTUNITIES).query(DELETED),
            feed("/v1/postings/deleted", |c| deleted(c, "ats_job_postings")).of("ats_job_postings").query(DELETED),
            listed("/v1/opportunities", OPPORTUNITIES, |c| listing(c, OPPORTUNITIES)),
            listed("/v1/opportunities/{id}/applications", APPLICATIONS, |c| listing(c, APPLICATIONS)),
            listed("/v1/opportunities/{id}/interviews", INTERVIEWS, |c| listing(c, INTERVIEWS)),
            listed("/v1/postings", "ats_job_postings", |c| listing(c, "ats_job_postings")),
            listed("/v1/requisitions", "ats_jobs", |c| listing(c, "ats_jobs")),
            listed("/v1/users", "ats_users", |c| listing(c, "ats_users")),
            listed("/v1/archive_reasons", "ats_lists", |c| listing(c, "ats_lists")),
            list("/v1/stages", |_| ok(json!({"data": [{"id": "lead-new", "text": "New lead"}, {"id": "offer", "text": "Offer"}], "hasNext": false}))).query(&["limit", "offset"]),
            list("/v1/sources", |_| ok(json!({"data": [{"text": "LinkedIn", "count": 1}], "hasNext": false}))).query(&["limit", "offset"]),
            list("/v1/tags", |_| ok(json!({"data": [{"text": "Engineering", "count": 1}], "hasNext": false}))).query(&["limit", "offset"]),
            single("/v1/opportunities/{id}", OPPORTUNITIES, |c| ok(json!({"data": c.get(OPPORTUNITIES)?}))),
            single("/v1/postings/{id}", "ats_job_postings", |c| ok(json!({"data": c.get("ats_job_postings")?}))),
            single("/v1/opportunities/{opportunity}/applications/{id}", APPLICATIONS, |c| ok(json!({"data": c.get(APPLICATIONS)?}))),
            single("/v1/opportunities/{opportunity}/interviews/{id}", INTERVIEWS, |c| ok(json!({"data": c.get(INTERVIEWS)?}))),
            subscribe("POST", "/v1/webhooks", create).body(&["url", "event", "configuration"]),
            subscribe("GET", "/v1/webhooks", hooks).query(&["limit", "offset"]),
            subscribe("PUT", "/v1/webhooks/{id}", replace).body(&["url", "event", "configuration"]),
            subscribe("DELETE", "/v1/webhooks/{id}", |call| {
                let id = call.hole("id").to_owned();
                call.unsubscribe(&id)?;
                Ok(Reply::empty(204))
            }),
        ],
        guard: |call| auth::key_as_user(call, "api_key").or_else(|refusal| auth::bearer(call).map_err(|_| refusal)),
        refuse: |trouble, words| {
            let code = match trouble {
                Trouble::Unauthorized => "Unauthorized",
                Trouble::Forbidden => "Forbidden",
                Trouble::NotFound => "ResourceNotFound",
                Trouble::BadRequest => "BadRequestError",
                Trouble::Limited => "TooManyRequests",
                Trouble::Broken => "ServerError",
            };
            Reply::json(trouble.status(), &json!({"code": code, "message": words}))
        },
        limit: Some(Limit { most: 20, seconds: 2, headers: rate::silent, over: rate::silent }),
        webhooks: Some(Webhooks { events, pack, retries: &[30, 120, 600, 3600, 10_800], ..EACH }),
        ..Provider::new("lever", "Lever")
    }
}

const fn listed(path: &'static str, resource: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Route {
    list(path, run).of(resource).query(LIST)
}

const fn single(path: &'static str, resource: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Route {
    get(path, run).of(resource).query(&["expand"])
}

fn listing(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let size = call.number("limit", 100, 1, 100)?;
    let (from, to) = (call.epoch("updated_at_start", 1)?, call.epoch("updated_at_end", 1)?);
    let made = call.epoch("created_at_start", 1)?;
    let offset = call.query("offset").map(str::to_owned);
    let Some((after, carry)) = call.cursor(offset.as_deref(), Value::Null) else {
        return Err(call.bad("Invalid offset token"));
    };
    let mut rows = until(since(call.rows(resource), from), to);
    rows.retain(|row| made.is_none_or(|made| row.created >= made));
    if [APPLICATIONS, INTERVIEWS].contains(&resource) {
        let of = call.hole("id").to_owned();
        call.one(OPPORTUNITIES, &of).ok_or_else(|| call.missing())?;
        rows.retain(|row| row.body["opportunityId"] == json!(of));
    }
    if resource == "ats_users" && call.query("includeDeactivated") != Some("true") {
        rows.retain(|row| row.body["deactivatedAt"].is_null());
    }
    let page = call.behind(&rows, after, size, &carry);
    answer(&page.bodies(), page.next)
}

fn answer(data: &[Value], next: Option<String>) -> Outcome {
    let mut body = json!({"data": data, "hasNext": next.is_some()});
    if let Some(next) = next {
        body["next"] = next.into();
    }
    ok(body)
}

fn deleted(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let size = call.number("limit", 100, 1, 100)?;
    let (from, to) = (call.epoch("deleted_at_start", 1)?, call.epoch("deleted_at_end", 1)?);
    let offset = call.query("offset").map(str::to_owned);
    let Some((after, carry)) = call.cursor(offset.as_deref(), Value::Null) else {
        return Err(call.bad("Invalid offset token"));
    };
    let rows = until(since(call.all(resource, true), from), to);
    let page = call.behind(&rows, after, size, &carry);
    let gone: Vec<Value> =
        page.rows.iter().map(|row| json!({"id": row.id, "deletedAt": row.updated})).collect();
    answer(&gone, page.next)
}

fn hook_json(subscription: &Subscription, with_token: bool) -> Value {
    let mut configuration = subscription.extra.get("configuration").cloned().unwrap_or(json!({}));
    if with_token {
        configuration["signatureToken"] = subscription.secret.clone().into();
    }
    json!({"id": subscription.id, "event": subscription.events[0], "url": subscription.url, "configuration": configuration,
        "createdAt": subscription.created, "updatedAt": subscription.created})
}

fn create(call: &mut Call<'_>) -> Outcome {
    let url = call.target("url")?;
    let Some(event) = call.field("event").filter(|e| EVENTS.contains(&e.as_str())) else {
        return Err(call.bad("event is not known"));
    };
    let extra = call.fields().into_iter().filter(|(name, _)| name == "configuration").collect();
    let id = call.tenant.uuid("webhook");
    let made = call.subscribe(id, &url, vec![event]);
    made.extra = extra;
    Ok(Reply::json(201, &json!({"data": hook_json(made, true)})))
}

fn hooks(call: &mut Call<'_>) -> Outcome {
    let all: Vec<Value> = call.tenant.subscriptions.iter().map(|s| hook_json(s, false)).collect();
    answer(&all, None)
}

fn replace(call: &mut Call<'_>) -> Outcome {
    let (url, id, missing) = (call.target("url")?, call.hole("id").to_owned(), call.missing());
    let event = call.field("event");
    let found = call.tenant.subscriptions.iter_mut().find(|s| s.id == id).ok_or(missing)?;
    found.url = url;
    if let Some(event) = event {
        found.events = vec![event];
    }
    ok(json!({"data": hook_json(found, false)}))
}

fn events(_: &Tenant, change: &Change) -> Vec<(String, Value)> {
    let body = content(change);
    let of = |id: &Value| json!({"candidateId": id, "opportunityId": id, "contactId": "1419004b-c860-4c8f-a46a-4a5a9cccdee6"});
    let (word, data) = match (change.resource, change.action) {
        (OPPORTUNITIES, Action::Created) => ("contactCreated", json!({"contactId": body["contact"]})),
        (OPPORTUNITIES, Action::Deleted) => ("candidateDeleted", of(&body["id"])),
        (OPPORTUNITIES, Action::Updated) => {
            let mut data = of(&body["id"]);
            if change.fields.iter().any(|f| f == "archived") {
                (data["toArchived"], data["fromArchived"]) =
                    (body["archived"].clone(), change.before["archived"].clone());
                ("candidateArchiveChange", data)
            } else if change.fields.iter().any(|f| f == "stage") {
                (data["fromStageId"], data["toStageId"]) =
                    (change.before["stage"].clone(), body["stage"].clone());
                ("candidateStageChange", data)
            } else {
                ("contactUpdated", json!({"contactId": body["contact"]}))
            }
        }
        (APPLICATIONS, Action::Created) => {
            let mut data = of(&body["opportunityId"]);
            data["applicationId"] = body["id"].clone();
            ("applicationCreated", data)
        }
        (INTERVIEWS, action) => {
            let mut data = of(&body["opportunityId"]);
            (data["interviewId"], data["panelId"]) = (body["id"].clone(), body["panel"].clone());
            (action.choose("interviewCreated", "interviewUpdated", "interviewDeleted"), data)
        }
        _ => return Vec::new(),
    };
    vec![(word.to_owned(), data)]
}

fn pack(packing: &Packing<'_>) -> Outgoing {
    let message = &packing.messages[0];
    let (token, at) = (&sign::digest(&message.id)[..12], packing.now);
    let signature = sign::hex_sha256(&packing.subscription.secret, format!("{token}{at}").as_bytes());
    let body = json!({"id": message.id, "event": message.event, "triggeredAt": at, "token": token, "signature": signature, "data": message.body});
    Outgoing::json(&packing.subscription.url, &body)
}
