//! Salesforce: SOQL, a locator for the next rows, a window of deleted ids; no callbacks.

use crate::{
    auth::{self, Client, OAuth},
    call::{Call, Row},
    clock::{Time, instant},
    provider::{Id, Kind, Limit, Provider, Trouble, Window, authorize, feed, get, list, token},
    rate,
    reply::{Outcome, Reply, ok},
};
use serde_json::{Map, Value, json};

const ACCOUNTS: &str = "crm_accounts";
const CONTACTS: &str = "crm_contacts";
/// What an object has beside what a record was made with; answered null.
const STANDARD: &[&str] = &[
    "Name",
    "FirstName",
    "LastName",
    "Salutation",
    "Title",
    "Department",
    "Email",
    "Phone",
    "MobilePhone",
    "HomePhone",
    "OtherPhone",
    "Fax",
    "Website",
    "Industry",
    "AnnualRevenue",
    "NumberOfEmployees",
    "Description",
    "Type",
    "AccountNumber",
    "AccountId",
    "OwnerId",
    "ParentId",
    "ReportsToId",
    "BillingStreet",
    "BillingCity",
    "BillingState",
    "BillingPostalCode",
    "BillingCountry",
    "ShippingStreet",
    "ShippingCity",
    "ShippingState",
    "ShippingPostalCode",
    "ShippingCountry",
    "MailingStreet",
    "MailingCity",
    "MailingState",
    "MailingPostalCode",
    "MailingCountry",
    "Birthdate",
    "LeadSource",
    "Rating",
    "CreatedById",
    "LastModifiedById",
];

