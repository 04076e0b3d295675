//! Canvas: `Link` pages, fan-out below courses, a leaky bucket told as cost; no callbacks (its live events need a queue).

use crate::{
    auth::{self, Client, OAuth},
    call::{Call, with},
    clock::Time,
    provider::{Id, Kind, Limit, Provider, Route, Trouble, Window, authorize, get, list, token},
    rate,
    reply::{Outcome, Reply, ok},
};
use serde_json::{Value, json};

const COURSES: &str = "lms_courses";
const USERS: &str = "lms_users";

pub(crate) fn provider() -> Provider {
    let kind = |resource, word, example| {
        Kind::new(resource, word, Id::Number, example).created("created_at", Time::Seconds)
    };
    Provider {
        credentials: &["access_token"],
        kinds: vec![
            kind(COURSES, "course", r#"{"name":"Course {n}","course_code":"C{n}","workflow_state":"available","account_id":1,"start_at":null,"end_at":null}"#),
            kind(USERS, "user", r#"{"name":"Uma User {n}","sortable_name":"User {n}, Uma","short_name":"Uma","login_id":"u{n}@example.com","email":"u{n}@example.com"}"#),
            kind("lms_assignments", "enrollment", r#"{"course_id":"{lms_courses}","user_id":"{lms_users}","type":"StudentEnrollment","enrollment_state":"active","grades":{"current_score":0}}"#)
                .updated("updated_at", Time::Seconds).touch("grades.current_score").parent("course_id"),
            Kind::new("lms_completions", "submission", Id::Number, r#"{"course_id":"{lms_courses}","user_id":"{lms_users}","assignment_id":1,"workflow_state":"graded","score":9}"#)
                .updated("graded_at", Time::Seconds).touch("score").parent("course_id"),
            Kind::new("lms_content", "module", Id::Number, r#"{"course_id":"{lms_courses}","name":"Module {n}","position":1,"workflow_state":"active","items_count":0}"#).parent("course_id"),
        ],
        routes: vec![
            token("/login/oauth2/token", |call| {
                let oauth = OAuth { seconds: 3600, rotates: false, client: Client::Form, grants: &["authorization_code", "refresh_token"] };
                auth::token(call, &oauth, &json!({"user": {"id": 1, "name": "Dev"}}))
            }),
            authorize("/login/oauth2/auth"),
            listed("/api/v1/accounts/{account}/courses", COURSES, |c| listing(c, COURSES)),
            listed("/api/v1/accounts/{account}/users", USERS, |c| listing(c, USERS)),
            listed("/api/v1/courses/{course}/enrollments", "lms_assignments", |c| listing(c, "lms_assignments")),
            Route { query: &["per_page", "page", "student_ids[]", "graded_since", "submitted_since", "workflow_state"],
                ..listed("/api/v1/courses/{course}/students/submissions", "lms_completions", |c| listing(c, "lms_completions")) },
            listed("/api/v1/courses/{course}/modules", "lms_content", |c| listing(c, "lms_content")),
            get("/api/v1/courses/{id}", |c| ok(c.get(COURSES)?)).of(COURSES).query(&["include[]"]),
            get("/api/v1/users/{id}", |c| ok(c.get(USERS)?)).of(USERS).query(&["include[]"]),
            get("/api/v1/accounts/self", |c| ok(json!({"id": 1, "name": c.tenant.name, "uuid": "u1"}))),
        ],
        guard: |call| auth::header(call, "authorization", "Bearer ", "access_token").or_else(|refusal| auth::bearer(call).map_err(|_| refusal)),
        refuse: |trouble, words| match trouble {
            Trouble::Limited => Reply::text(403, "403 Forbidden (Rate Limit Exceeded)"),
            Trouble::Unauthorized => Reply::json(401, &json!({"errors": [{"message": "Invalid access token."}]})).with("www-authenticate", "Bearer realm=\"canvas-lms\""),
            Trouble::Forbidden => Reply::json(403, &json!({"status": "unauthorized", "errors": [{"message": words}]})),
            _ => Reply::json(trouble.status(), &json!({"errors": [{"message": words}]})),
        },
        limit: Some(Limit { most: 700, seconds: 70, headers, over: rate::silent }),
        ..Provider::new("canvas", "Canvas")
    }
}

const fn listed(path: &'static str, resource: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Route {
    list(path, run).of(resource).query(&[
        "per_page",
        "page",
        "include[]",
        "state[]",
        "type[]",
        "sort",
        "order",
        "search_term",
    ])
}

fn headers(window: &Window) -> Vec<(&'static str, String)> {
    vec![("x-rate-limit-remaining", format!("{}.0", window.left)), ("x-request-cost", "1.0".into())]
}

/// The page in a `Link` is a bookmark: its text means nothing.
fn listing(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let size = call.number("per_page", 10, 1, 100)?;
    let page = call.query("page").filter(|page| *page != "1").map(str::to_owned);
    let Some((after, carry)) = call.cursor(page.as_deref(), Value::Null) else {
        return Err(call.bad("the page is not valid"));
    };
    let mut rows = call.rows(resource);
    if ![COURSES, USERS].contains(&resource) {
        let course = call.hole("course").to_owned();
        call.one(COURSES, &course).ok_or_else(|| call.missing())?;
        rows = with(rows, "course_id", Some(&course));
    }
    let since =
        call.query("graded_since").or_else(|| call.query("submitted_since")).map(crate::clock::instant);
    if let Some(since) = since {
        rows = crate::call::since(rows, Some(since.ok_or_else(|| call.bad("Invalid datetime"))?));
    }
    let shown = call.behind(&rows, after, size, &carry);
    let reply = Reply::json(200, &Value::Array(shown.bodies()));
    let link = |page: String, rel: &str| format!("<{}>; rel=\"{rel}\"", call.again(&[("page", page)]));
    let mut links =
        vec![link(call.query("page").unwrap_or("1").to_owned(), "current"), link("1".into(), "first")];
    links.extend(shown.next.map(|next| link(next, "next")));
    Ok(reply.with("link", links.join(",")))
}
