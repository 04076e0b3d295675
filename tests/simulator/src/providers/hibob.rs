//! HiBob: one search without pages or time filter; webhooks by hand, v2, thin, with a ping that is no JSON.

use crate::{
    auth,
    call::Call,
    clock::Time,
    provider::{Id, Kind, Limit, Provider, get, list, search},
    rate,
    reply::{Outcome, Outgoing, ok},
    sign,
    webhooks::{By, EACH, Packing, Subscription, Webhooks, content},
    world::{Action, Change, Tenant, at},
};
use serde_json::{Map, Value, json};

const EMPLOYEES: &str = "hris_employees";
const EMPLOYMENTS: &str = "hris_employments";

pub(crate) fn provider() -> Provider {
    Provider {
        switches: &[("bare_field_updates", "`fieldUpdates` as plain field ids instead of objects [U]")],
        credentials: &["service_user_id", "service_user_token"],
        kinds: vec![
            Kind::new(EMPLOYEES, "employee", Id::Digits19, EMPLOYEE).touch("work.title"),
            Kind::new(EMPLOYMENTS, "employment", Id::Number, r#"{"employeeId":"{hris_employees}","effectiveDate":"2025-01-08","type":"Permanent","contract":"Full time","salaryPayType":"Salaried"}"#)
                .touch("contract")
                .parent("employeeId"),
        ],
        routes: vec![
            search("/v1/people/search", people).of(EMPLOYEES).body(&["showInactive", "humanReadable", "fields", "filters"]),
            get("/v1/people/{id}", one).posted().of(EMPLOYEES).body(&["fields", "humanReadable"]),
            list("/v1/people/{id}/employment", |call| entries(call, true)).of(EMPLOYMENTS),
            list("/v1/people/{id}/work", |call| entries(call, false)),
            list("/v1/people/{id}/lifecycle", |call| entries(call, false)),
        ],
        guard: |call| {
            let own = |name: &str| call.tenant.credentials.get(name).cloned();
            let wanted = own("service_user_id").zip(own("service_user_token"));
            if auth::basic(call) == wanted { Ok(()) } else { Err(call.refuse(crate::provider::Trouble::Unauthorized, "unauthorized")) }
        },
        limit: Some(Limit { most: 50, seconds: 60, headers: rate::x_rate_limit, over: rate::silent }),
        webhooks: Some(Webhooks { events, pack, by: By::Hand, ping: Some(ping), gives_up: Some("disabled"), ..EACH }),
        ..Provider::new("hibob", "HiBob")
    }
}

const EMPLOYEE: &str = r#"{"firstName":"Maya","surname":"Levi {n}","displayName":"Maya Levi {n}","fullName":"Maya Levi {n}","email":"m{n}@example.com",
"work":{"title":"Account Manager","department":"Sales","site":"London","startDate":"2024-01-08","reportsTo":null},
"internal":{"status":"Active","lifecycleStatus":"Employed"}}"#;

/// Fields that are asked for as `root.x` stand at the top; those of inactive people only with `showInactive`.
fn shown(body: &Value, fields: &[Value]) -> Value {
    let mut chosen = json!({"id": body["id"]});
    for field in fields.iter().map(crate::world::text) {
        let path = field.strip_prefix("root.").unwrap_or(&field).to_owned();
        if let Some(value) = at(body, &path) {
            crate::world::put(&mut chosen, &path, value.clone());
        }
    }
    if fields.is_empty() { body.clone() } else { chosen }
}

fn fields(call: &Call<'_>) -> Vec<Value> {
    call.fields().get("fields").and_then(Value::as_array).cloned().unwrap_or_default()
}

fn people(call: &mut Call<'_>) -> Outcome {
    let (all, asked) = (call.field("showInactive").as_deref() == Some("true"), fields(call));
    let rows = call.rows(EMPLOYEES).into_iter().map(|row| row.body);
    let shown: Vec<Value> =
        rows.filter(|b| all || b["internal"]["status"] == "Active").map(|b| shown(&b, &asked)).collect();
    ok(json!({"employees": shown}))
}

fn one(call: &mut Call<'_>) -> Outcome {
    ok(shown(&call.get(EMPLOYEES)?, &fields(call)))
}

fn entries(call: &mut Call<'_>, employment: bool) -> Outcome {
    let id = json!(call.hole("id"));
    call.get(EMPLOYEES)?;
    let mut rows = if employment { call.rows(EMPLOYMENTS) } else { Vec::new() };
    rows.retain(|row| crate::world::text(&row.body["employeeId"]) == crate::world::text(&id));
    ok(json!({"values": rows.into_iter().map(|row| row.body).collect::<Vec<_>>()}))
}

/// Deleting a table's row tells nothing.
fn events(tenant: &Tenant, change: &Change) -> Vec<(String, Value)> {
    let (word, data) = match (change.resource, change.action) {
        (EMPLOYEES, Action::Updated) => {
            let ids = change
                .fields
                .iter()
                .map(|f| if tenant.on("bare_field_updates") { json!(f) } else { json!({"id": f}) });
            ("employee.updated", json!({"employeeId": change.id, "fieldUpdates": ids.collect::<Vec<_>>()}))
        }
        (EMPLOYEES, action) => {
            (action.choose("employee.created", "", "employee.deleted"), json!({"employeeId": change.id}))
        }
        (EMPLOYMENTS, Action::Created | Action::Updated) => {
            let body = content(change);
            let data = json!({"employeeId": body["employeeId"], "tableId": "employment", "effectiveDate": body["effectiveDate"]});
            (change.action.choose("table.entry.created", "table.entry.updated", ""), data)
        }
        _ => return Vec::new(),
    };
    let at = Time::Milliseconds.text(change.at).replace('Z', "000");
    let data: Map<String, Value> = data.as_object().cloned().unwrap_or_default();
    let body = json!({"companyId": tenant.number, "type": word, "triggeredBy": "system", "triggeredAt": at, "version": "v2", "data": data});
    vec![(word.to_owned(), body)]
}

fn ping(subscription: &Subscription) -> Outgoing {
    let mut outgoing = Outgoing::json(&subscription.url, &Value::Null);
    outgoing.body = b"Ping test".to_vec();
    let signature = sign::base64_sha512(&subscription.secret, &outgoing.body);
    outgoing.with("bob-signature", signature)
}

fn pack(packing: &Packing<'_>) -> Outgoing {
    let outgoing = Outgoing::json(&packing.subscription.url, &packing.messages[0].body);
    let signature = sign::base64_sha512(&packing.subscription.secret, &outgoing.body);
    outgoing.with("bob-signature", signature)
}
