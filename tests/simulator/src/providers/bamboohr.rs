//! BambooHR: a change feed by time without pages, datasets by page number, webhooks by API signed with their own key.

use crate::{
    auth,
    call::{Call, since},
    clock::{Time, instant},
    provider::{Id, Kind, Limit, Provider, feed, get, list, search, subscribe},
    rate,
    reply::{Outcome, Outgoing, Reply, ok},
    sign,
    webhooks::{EACH, Packing, Webhooks, content},
    world::{Action, Change, Tenant},
};
use serde_json::{Map, Value, json};

const EMPLOYEES: &str = "hris_employees";
const JOBS: &str = "hris_employments";

pub(crate) fn provider() -> Provider {
    Provider {
        switches: &[("iso_timestamp", "`X-BambooHR-Timestamp` in ISO 8601 instead of seconds [U]")],
        credentials: &["api_key"],
        kinds: vec![
            Kind::new(EMPLOYEES, "employee", Id::Digits, EMPLOYEE)
                .updated("lastChanged", Time::Colon)
                .touch("jobTitle"),
            Kind::new(JOBS, "jobInfo", Id::Digits, JOB).touch("jobTitle").parent("employeeId"),
            Kind::new("ats_applications", "application", Id::Number, APPLICATION)
                .created("appliedDate", Time::Colon)
                .touch("status.label"),
            Kind::new(
                "ats_jobs",
                "job",
                Id::Number,
                r#"{"title":{"id":1,"label":"Engineer {n}"},"status":{"id":2,"label":"Open"}}"#,
            )
            .touch("title.label"),
        ],
        routes: vec![
            feed("/api/v1/employees/changed", changed).of(EMPLOYEES).query(&["since", "type"]),
            feed("/api/v1/employees/changed/tables/{table}", table).of(JOBS).query(&["since"]),
            search("/api/v1/v2/datasets/employee/data", dataset)
                .of(EMPLOYEES)
                .body(&["fields", "filter", "page", "pageSize"]),
            search("/api/v2/datasets/employee/data", dataset)
                .of(EMPLOYEES)
                .body(&["fields", "filter", "page", "pageSize"]),
            get("/api/v1/employees/{id}", one).of(EMPLOYEES).query(&["fields"]),
            list("/api/v1/applicant_tracking/applications", applications)
                .of("ats_applications")
                .query(&["page"]),
            list("/api/v1/applicant_tracking/jobs", jobs).of("ats_jobs"),
            list("/api/v1/applicant_tracking/statuses", statuses),
            get("/api/v1/webhooks/monitor_fields", monitor_fields),
            subscribe("POST", "/api/v1/webhooks", create).body(FIELDS),
            subscribe("GET", "/api/v1/webhooks", hooks),
            subscribe("GET", "/api/v1/webhooks/{id}", hook),
            subscribe("PUT", "/api/v1/webhooks/{id}", replace).body(FIELDS),
            subscribe("DELETE", "/api/v1/webhooks/{id}", remove),
        ],
        guard: |call| {
            auth::key_as_user(call, "api_key").or_else(|refusal| auth::bearer(call).map_err(|_| refusal))
        },
        limit: Some(Limit { most: 600, seconds: 60, headers: rate::silent, over: rate::retry_after }),
        webhooks: Some(Webhooks { events, pack, retries: &[300, 600, 1200, 2400, 4800], ..EACH }),
        ..Provider::new("bamboohr", "BambooHR")
    }
}

const EMPLOYEE: &str = r#"{"employeeNumber":"{n}","firstName":"Charlotte","lastName":"Abbott {n}","workEmail":"c{n}@example.com",
"jobTitle":"Administrator","hireDate":"2025-03-03","supervisorId":null,"department":"Human Resources","division":"North America",
"location":"Salt Lake City, Utah","employmentHistoryStatus":"Full-Time","status":"Active"}"#;
const JOB: &str = r#"{"employeeId":"{hris_employees}","date":"2023-03-03","location":"Salt Lake City, Utah","department":"Human Resources",
"division":"North America","jobTitle":"Associate","reportsTo":"Jennifer Caldwell"}"#;
const APPLICATION: &str = r#"{"applicant":{"id":1,"firstName":"Ada","lastName":"King {n}","email":"a{n}@example.com"},
"status":{"id":1,"label":"New"},"job":{"id":"{ats_jobs}","title":{"label":"Engineer"}}}"#;
const FIELDS: &[&str] =
    &["name", "url", "format", "monitorFields", "postFields", "includeCompanyDomain", "events"];

