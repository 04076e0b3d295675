//! Moodle: one path for all functions, a token in the form, no pages, no time filter, errors as 200.

use crate::{
    call::Call,
    clock::Time,
    provider::{Id, Kind, Provider, Route, Trouble, list, search},
    reply::{Outcome, Reply, ok},
};
use serde_json::{Value, json};

const USERS: &str = "lms_users";
const COURSES: &str = "lms_courses";
const CONTENT: &str = "lms_content";
const ENROLMENTS: &str = "lms_assignments";
const COMPLETIONS: &str = "lms_completions";

pub(crate) fn provider() -> Provider {
    let kind = |resource, word, example| {
        Kind::new(resource, word, Id::Number, example)
            .created("timecreated", Time::EpochSeconds)
            .updated("timemodified", Time::EpochSeconds)
    };
    let functions: &[Function] = &[
        ("core_webservice_get_site_info", "", &[WS, FORMAT], site),
        ("core_course_get_courses", COURSES, &["options[*", WS, FORMAT], courses),
        ("core_course_get_courses_by_field", COURSES, &["field", "value", WS, FORMAT], by_field),
        ("core_course_get_contents", CONTENT, &["courseid", "options[*", WS, FORMAT], contents),
        ("core_user_get_users", USERS, &["criteria[*", WS, FORMAT], users),
        ("core_enrol_get_enrolled_users", ENROLMENTS, &["courseid", "options[*", WS, FORMAT], enrolled),
        ("core_enrol_get_users_courses", ENROLMENTS, &["userid", WS, FORMAT], users_courses),
        (
            "core_completion_get_course_completion_status",
            COMPLETIONS,
            &["courseid", "userid", WS, FORMAT],
            completion,
        ),
    ];
    Provider {
        credentials: &["token"],
        kinds: vec![
            kind(COURSES, "course", r#"{"shortname":"C{n}","fullname":"Course {n}","displayname":"Course {n}","summary":"text","categoryid":1,"format":"topics","lang":"en","visible":1,"startdate":1767261600,"enddate":0}"#).touch("fullname"),
            kind(USERS, "user", r#"{"username":"u{n}","firstname":"Uma","lastname":"User {n}","fullname":"Uma User {n}","email":"u{n}@example.com","suspended":false,"confirmed":true,"lang":"en","auth":"manual"}"#).touch("lastname"),
            kind(CONTENT, "module", r#"{"courseid":"{lms_courses}","name":"Page {n}","modname":"page","visible":1,"url":"https://moodle.example.com/mod/page/{n}"}"#).parent("courseid"),
            kind(ENROLMENTS, "enrolment", r#"{"courseid":"{lms_courses}","userid":"{lms_users}"}"#).touch("progress").parent("courseid"),
            kind(COMPLETIONS, "completion", r#"{"courseid":"{lms_courses}","userid":"{lms_users}","completed":true}"#).touch("completed").parent("courseid"),
        ],
        routes: functions.iter().flat_map(routes).collect(),
        guard: |call| {
            let token = call.query("wstoken").map(str::to_owned).or_else(|| call.field("wstoken"));
            if token.as_ref() != call.tenant.credentials.get("token") {
                return Err(call.refuse(Trouble::Unauthorized, "Invalid token - token not found"));
            }
            let format = call.query("moodlewsrestformat").map(str::to_owned).or_else(|| call.field("moodlewsrestformat"));
            match format.as_deref() {
                Some("json") => Ok(()),
                _ => Err(Reply::text(200, "<?xml version=\"1.0\"?><RESPONSE/>")),
            }
        },
        refuse: |trouble, words| {
            let code = match trouble {
                Trouble::Unauthorized => "invalidtoken",
                Trouble::Forbidden => "accessexception",
                Trouble::BadRequest => "invalidparameter",
                Trouble::NotFound => "invalidrecord",
                Trouble::Limited => return Reply::text(429, words),
                Trouble::Broken => "generalexceptionmessage",
            };
            Reply::json(200, &json!({"exception": "moodle_exception", "errorcode": code, "message": words}))
        },
        ..Provider::new("moodle", "Moodle")
    }
}

type Function = (&'static str, &'static str, &'static [&'static str], fn(&mut Call<'_>) -> Outcome);

/// Each call's own: `wstoken`, `wsfunction`.
const WS: &str = "ws*";
const FORMAT: &str = "moodlewsrestformat";
const PATH: &str = "/webservice/rest/server.php";

/// A function is called by GET or by POST, its parameters in the query or in a form.
fn routes((name, resource, fields, run): &Function) -> Vec<Route> {
    let posted = search(PATH, *run).of(resource).when("wsfunction", name);
    let got = list(PATH, *run).of(resource).when("wsfunction", name);
    vec![posted.query(&[WS, FORMAT]).body(fields), got.query(fields)]
}

fn is(id: &Value, text: &str) -> bool {
    crate::world::text(id) == text
}

fn given(call: &Call<'_>, name: &str) -> Option<String> {
    call.query(name).map(str::to_owned).or_else(|| call.field(name))
}

fn site(call: &mut Call<'_>) -> Outcome {
    ok(
        json!({"sitename": call.tenant.name, "username": "ws", "userid": 2, "siteurl": call.request.base, "release": "4.5"}),
    )
}

fn all(call: &mut Call<'_>, resource: &'static str) -> Vec<Value> {
    call.rows(resource).into_iter().map(|row| row.body).collect()
}

/// The front page is a course too.
fn courses(call: &mut Call<'_>) -> Outcome {
    let mut shown = vec![
        json!({"id": 1, "shortname": "site", "fullname": "Site", "format": "site", "categoryid": 0, "timecreated": 1, "timemodified": 1}),
    ];
    shown.extend(all(call, COURSES));
    if let Some(id) = given(call, "options[ids][0]") {
        shown.retain(|course| is(&course["id"], &id));
    }
    ok(Value::Array(shown))
}

fn by_field(call: &mut Call<'_>) -> Outcome {
    let (field, value) = (given(call, "field").unwrap_or_default(), given(call, "value").unwrap_or_default());
    let shown: Vec<Value> = all(call, COURSES)
        .into_iter()
        .filter(|c| field.is_empty() || c.get(&field).map(crate::world::text).as_ref() == Some(&value))
        .collect();
    ok(json!({"courses": shown, "warnings": []}))
}

fn needed(call: &Call<'_>, name: &str) -> Result<String, Reply> {
    given(call, name).ok_or_else(|| call.bad("Invalid parameter value detected"))
}

fn contents(call: &mut Call<'_>) -> Outcome {
    let course = needed(call, "courseid")?;
    let mut modules = all(call, CONTENT);
    modules.retain(|m| is(&m["courseid"], &course));
    ok(json!([{"id": 1, "name": "General", "visible": 1, "section": 0, "modules": modules}]))
}

/// At least one criterion; `%` stands for anything.
fn users(call: &mut Call<'_>) -> Outcome {
    let (key, value) = (needed(call, "criteria[0][key]")?, needed(call, "criteria[0][value]")?);
    let start = value.trim_end_matches('%').trim_start_matches('%').to_owned();
    let mut shown = all(call, USERS);
    shown.retain(|u| {
        u.get(&key)
            .map(crate::world::text)
            .is_some_and(|v| if value.contains('%') { v.contains(&start) } else { v == value })
    });
    ok(json!({"users": shown, "warnings": []}))
}

fn of_course(call: &mut Call<'_>) -> Result<(String, Vec<Value>), Reply> {
    let course = needed(call, "courseid")?;
    if call.one(COURSES, &course).is_none() {
        return Err(call.missing());
    }
    let mut enrolments = all(call, ENROLMENTS);
    enrolments.retain(|e| is(&e["courseid"], &course));
    Ok((course, enrolments))
}

fn enrolled(call: &mut Call<'_>) -> Outcome {
    let (_, enrolments) = of_course(call)?;
    let mut shown = Vec::new();
    for enrolment in enrolments {
        if let Some(user) = call.one(USERS, &enrolment["userid"].to_string()) {
            let mut body = user.body;
            body["firstaccess"] = enrolment["timecreated"].clone();
            shown.push(body);
        }
    }
    ok(Value::Array(shown))
}

fn users_courses(call: &mut Call<'_>) -> Outcome {
    let user = needed(call, "userid")?;
    let mut enrolments = all(call, ENROLMENTS);
    enrolments.retain(|e| is(&e["userid"], &user));
    let mut shown = Vec::new();
    for enrolment in enrolments {
        if let Some(course) = call.one(COURSES, &enrolment["courseid"].to_string()) {
            let mut body = course.body;
            body["progress"] = enrolment.get("progress").cloned().unwrap_or(Value::Null);
            body["completed"] = enrolment.get("completed").cloned().unwrap_or(json!(false));
            shown.push(body);
        }
    }
    ok(Value::Array(shown))
}

fn completion(call: &mut Call<'_>) -> Outcome {
    let (course, _) = of_course(call)?;
    let user = needed(call, "userid")?;
    let mut found = all(call, COMPLETIONS);
    found.retain(|c| is(&c["courseid"], &course) && is(&c["userid"], &user));
    let Some(done) = found.pop() else {
        return Err(call.refuse(Trouble::NotFound, "No completion criteria set for this course"));
    };
    let complete = done["completed"] == json!(true);
    ok(
        json!({"completionstatus": {"completed": complete, "aggregation": 1, "completions": [{"type": 4, "title": "Activity completion",
        "status": "", "complete": complete, "timecompleted": if complete { done["timemodified"].clone() } else { Value::Null }}]}, "warnings": []}),
    )
}