pub(crate) fn provider() -> Provider {
    let kind = |resource, word, id, example| {
        Kind::new(resource, word, id, example)
            .id_at("Id")
            .created("CreatedDate", Time::Salesforce)
            .updated("SystemModstamp", Time::Salesforce)
    };
    Provider {
        credentials: &["client_id", "client_secret"],
        kinds: vec![
            kind(ACCOUNTS, "Account", Id::Text("001dM0", 18), r#"{"Name":"Account {n}","Industry":"Energy","Website":"https://a{n}.example.com","Phone":"(512) 757-6000","AnnualRevenue":1000000}"#).touch("Name"),
            kind(CONTACTS, "Contact", Id::Text("003dM0", 18), r#"{"FirstName":"Rose","LastName":"Gonzalez {n}","Email":"r{n}@example.com","Phone":"(512) 757-6000","Title":"SVP, Procurement","AccountId":"{crm_accounts}"}"#).touch("LastName"),
        ],
        routes: vec![
            token("/services/oauth2/token", tokens),
            authorize("/services/oauth2/authorize"),
            list("/services/data/{version}/query", |call| query(call, false)).query(&["q"]),
            list("/services/data/{version}/queryAll", |call| query(call, true)).query(&["q"]),
            list("/services/data/{version}/query/{locator}", more),
            feed("/services/data/{version}/sobjects/Account/deleted/", |call| deleted(call, ACCOUNTS)).of(ACCOUNTS).query(&["start", "end"]),
            feed("/services/data/{version}/sobjects/Contact/deleted/", |call| deleted(call, CONTACTS)).of(CONTACTS).query(&["start", "end"]),
            get("/services/data/{version}/sobjects/Account/{id}", |call| one(call, ACCOUNTS)).of(ACCOUNTS).query(&["fields"]),
            get("/services/data/{version}/sobjects/Contact/{id}", |call| one(call, CONTACTS)).of(CONTACTS).query(&["fields"]),
            get("/services/data/{version}/limits", |_| ok(json!({"DailyApiRequests": {"Max": 15000, "Remaining": 14000}}))),
        ],
        guard: auth::bearer,
        refuse,
        limit: Some(Limit { most: 15_000, seconds: 86_400, headers, over: rate::silent }),
        ..Provider::new("salesforce", "Salesforce")
    }
}

fn error(status: u16, code: &str, words: &str) -> Reply {
    Reply::json(status, &json!([{"errorCode": code, "message": words}]))
}

fn refuse(trouble: Trouble, words: &str) -> Reply {
    match trouble {
        Trouble::Unauthorized => error(401, "INVALID_SESSION_ID", "Session expired or invalid"),
        Trouble::Forbidden => error(403, "INSUFFICIENT_ACCESS", words),
        Trouble::NotFound => error(404, "NOT_FOUND", words),
        Trouble::BadRequest => error(400, "MALFORMED_QUERY", words),
        Trouble::Limited => error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
        Trouble::Broken => error(500, "UNKNOWN_EXCEPTION", words),
    }
}

fn headers(window: &Window) -> Vec<(&'static str, String)> {
    vec![("sforce-limit-info", format!("api-usage={}/{}", window.most - window.left, window.most))]
}

fn tokens(call: &mut Call<'_>) -> Outcome {
    let oauth = OAuth {
        seconds: 7200,
        rotates: false,
        client: Client::Either,
        grants: &["client_credentials", "refresh_token", "authorization_code", "password"],
    };
    let base = call.request.base.clone();
    let id = format!("{base}/id/00DdM{:013}/005dM0000000001", call.tenant.number);
    auth::token(call, &oauth, &json!({"instance_url": base, "id": id, "issued_at": call.now().to_string()}))
}

/// A row with the fields of a query, in the object's wrapping.
fn shown(row: &Row, fields: &[String], version: &str) -> Result<Value, Reply> {
    let object = if row.resource == ACCOUNTS { "Account" } else { "Contact" };
    let mut body = Map::new();
    body.insert(
        "attributes".into(),
        json!({"type": object, "url": format!("/services/data/{version}/sobjects/{object}/{}", row.id)}),
    );
    for field in fields {
        let value = match field.as_str() {
            "LastModifiedDate" => row.body["SystemModstamp"].clone(),
            "IsDeleted" => (row.body.get("_deleted").is_some()).into(),
            name => match row.body.get(name) {
                Some(value) => value.clone(),
                None if STANDARD.contains(&name) => Value::Null,
                // A field of another object, by its relation.
                None if name.contains('.') => {
                    let (relation, field) = name.split_once('.').unwrap_or((name, ""));
                    let entry = body.entry(relation).or_insert_with(|| json!({}));
                    entry[field] = Value::Null;
                    continue;
                }
                None => {
                    return Err(error(
                        400,
                        "INVALID_FIELD",
                        &format!("No such column '{name}' on entity '{object}'"),
                    ));
                }
            },
        };
        body.insert(field.clone(), value);
    }
    Ok(Value::Object(body))
}

/// `SELECT … FROM … [WHERE … AND …] [ORDER BY …] [LIMIT n]`, with times and ids in comparisons.
fn query(call: &mut Call<'_>, all: bool) -> Outcome {
    let text = call.query("q").unwrap_or_default().to_owned();
    let malformed = |words: &str| error(400, "MALFORMED_QUERY", words);
    let upper = text.to_uppercase();
    let place = |word: &str| upper.find(word);
    let (Some(0), Some(from)) = (place("SELECT "), place(" FROM ")) else {
        return Err(malformed("expected SELECT and FROM"));
    };
    let cut = |start: usize, ends: &[&str]| {
        let end = ends.iter().filter_map(|w| place(w)).filter(|p| *p > start).min().unwrap_or(text.len());
        text[start..end].trim().to_owned()
    };
    let fields: Vec<String> = text[7..from].split(',').map(|f| f.trim().to_owned()).collect();
    let resource = match cut(from + 6, &[" WHERE ", " ORDER BY ", " LIMIT "]).as_str() {
        "Account" => ACCOUNTS,
        "Contact" => CONTACTS,
        _ => return Err(error(400, "INVALID_TYPE", "sObject type is not supported")),
    };
    let mut rows = call.rows(resource);
    if all {
        rows.extend(call.all(resource, true).into_iter().map(|mut row| {
            row.body["_deleted"] = true.into();
            row
        }));
    }
    let conditions =
        place(" WHERE ").map(|start| cut(start + 7, &[" ORDER BY ", " LIMIT "])).unwrap_or_default();
    let conditions = conditions.replace(" and ", " AND ");
    for condition in conditions.split(" AND ").filter(|c| !c.trim().is_empty()) {
        let words: Vec<&str> = condition.trim().trim_matches(['(', ')']).split_whitespace().collect();
        let [field, operator, value] = words.as_slice() else {
            return Err(malformed("a condition is not understood"));
        };
        let keep: Box<dyn Fn(&Row) -> std::cmp::Ordering> = match *field {
            "SystemModstamp" | "LastModifiedDate" | "CreatedDate" => {
                let zoned =
                    value.ends_with('Z') || value.get(19..).is_some_and(|tail| tail.contains(['+', '-']));
                let time =
                    instant(value).filter(|_| zoned).ok_or_else(|| malformed("a dateTime is not valid"))?;
                let created = *field == "CreatedDate";
                Box::new(move |row| (if created { row.created } else { row.updated }).cmp(&time))
            }
            "Id" => {
                let id = value
                    .strip_prefix('\'')
                    .and_then(|v| v.strip_suffix('\''))
                    .ok_or_else(|| malformed("an id is quoted"))?
                    .to_owned();
                Box::new(move |row| row.id.cmp(&id))
            }
            "IsDeleted" => {
                let wanted = value.eq_ignore_ascii_case("true");
                Box::new(move |row| row.body.get("_deleted").is_some().cmp(&wanted))
            }
            _ => return Err(malformed("a condition's field is not understood")),
        };
        let holds: fn(std::cmp::Ordering) -> bool = match *operator {
            ">=" => std::cmp::Ordering::is_ge,
            ">" => std::cmp::Ordering::is_gt,
            "<=" => std::cmp::Ordering::is_le,
            "<" => std::cmp::Ordering::is_lt,
            "=" => std::cmp::Ordering::is_eq,
            _ => return Err(malformed("an operator is not understood")),
        };
        rows.retain(|row| holds(keep(row)));
    }
    let order = place(" ORDER BY ").map(|start| cut(start + 10, &[" LIMIT "])).unwrap_or_default();
    let first = order.split(',').next().unwrap_or_default().trim().to_owned();
    match first.trim_end_matches(" ASC") {
        "" => {}
        "SystemModstamp" | "LastModifiedDate" => {
            rows.sort_by(|a, b| (a.updated, &a.id).cmp(&(b.updated, &b.id)))
        }
        "Id" => rows.sort_by(|a, b| a.id.cmp(&b.id)),
        "CreatedDate" => rows.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id))),
        _ => return Err(malformed("the order is not understood")),
    }
    if let Some(limit) = place(" LIMIT ").and_then(|start| text[start + 7..].trim().parse::<usize>().ok()) {
        rows.truncate(limit);
    }
    let version = call.hole("version").to_owned();
    let shown = rows.iter().map(|row| shown(row, &fields, &version)).collect::<Result<Vec<_>, _>>()?;
    page(call, &shown, 0)
}

