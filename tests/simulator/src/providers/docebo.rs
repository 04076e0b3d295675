//! Docebo: page numbers with `has_more_data`, times with a blank; webhooks by hand with HTTP Basic, batches as `payloads`.

use crate::{
    auth::{self, Client, OAuth},
    call::{Call, by_updated, since, with},
    clock::Time,
    provider::{Id, Kind, Limit, Provider, Trouble, get, list, token},
    rate,
    reply::{Outcome, Outgoing, Reply, ok},
    sign,
    webhooks::{By, EACH, Packing, Webhooks, content},
    world::{Action, Change, Tenant},
};
use serde_json::{Value, json};

const USERS: &str = "lms_users";
const COURSES: &str = "lms_courses";
const ENROLLMENTS: &str = "lms_assignments";

pub(crate) fn provider() -> Provider {
    Provider {
        switches: &[("batched", "actions of several records come as `payloads` with `fired_by_batch_action` [V shape; U when]")],
        credentials: &["client_id", "client_secret"],
        kinds: vec![
            Kind::new(USERS, "user", Id::Digits, r#"{"userid":"u{n}","firstname":"Uma","lastname":"User {n}","email":"u{n}@example.com","level":"Student","status":"1","language":"english"}"#)
                .id_at("user_id").created("creation_date", Time::Space).updated("last_update", Time::Space).touch("lastname"),
            Kind::new(COURSES, "course", Id::Number, r#"{"uid":"E-{n}","code":"course-{n}","name":"Course {n}","type":"elearning","status":"published","language":{"id":"english","name":"English"},"average_completion_time":3600}"#)
                .created("created_on", Time::Space).updated("updated_on", Time::Space),
            Kind::new(ENROLLMENTS, "enrollment", Id::Number, r#"{"user_id":"{lms_users}","course_id":"{lms_courses}","status":"in_progress","level":"student","score":0,"completion_date":null,"enrollment_date_begin_validity":null,"enrollment_date_end_validity":null}"#)
                .id_at("enrollment_id").created("enrollment_date", Time::Space).updated("last_update", Time::Space).touch("score").parent("course_id"),
        ],
        routes: vec![
            token("/oauth2/token", |call| {
                let oauth = OAuth { seconds: 3600, rotates: true, client: Client::Either, grants: &["client_credentials", "password", "refresh_token", auth::JWT] };
                auth::token(call, &oauth, &json!({"scope": "api"}))
            }),
            list("/manage/v1/user", |c| listing(c, USERS)).of(USERS).query(&["page", "page_size", "sort_attr", "sort_dir", "search_text"]),
            list("/course/v1/courses", |c| listing(c, COURSES)).of(COURSES).query(&["page", "page_size", "sort_attr", "sort_dir"]),
            list("/learn/v1/courses", |c| listing(c, COURSES)).of(COURSES).query(&["page", "page_size", "sort_attr", "sort_dir"]),
            list("/course/v1/courses/enrollments", |c| listing(c, ENROLLMENTS)).of(ENROLLMENTS).query(&["page", "page_size", "updated_from", "sort_attr", "sort_dir"]),
            list("/learn/v1/enrollments", |c| listing(c, ENROLLMENTS)).of(ENROLLMENTS).query(&["page", "page_size", "updated_from", "id_user", "id_course"]),
            get("/manage/v1/user/{id}", |c| ok(json!({"data": {"user_data": c.get(USERS)?}}))).of(USERS),
            get("/learn/v1/courses/{id}", |c| ok(json!({"data": c.get(COURSES)?}))).of(COURSES),
            get("/course/v1/courses/{id}", |c| ok(json!({"data": c.get(COURSES)?}))).of(COURSES),
        ],
        guard: auth::bearer,
        refuse: |trouble: Trouble, words| Reply::json(trouble.status(), &json!({"name": "Error", "message": [words], "code": 0, "status": trouble.status()})),
        limit: Some(Limit { most: 1000, seconds: 3600, headers: rate::silent, over: rate::silent }),
        webhooks: Some(Webhooks { events, pack, by: By::Hand, batch: 50, together: |tenant, one, other| tenant.on("batched") && one.event == other.event, ..EACH }),
        ..Provider::new("docebo", "Docebo")
    }
}

fn listing(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let (size, number) =
        (call.number("page_size", 20, 1, 200)?, call.number("page", 1, 1, usize::MAX / 500)?);
    let from = call.time("updated_from")?;
    let mut rows = since(call.rows(resource), from);
    rows = with(with(rows, "user_id", call.query("id_user")), "course_id", call.query("id_course"));
    match call.query("sort_attr").unwrap_or_default() {
        "" => {}
        "last_update" | "updated_on" => rows = by_updated(rows),
        _ => return Err(call.bad("sort_attr is not known")),
    }
    if call.query("sort_dir") == Some("desc") {
        rows.reverse();
    }
    let page = call.window(&rows, (number - 1) * size, size);
    ok(
        json!({"data": {"count": page.rows.len(), "items": page.bodies(), "has_more_data": page.next.is_some(), "current_page": number,
        "current_page_size": size, "total_page_count": rows.len().div_ceil(size), "total_count": page.total}, "version": "1.0.0", "_links": []}),
    )
}

/// Where a change means completion, only that is told.
fn events(_: &Tenant, change: &Change) -> Vec<(String, Value)> {
    let (body, fired) = (content(change), Time::Space.text(change.at));
    let (event, mut payload) = match change.resource {
        USERS => (
            format!("user.{}", change.action.word()),
            json!({"user_id": body["user_id"], "username": body["userid"]}),
        ),
        COURSES => (
            format!("course.{}", change.action.word()),
            json!({"course_id": body["id"], "course_code": body["code"], "course_name": body["name"]}),
        ),
        _ => {
            let completed = change.action == Action::Updated
                && body["status"] == "completed"
                && change.before["status"] != "completed";
            let word = if completed { "completed" } else { change.action.word() };
            let mut payload = body.clone();
            payload["subscribed_by_id"] = 13_001.into();
            (format!("course.enrollment.{word}"), payload)
        }
    };
    payload["fired_at"] = fired.into();
    vec![(event, payload)]
}

fn pack(packing: &Packing<'_>) -> Outgoing {
    let first = &packing.messages[0];
    let mut body = json!({"webhook_id": packing.subscription.id.parse::<u64>().unwrap_or(0), "original_domain": format!("{}.docebosaas.com", packing.tenant.name),
        "event": first.event, "fired_by_batch_action": packing.messages.len() > 1, "message_id": format!("wh-{}", first.id)});
    if packing.messages.len() > 1 {
        body["payloads"] = packing.messages.iter().map(|m| m.body.clone()).collect();
    } else {
        body["payload"] = first.body.clone();
    }
    Outgoing::json(&packing.subscription.url, &body)
        .with("authorization", format!("Basic {}", sign::base64_text(&packing.subscription.secret)))
}
