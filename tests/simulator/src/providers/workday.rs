//! Workday: a report as one answer with prompts of its author's choice, and workers by offset; no callbacks, no time in REST.

use crate::{
    auth::{self, Client, OAuth},
    call::{Call, since},
    clock::Time,
    provider::{Id, Kind, Limit, Provider, Trouble, list, token},
    rate,
    reply::{Outcome, Reply, ok},
};
use serde_json::{Value, json};

const EMPLOYEES: &str = "hris_employees";

pub(crate) fn provider() -> Provider {
    Provider {
        switches: &[("report_updated_from", "the report has a prompt `Updated_From` [K: its author's choice]"), ("csv", "the report answers `format=csv` [K]")],
        credentials: &["username", "password", "client_id", "client_secret"],
        kinds: vec![
            Kind::new(EMPLOYEES, "worker", Id::Hex(32), r#"{"descriptor":"Logan McNeil {n}","person":{"email":"w{n}@example.com"},"workerId":"2{n}","workerType":{"descriptor":"Employee"},"primaryJob":{"id":"5bf0","descriptor":"VP HR","businessTitle":"VP HR","location":{"descriptor":"San Francisco"}}}"#)
                .touch("primaryJob.businessTitle"),
        ],
        routes: vec![
            token("/ccx/oauth2/{tenant}/token", |call| {
                let oauth = OAuth { seconds: 3600, rotates: false, client: Client::Basic, grants: &["refresh_token", "client_credentials"] };
                auth::token(call, &oauth, &Value::Null)
            }),
            list("/ccx/service/customreport2/{tenant}/{owner}/{report}", report).of(EMPLOYEES).query(&["format", "Updated_From"]),
            list("/ccx/api/staffing/{version}/{tenant}/workers", workers).of(EMPLOYEES).query(&["limit", "offset"]),
            list("/ccx/api/v1/{tenant}/workers", workers).of(EMPLOYEES).query(&["limit", "offset"]),
            crate::provider::get("/ccx/api/staffing/{version}/{tenant}/workers/{id}", |call| ok(call.get(EMPLOYEES)?)).of(EMPLOYEES),
        ],
        guard: |call| {
            let own = |name: &str| call.tenant.credentials.get(name).cloned().unwrap_or_default();
            let user = format!("{}@{}", own("username"), call.tenant.name);
            match auth::basic(call) {
                Some(pair) if pair == (user, own("password")) => Ok(()),
                Some(_) => Err(call.refuse(Trouble::Unauthorized, "invalid username or password")),
                None => auth::bearer(call),
            }
        },
        limit: Some(Limit { most: 10, seconds: 1, headers: rate::silent, over: rate::silent }),
        ..Provider::new("workday", "Workday (RaaS)")
    }
}

fn report(call: &mut Call<'_>) -> Outcome {
    let mut rows = call.rows(EMPLOYEES);
    if call.query("Updated_From").is_some() {
        if !call.tenant.on("report_updated_from") {
            return Err(call.bad("the report has no such prompt"));
        }
        rows = since(rows, call.time("Updated_From")?);
    }
    let entry = |row: &crate::call::Row| {
        let b = &row.body;
        json!({"Workday_ID": row.id, "Employee_ID": b["workerId"], "Worker": b["descriptor"], "Email": b["person"]["email"],
            "Business_Title": b["primaryJob"]["businessTitle"], "Location": b["primaryJob"]["location"]["descriptor"],
            "Worker_Type": b["workerType"]["descriptor"], "Last_Modified": Time::Milliseconds.text(row.updated)})
    };
    let entries: Vec<Value> = rows.iter().map(entry).collect();
    match call.query("format") {
        Some("json") => ok(json!({"Report_Entry": entries})),
        Some("csv") if call.tenant.on("csv") => {
            let names = [
                "Workday_ID",
                "Employee_ID",
                "Worker",
                "Email",
                "Business_Title",
                "Location",
                "Worker_Type",
                "Last_Modified",
            ];
            let quote = |v: &Value| format!("\"{}\"", crate::world::text(v).replace('"', "\"\""));
            let line = |e: &Value| names.iter().map(|n| quote(&e[n])).collect::<Vec<_>>().join(",");
            let lines: Vec<String> =
                std::iter::once(names.join(",")).chain(entries.iter().map(line)).collect();
            let mut reply = Reply::text(200, &(lines.join("\r\n") + "\r\n"));
            reply.headers = vec![("content-type".into(), "text/csv;charset=utf-8".into())];
            Ok(reply)
        }
        _ => Err(call.bad("format is json")),
    }
}

fn workers(call: &mut Call<'_>) -> Outcome {
    let (size, from) = (call.number("limit", 20, 1, 100)?, call.number("offset", 0, 0, usize::MAX / 2)?);
    let rows = call.rows(EMPLOYEES);
    let page = call.window(&rows, from, size);
    ok(json!({"total": page.total, "data": page.bodies()}))
}
