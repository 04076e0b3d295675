//! TalentLMS: v2 with page numbers and links, a time filter for users alone, fan-out below users and courses; no callbacks.

use crate::{
    auth,
    call::{Call, since, with},
    clock::Time,
    provider::{Id, Kind, Limit, Provider, get, list},
    rate,
    reply::{Outcome, Reply, ok},
};
use serde_json::{Value, json};

const USERS: &str = "lms_users";
const COURSES: &str = "lms_courses";
const ENROLMENTS: &str = "lms_assignments";
const UNITS: &str = "lms_content";
const PROGRESS: &str = "lms_completions";
const PAGE: &[&str] = &["page[number]", "page[size]"];

pub(crate) fn provider() -> Provider {
    Provider {
        switches: &[("timeline", "`GET /timeline` of completions [U: its shape]")],
        credentials: &["api_key"],
        kinds: vec![
            Kind::new(USERS, "user", Id::Number, r#"{"login":"m.rossi{n}","name":"Marta","surname":"Rossi {n}","email":"m{n}@example.com","type":"Learner-Type","status":"active","timezone":"Europe/Rome","language":"it","last_login":"2026-02-01T08:00:00Z"}"#)
                .created("registration", Time::Seconds).updated("last_updated", Time::Seconds).touch("surname"),
            Kind::new(COURSES, "course", Id::Number, r#"{"name":"Course {n}","code":"C{n}","description":"text","status":"active","category_id":null}"#).created("creation_date", Time::Seconds),
            Kind::new(UNITS, "unit", Id::Number, r#"{"course_id":"{lms_courses}","name":"Unit {n}","type":"Content"}"#).parent("course_id"),
            Kind::new(ENROLMENTS, "enrolment", Id::Number, r#"{"user_id":"{lms_users}","course_id":"{lms_courses}","role":"learner","progress":0}"#)
                .id_at("enrolment_id").created("enrolled_on", Time::Seconds).touch("progress").parent("course_id"),
            Kind::new(PROGRESS, "progress", Id::Number, r#"{"user_id":"{lms_users}","course_id":"{lms_courses}","completion_status":"completed","score":90}"#)
                .id_at("progress_id").created("completed_on", Time::Seconds).touch("score").parent("course_id"),
        ],
        routes: vec![
            list("/api/v2/users", |c| listing(c, USERS)).of(USERS).query(&["page[number]", "page[size]", "filter[last_updated][gte]", "filter[status][eq]", "filter[email][eq]"]),
            list("/api/v2/courses", |c| listing(c, COURSES)).of(COURSES).query(PAGE),
            list("/api/v2/users/{user}/courses", |c| listing(c, ENROLMENTS)).of(ENROLMENTS).query(PAGE),
            list("/api/v2/course-progress", progress).of(PROGRESS).query(&["user_id", "course_id"]),
            list("/api/v2/timeline", |c| listing(c, PROGRESS)).of(PROGRESS).query(PAGE).behind("timeline"),
            get("/api/v2/users/{id}", |c| ok(json!({"_data": c.get(USERS)?}))).of(USERS),
            get("/api/v2/courses/{id}", course).of(COURSES),
        ],
        guard: |call| {
            auth::must(call, "x-api-version", None)?;
            auth::header(call, "x-api-key", "", "api_key")
        },
        refuse: |trouble, words| Reply::json(trouble.status(), &json!({"_errors": [{"id": "simulated", "title": words, "status": trouble.status()}]})),
        limit: Some(Limit { most: 200, seconds: 5, headers: rate::x_rate_limit, over: rate::silent }),
        ..Provider::new("talentlms", "TalentLMS")
    }
}

fn listing(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let (size, number) =
        (call.number("page[size]", 20, 1, 100)?, call.number("page[number]", 1, 1, usize::MAX / 500)?);
    let from = call.time("filter[last_updated][gte]")?;
    let mut rows = since(call.rows(resource), from);
    if resource == ENROLMENTS {
        let user = call.hole("user").to_owned();
        call.one(USERS, &user).ok_or_else(|| call.missing())?;
        rows = with(rows, "user_id", Some(&user));
    }
    rows = with(
        with(rows, "status", call.query("filter[status][eq]")),
        "email",
        call.query("filter[email][eq]"),
    );
    let page = call.window(&rows, (number - 1) * size, size);
    let url = |n: usize| call.again(&[("page[number]", n.to_string())]);
    let pages = rows.len().div_ceil(size).max(1);
    let links = json!({"self": url(number), "first": url(1), "last": url(pages), "prev": (number > 1).then(|| url(number - 1)), "next": page.next.map(|next| url(next / size + 1))});
    ok(json!({"_data": page.bodies(), "_links": links,
        "_meta": {"pagination": {"page": number, "page_size": size, "total_items": page.total, "total_pages": pages}}}))
}

fn progress(call: &mut Call<'_>) -> Outcome {
    let (Some(user), Some(course)) =
        (call.query("user_id").map(str::to_owned), call.query("course_id").map(str::to_owned))
    else {
        return Err(call.bad("user_id and course_id are required"));
    };
    let rows = with(with(call.rows(PROGRESS), "user_id", Some(&user)), "course_id", Some(&course));
    ok(json!({"_data": rows.last().map_or(Value::Null, |row| row.body.clone())}))
}

fn course(call: &mut Call<'_>) -> Outcome {
    let mut body = call.get(COURSES)?;
    let units = with(call.rows(UNITS), "course_id", Some(&crate::world::text(&body["id"])));
    body["units"] = units.into_iter().map(|row| row.body).collect();
    ok(json!({"_data": body}))
}