fn changed(call: &mut Call<'_>) -> Outcome {
    let Some(from) = call.time("since")? else { return Err(call.bad("since is required")) };
    let kind = call.query("type").unwrap_or("all").to_lowercase();
    if !["inserted", "updated", "deleted", "all"].contains(&kind.as_str()) {
        return Err(call.bad("type is not known"));
    }
    let start = call.tenant.log.iter().position(|c| c.at >= from).unwrap_or(call.end());
    let mut employees = Map::new();
    for latest in call.changed(&[EMPLOYEES], start, call.end()) {
        let action = match (&latest.row, latest.fresh) {
            (None, _) => "Deleted",
            (Some(_), true) => "Inserted",
            (Some(_), false) => "Updated",
        };
        if kind == "all" || kind == action.to_lowercase() {
            let at = Time::Seconds.text(latest.change.at);
            employees
                .insert(latest.id.clone(), json!({"id": latest.id, "action": action, "lastChanged": at}));
        }
    }
    let latest = Time::Seconds.text(call.now());
    ok(json!({"latest": latest, "employees": employees}))
}

fn table(call: &mut Call<'_>) -> Outcome {
    let Some(from) = call.time("since")? else { return Err(call.bad("since is required")) };
    if call.hole("table") != "jobInfo" {
        return Err(call.missing());
    }
    let rows = call.rows(JOBS);
    let mut employees = Map::new();
    for row in since(rows.clone(), Some(from)) {
        let id = crate::world::text(&row.body["employeeId"]);
        let own = rows.iter().filter(|r| r.body["employeeId"] == row.body["employeeId"]);
        let own: Vec<Value> = own
            .map(|r| {
                let mut body = r.body.clone();
                if let Some(fields) = body.as_object_mut() {
                    fields.remove("id");
                    fields.remove("employeeId");
                }
                body
            })
            .collect();
        employees.insert(id, json!({"lastChanged": Time::Seconds.text(row.updated), "rows": own}));
    }
    ok(json!({"table": "jobInfo", "employees": employees}))
}

/// The one filter that the dossier has: `lastChanged gt '<time>'`.
fn dataset(call: &mut Call<'_>) -> Outcome {
    let mut rows = call.rows(EMPLOYEES);
    if let Some(filter) = call.field("filter") {
        let time =
            filter.strip_prefix("lastChanged gt '").and_then(|f| f.strip_suffix('\'')).and_then(instant);
        let Some(time) = time else { return Err(call.bad("the filter is not understood")) };
        rows.retain(|row| row.updated > time);
    }
    let Some(fields) = call.fields().get("fields").and_then(Value::as_array).cloned() else {
        return Err(call.bad("fields is required"));
    };
    let size = call.bounded(call.field("pageSize"), "pageSize", 500, 1, 1000)?;
    let page = call.bounded(call.field("page"), "page", 1, 1, usize::MAX)?;
    let shown = call.window(&rows, (page - 1).saturating_mul(size), size);
    let data: Vec<Value> = shown
        .rows
        .iter()
        .map(|row| {
            let name = |field: &Value| crate::world::text(field);
            let asked =
                fields.iter().map(|f| (name(f), row.body.get(name(f)).cloned().unwrap_or(Value::Null)));
            json!({"fields": asked.collect::<Map<_, _>>()})
        })
        .collect();
    let pages = rows.len().div_ceil(size).max(1);
    ok(json!({"data": data, "links": [],
        "meta": {"page": page, "pageSize": size, "totalPages": pages, "totalItems": shown.total}}))
}

fn one(call: &mut Call<'_>) -> Outcome {
    let body = call.get(EMPLOYEES)?;
    let asked: Vec<&str> =
        call.query("fields").unwrap_or_default().split(',').filter(|f| !f.is_empty()).collect();
    if asked.len() > 400 {
        return Err(call.bad("at most 400 fields"));
    }
    let mut shown: Map<String, Value> =
        asked.iter().map(|f| ((*f).to_owned(), body.get(*f).cloned().unwrap_or(Value::Null))).collect();
    shown.insert("id".into(), body["id"].clone());
    ok(Value::Object(shown))
}

fn applications(call: &mut Call<'_>) -> Outcome {
    let rows = call.rows("ats_applications");
    let page = call.number("page", 1, 1, usize::MAX)?;
    let shown = call.window(&rows, (page - 1) * 100, 100);
    ok(
        json!({"paginationComplete": shown.next.is_none(), "nextPageUrl": shown.next.map(|_| call.again(&[("page", (page + 1).to_string())])),
        "applications": shown.bodies()}),
    )
}

fn jobs(call: &mut Call<'_>) -> Outcome {
    let rows = call.rows("ats_jobs");
    ok(rows.into_iter().map(|row| row.body).collect())
}

fn statuses(_: &mut Call<'_>) -> Outcome {
    ok(
        json!([{"id": "1", "code": "NEW", "name": "New"}, {"id": "2", "code": "REVIEWED", "name": "Reviewed"}]),
    )
}

fn monitor_fields(_: &mut Call<'_>) -> Outcome {
    ok(
        json!({"fields": [{"id": 1, "name": "First Name", "alias": "firstName"}, {"id": 2, "name": "Job Title", "alias": "jobTitle"}]}),
    )
}