/// A locator keeps the answer: what changes meanwhile is not in it.
fn page(call: &mut Call<'_>, records: &[Value], from: usize) -> Outcome {
    let asked = call
        .header("sforce-query-options")
        .and_then(|h| h.split("batchSize=").nth(1))
        .and_then(|n| n.trim().parse().ok());
    let set = call.tenant.settings.get("page").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let size = set.unwrap_or_else(|| asked.unwrap_or(2000usize).clamp(200, 2000));
    let lie = call
        .faults
        .iter()
        .find_map(|f| if let crate::fault::FaultKind::Total { by } = f { Some(*by) } else { None });
    let total = i64::try_from(records.len()).unwrap_or(0) + lie.unwrap_or(0);
    let mut body = json!({"totalSize": total, "done": true, "records": records.iter().skip(from).take(size).collect::<Vec<_>>()});
    let repeated = call.bites(&crate::fault::FaultKind::RepeatCursor);
    if repeated || from + size < records.len() {
        let next = if repeated { from } else { from + size };
        let locator = call.remember(&json!({"records": records, "from": next}));
        body["done"] = false.into();
        body["nextRecordsUrl"] = format!("/services/data/{}/query/{locator}", call.hole("version")).into();
    }
    ok(body)
}

fn more(call: &mut Call<'_>) -> Outcome {
    let Some(state) = call.recall(call.hole("locator")) else {
        return Err(error(400, "INVALID_QUERY_LOCATOR", "invalid query locator"));
    };
    let records = state["records"].as_array().cloned().unwrap_or_default();
    page(call, &records, state["from"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0))
}

fn deleted(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let (Some(start), Some(end)) = (call.time("start")?, call.time("end")?) else {
        return Err(error(400, "MISSING_ARGUMENT", "start and end are required"));
    };
    let minute = |at: i64| at - at.rem_euclid(60_000);
    let (start, end, now) = (minute(start), minute(end), call.now());
    if end < start + 60_000 || start < now - 30 * 86_400_000 {
        return Err(error(400, "INVALID_REPLICATION_DATE", "the window is not valid"));
    }
    let end = end.min(minute(now) + 60_000);
    let rows =
        if call.bites(&crate::fault::FaultKind::Empty) { Vec::new() } else { call.all(resource, true) };
    let gone = rows.iter().filter(|row| row.updated >= start && row.updated < end);
    let gone: Vec<Value> =
        gone.map(|row| json!({"id": row.id, "deletedDate": Time::Salesforce.text(row.updated)})).collect();
    ok(json!({"deletedRecords": gone, "earliestDateAvailable": Time::Salesforce.text(now - 30 * 86_400_000),
        "latestDateCovered": Time::Salesforce.text(end.min(now))}))
}

fn one(call: &mut Call<'_>, resource: &'static str) -> Outcome {
    let row = call.one(resource, call.hole("id")).ok_or_else(|| call.missing())?;
    let asked = call.query("fields").map(|f| f.split(',').map(str::to_owned).collect::<Vec<_>>());
    let every = || row.body.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    ok(shown(&row, &asked.unwrap_or_else(every), call.hole("version"))?)
}