fn checked(call: &Call<'_>) -> Result<(String, Vec<String>), Reply> {
    let url = call.target("url")?;
    let fields = call.fields();
    if !fields.contains_key("name")
        || !matches!(call.field("format").as_deref(), Some("json" | "form-encoded"))
    {
        return Err(call.bad("name and format are required"));
    }
    let events: Vec<String> = fields
        .get("events")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(crate::world::text)
        .collect();
    let with_fields = events.iter().filter(|e| e.starts_with("employee_with_fields.")).count();
    if with_fields > 0 && events.iter().any(|e| e.starts_with("employee.")) {
        return Err(call.bad("the employee families cannot be mixed"));
    }
    let updates =
        events.is_empty() || events.iter().any(|e| e.starts_with("employee") && e.ends_with(".updated"));
    let monitored = fields.get("monitorFields").and_then(Value::as_array).is_some_and(|f| !f.is_empty());
    if updates && !monitored {
        return Err(call.bad("monitorFields is required"));
    }
    Ok((url, events))
}

fn hook_json(subscription: &crate::webhooks::Subscription) -> Value {
    let mut body = Value::Object(subscription.extra.clone());
    body["id"] = subscription.id.clone().into();
    body["url"] = subscription.url.clone().into();
    body["events"] = subscription.events.clone().into();
    body["created"] = Time::Space.text(subscription.created).into();
    body["lastSent"] = Value::Null;
    body
}

fn create(call: &mut Call<'_>) -> Outcome {
    let (url, events) = checked(call)?;
    let extra = call.fields();
    let id = call.tenant.next().to_string();
    let made = call.subscribe(id, &url, events);
    made.extra = extra;
    let mut body = hook_json(made);
    body["privateKey"] = made.secret.clone().into();
    Ok(Reply::json(201, &body))
}

fn hooks(call: &mut Call<'_>) -> Outcome {
    let all = call.tenant.subscriptions.iter().map(|s| {
        json!({"id": s.id, "name": s.extra.get("name"), "created": Time::Space.text(s.created), "lastSent": null, "url": s.url})
    });
    ok(json!({"webhooks": all.collect::<Vec<_>>()}))
}

fn hook(call: &mut Call<'_>) -> Outcome {
    ok(hook_json(call.subscription(call.hole("id")).ok_or_else(|| call.missing())?))
}

fn replace(call: &mut Call<'_>) -> Outcome {
    let (url, events) = checked(call)?;
    let (id, extra) = (call.hole("id").to_owned(), call.fields());
    let missing = call.missing();
    let found = call.tenant.subscriptions.iter_mut().find(|s| s.id == id).ok_or(missing)?;
    (found.url, found.events, found.extra) = (url, events, extra);
    ok(hook_json(found))
}

fn remove(call: &mut Call<'_>) -> Outcome {
    let id = call.hole("id").to_owned();
    call.unsubscribe(&id)?;
    Ok(Reply::text(200, "The webhook was deleted."))
}

/// A change of a job row is an update of its employee; creating one tells of both.
fn events(tenant: &Tenant, change: &Change) -> Vec<(String, Value)> {
    let (id, actions) = match change.resource {
        EMPLOYEES if change.action == Action::Created => {
            (change.id.clone(), vec![Action::Created, Action::Updated])
        }
        EMPLOYEES => (change.id.clone(), vec![change.action]),
        JOBS => (crate::world::text(&content(change)["employeeId"]), vec![Action::Updated]),
        _ => return Vec::new(),
    };
    let at = Time::Salesforce.text(change.at).replace(".000", "");
    let mut told = Vec::new();
    for action in actions {
        let mut data = json!({"companyId": tenant.number.to_string(), "employeeId": id});
        if action == Action::Updated {
            data["changedFields"] = change.fields.clone().into();
        }
        told.push((
            format!("employee.{}", action.word()),
            json!({"type": format!("employee.{}", action.word()), "timestamp": at, "data": data}),
        ));
        let word = action.choose("Created", "Updated", "Deleted");
        let row = json!({"id": id, "action": word, "timestamp": at, "changedFields": change.fields, "fields": content(change)});
        told.push((format!("employee_with_fields.{}", action.word()), json!({"employees": [row]})));
    }
    told
}

fn pack(packing: &Packing<'_>) -> Outgoing {
    let outgoing = Outgoing::json(&packing.subscription.url, &packing.messages[0].body);
    let form = if packing.tenant.on("iso_timestamp") { Time::Seconds } else { Time::EpochSeconds };
    let timestamp = form.text(packing.now);
    let signed = [outgoing.body.as_slice(), timestamp.as_bytes()].concat();
    let signature = sign::hex_sha256(&packing.subscription.secret, &signed);
    let domain = packing.subscription.extra.get("includeCompanyDomain") == Some(&json!(true));
    let outgoing = outgoing.with("x-bamboohr-timestamp", timestamp).with("x-bamboohr-signature", signature);
    if domain { outgoing.with("company-domain", &packing.tenant.name) } else { outgoing }
}
