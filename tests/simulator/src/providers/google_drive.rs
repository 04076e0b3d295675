//! Google Drive: partial answers by `fields`, a feed of changes by page token, channels that end and tell nothing but that.

use crate::{
    auth::{self, Client, JWT, OAuth},
    call::{Call, Row},
    clock::{Time, instant},
    provider::{Id, Kind, Limit, Provider, Trouble, authorize, feed, get, list, subscribe, token},
    rate,
    reply::{Outcome, Outgoing, Reply, ok},
    webhooks::{EACH, Packing, Webhooks},
    world::{Change, Tenant},
};
use serde_json::{Map, Value, json};

const FILES: &str = "documents_files";
const FOLDERS: &str = "documents_folders";
const BOTH: &[&str] = &[FILES, FOLDERS];

pub(crate) fn provider() -> Provider {
    let kind = |resource, word, example| {
        Kind::new(resource, word, Id::Text("1", 33), example)
            .created("createdTime", Time::Milliseconds)
            .updated("modifiedTime", Time::Milliseconds)
    };
    Provider {
        kinds: vec![
            kind(
                FOLDERS,
                "folder",
                r#"{"kind":"drive#file","name":"Folder {n}","mimeType":"application/vnd.google-apps.folder","parents":["0AN1h4oAN_CPaUk9PVA"],"trashed":false,"webViewLink":"https://drive.example.com/folder/{n}"}"#,
            ),
            kind(
                FILES,
                "file",
                r#"{"kind":"drive#file","name":"Plan {n}","mimeType":"application/pdf","parents":["0AN1h4oAN_CPaUk9PVA"],"size":"1024","trashed":false,"webViewLink":"https://drive.example.com/file/{n}"}"#,
            ),
        ],
        routes: vec![
            token("/token", tokens),
            authorize("/o/oauth2/v2/auth"),
            list("/drive/v3/files", files).of(FILES).query(&[
                "pageSize",
                "pageToken",
                "q",
                "orderBy",
                "fields",
                "supportsAllDrives",
                "includeItemsFromAllDrives",
                "corpora",
                "driveId",
                "spaces",
            ]),
            feed("/drive/v3/changes/startPageToken", start).query(&[
                "supportsAllDrives",
                "driveId",
                "fields",
            ]),
            feed("/drive/v3/changes", changes).of(FILES).query(&[
                "pageToken",
                "pageSize",
                "includeRemoved",
                "fields",
                "supportsAllDrives",
                "includeItemsFromAllDrives",
                "spaces",
                "driveId",
                "restrictToMyDrive",
                "includeCorpusRemovals",
            ]),
            get("/drive/v3/files/{id}", one).of(FILES).query(&["fields", "supportsAllDrives"]),
            get("/drive/v3/about", |_| {
                ok(json!({"user": {"emailAddress": "dev@example.com", "permissionId": "1"}}))
            })
            .query(&["fields"]),
            list("/drive/v3/drives", |_| ok(json!({"drives": []}))).query(&[
                "pageSize",
                "pageToken",
                "fields",
            ]),
            subscribe("POST", "/drive/v3/changes/watch", watch)
                .query(&[
                    "pageToken",
                    "supportsAllDrives",
                    "includeItemsFromAllDrives",
                    "includeRemoved",
                    "driveId",
                    "spaces",
                    "restrictToMyDrive",
                ])
                .body(&["id", "type", "address", "token", "expiration", "kind", "params"]),
            subscribe("POST", "/drive/v3/channels/stop", stop).body(&["id", "resourceId"]),
        ],
        guard: auth::bearer,
        refuse: |trouble, words| {
            let (status, reason, domain) = match trouble {
                Trouble::Limited => (403, "userRateLimitExceeded", "usageLimits"),
                Trouble::Unauthorized => (401, "authError", "global"),
                Trouble::Forbidden => (403, "insufficientPermissions", "global"),
                Trouble::NotFound => (404, "notFound", "global"),
                Trouble::BadRequest => (400, "invalid", "global"),
                Trouble::Broken => (500, "backendError", "global"),
            };
            Reply::json(
                status,
                &json!({"error": {"code": status, "message": words, "errors": [{"domain": domain, "reason": reason, "message": words}]}}),
            )
        },
        limit: Some(Limit { most: 12_000, seconds: 60, headers: rate::silent, over: rate::silent }),
        webhooks: Some(Webhooks {
            events: |_: &Tenant, change: &Change| {
                if BOTH.contains(&change.resource) {
                    vec![("change".into(), Value::Null)]
                } else {
                    Vec::new()
                }
            },
            pack,
            done: |status| matches!(status, 102 | 200 | 201 | 202 | 204),
            retries: &[1, 4, 16, 64],
            ..EACH
        }),
        ..Provider::new("google_drive", "Google Drive")
    }
}

fn tokens(call: &mut Call<'_>) -> Outcome {
    let oauth = OAuth {
        seconds: 3599,
        rotates: false,
        client: Client::Form,
        grants: &["authorization_code", "refresh_token", JWT],
    };
    auth::token(call, &oauth, &json!({"scope": "https://www.googleapis.com/auth/drive.metadata.readonly"}))
}

/// A partial answer: `a,b(c,d),e/f`, `*` for all. Without a mask, what the call shows by default.
fn masked(value: &Value, mask: &str) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| masked(item, mask)).collect(),
        Value::Object(fields) => {
            let (mut shown, mut rest) = (Map::new(), mask);
            while !rest.is_empty() {
                let name_ends = rest.find([',', '(', '/']).unwrap_or(rest.len());
                let name = rest[..name_ends].trim();
                let (inner, after) = match rest.as_bytes().get(name_ends) {
                    Some(b'(') => {
                        let mut depth = 0;
                        let end = rest.char_indices().skip(name_ends).find(|(_, c)| {
                            depth += i32::from(*c == '(') - i32::from(*c == ')');
                            depth == 0
                        });
                        let end = end.map_or(rest.len(), |(i, _)| i);
                        (&rest[name_ends + 1..end], rest.get(end + 1..).unwrap_or(""))
                    }
                    Some(b'/') => {
                        let end = rest[name_ends..].find(',').map_or(rest.len(), |i| i + name_ends);
                        (&rest[name_ends + 1..end], &rest[end..])
                    }
                    _ => ("*", &rest[name_ends..]),
                };
                rest = after.strip_prefix(',').unwrap_or(after);
                if name == "*" {
                    return value.clone();
                }
                if let Some(field) = fields.get(name) {
                    shown.insert(
                        name.to_owned(),
                        if inner == "*" { field.clone() } else { masked(field, inner) },
                    );
                }
            }
            Value::Object(shown)
        }
        scalar => scalar.clone(),
    }
}

fn shown(call: &Call<'_>, body: &Value, default: &str) -> Outcome {
    ok(masked(body, call.query("fields").unwrap_or(default)))
}

/// Conditions joined by `and`; times, `trashed`, `mimeType`, `in parents`.
fn holds(call: &Call<'_>, row: &Row, q: &str) -> Result<bool, Reply> {
    let mut all = true;
    for condition in q.split(" and ").map(str::trim).filter(|c| !c.is_empty()) {
        let words: Vec<&str> = condition.split_whitespace().collect();
        let quoted = |text: &str| text.trim_matches('\'').to_owned();
        all &= match words.as_slice() {
            ["modifiedTime", operator, time] => {
                let time = instant(&quoted(time)).ok_or_else(|| call.bad("Invalid Value"))?;
                match *operator {
                    ">" => row.updated > time,
                    ">=" => row.updated >= time,
                    "<" => row.updated < time,
                    "<=" => row.updated <= time,
                    _ => return Err(call.bad("Invalid Value")),
                }
            }
            ["trashed", "=", value] => (row.body["trashed"] == json!(true)) == (*value == "true"),
            ["mimeType", "=", value] => row.body["mimeType"] == json!(quoted(value)),
            ["mimeType", "!=", value] => row.body["mimeType"] != json!(quoted(value)),
            [id, "in", "parents"] => {
                row.body["parents"].as_array().is_some_and(|p| p.contains(&json!(quoted(id))))
            }
            _ => return Err(call.bad("Invalid Value")),
        };
    }
    Ok(all)
}

fn files(call: &mut Call<'_>) -> Outcome {
    let size = call.number("pageSize", 100, 1, 1000)?;
    let q = call.query("q").unwrap_or_default().to_owned();
    let token = call.query("pageToken").map(str::to_owned);
    let Some((after, carry)) = call.cursor(token.as_deref(), json!(q)) else {
        return Err(call.bad("Invalid Value"));
    };
    if carry != json!(q) {
        return Err(call.bad("the query of a page token is another"));
    }
    let mut rows = Vec::new();
    for row in call.rows_of(BOTH) {
        if holds(call, &row, &q)? {
            rows.push(row);
        }
    }
    match call.query("orderBy").unwrap_or_default() {
        "" | "folder" | "name" | "createdTime" => {}
        "modifiedTime" => rows = crate::call::by_updated(rows),
        "modifiedTime desc" => rows = crate::call::newest_first(crate::call::by_updated(rows)),
        _ => return Err(call.bad("Invalid Value")),
    }
    let page = call.behind(&rows, after, size, &carry);
    let mut body = json!({"kind": "drive#fileList", "incompleteSearch": false, "files": page.bodies()});
    if let Some(next) = page.next {
        body["nextPageToken"] = next.into();
    }
    shown(call, &body, "kind,incompleteSearch,nextPageToken,files(kind,id,name,mimeType)")
}

/// Page tokens are numbers that go up with the log.
fn number(position: usize) -> String {
    (2323 + position).to_string()
}

fn start(call: &mut Call<'_>) -> Outcome {
    let end = call.end();
    ok(json!({"kind": "drive#startPageToken", "startPageToken": number(end)}))
}

fn changes(call: &mut Call<'_>) -> Outcome {
    let size = call.number("pageSize", 100, 1, 1000)?;
    let Some(token) = call.query("pageToken").map(str::to_owned) else {
        return Err(call.bad("Required parameter: pageToken"));
    };
    let from = token.parse::<usize>().ok().and_then(|n| n.checked_sub(2323)).filter(|n| *n <= call.end());
    let state = match from {
        Some(from) if !call.bites(&crate::fault::FaultKind::ForgetCursors) => {
            call.remember(&json!({"log": from}))
        }
        _ => token,
    };
    let Some((changed, next)) = call.stretch(BOTH, &state, size) else {
        return Err(call.bad("Invalid Value"));
    };
    let removed = call.query("includeRemoved") != Some("false");
    let entries: Vec<Value> = changed
        .into_iter()
        .filter_map(|latest| {
            let mut entry = json!({"kind": "drive#change", "changeType": "file", "time": Time::Milliseconds.text(latest.change.at),
                "removed": latest.row.is_none(), "fileId": latest.id});
            match latest.row {
                Some(row) => entry["file"] = row.body,
                None if !removed => return None,
                None => {}
            }
            Some(entry)
        })
        .collect();
    let mut body = json!({"kind": "drive#changeList", "changes": entries});
    match next {
        Ok(next) => body["nextPageToken"] = next.into(),
        Err(end) => body["newStartPageToken"] = number(end).into(),
    }
    shown(
        call,
        &body,
        "kind,nextPageToken,newStartPageToken,changes(kind,changeType,time,removed,fileId,file(kind,id,name,mimeType))",
    )
}

fn one(call: &mut Call<'_>) -> Outcome {
    let id = call.hole("id");
    let row = call.one(FILES, id).or_else(|| call.one(FOLDERS, id)).ok_or_else(|| call.missing())?;
    shown(call, &row.body, "kind,id,name,mimeType")
}

fn watch(call: &mut Call<'_>) -> Outcome {
    let url = call.target("address")?;
    let (Some(id), Some("web_hook")) = (call.field("id"), call.field("type").as_deref()) else {
        return Err(call.bad("id and type are required"));
    };
    let token = call.field("token").unwrap_or_default();
    if call.query("pageToken").is_none() || id.len() > 64 || token.len() > 256 {
        return Err(call.bad("Invalid Value"));
    }
    if call.subscription(&id).is_some() {
        return Err(call.bad("channelIdNotUnique"));
    }
    let now = call.now();
    let asked = call.field("expiration").and_then(|e| e.parse::<i64>().ok()).unwrap_or(now + 3_600_000);
    let until = asked.min(now + 604_800_000);
    if until <= now {
        return Err(call.bad("the expiration is past"));
    }
    let resource = call.tenant.opaque("resource")[..20].to_owned();
    let uri = format!(
        "https://www.googleapis.com/drive/v3/changes?alt=json&pageToken={}",
        call.query("pageToken").unwrap_or_default()
    );
    let made = call.subscribe(id.clone(), &url, vec!["*".into()]);
    (made.until, made.secret) = (Some(until), token.clone());
    made.extra = [
        ("resourceId".to_owned(), json!(resource)),
        ("resourceUri".to_owned(), json!(uri)),
        ("greet".to_owned(), json!("sync")),
    ]
    .into_iter()
    .collect();
    let mut body = json!({"kind": "api#channel", "id": id, "resourceId": resource, "resourceUri": uri, "expiration": until.to_string()});
    if !token.is_empty() {
        body["token"] = token.into();
    }
    ok(body)
}

fn stop(call: &mut Call<'_>) -> Outcome {
    let (id, resource) = (call.field("id").unwrap_or_default(), call.field("resourceId").map(Value::from));
    if call.subscription(&id).and_then(|s| s.extra.get("resourceId").cloned()) != resource {
        return Err(call.missing());
    }
    call.unsubscribe(&id)?;
    Ok(Reply::empty(204))
}

/// Headers only.
fn pack(packing: &Packing<'_>) -> Outgoing {
    let (subscription, message) = (packing.subscription, &packing.messages[0]);
    let kept =
        |name: &str| subscription.extra.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let expires = std::time::SystemTime::UNIX_EPOCH
        + std::time::Duration::from_millis(subscription.until.unwrap_or(0).unsigned_abs());
    let outgoing =
        Outgoing { method: "POST", url: subscription.url.clone(), headers: Vec::new(), body: Vec::new() }
            .with("x-goog-channel-id", &subscription.id)
            .with("x-goog-channel-expiration", httpdate::fmt_http_date(expires))
            .with("x-goog-resource-id", kept("resourceId"))
            .with("x-goog-resource-state", &message.event)
            .with("x-goog-resource-uri", kept("resourceUri"))
            .with("x-goog-message-number", subscription.told + 1);
    if subscription.secret.is_empty() {
        outgoing
    } else {
        outgoing.with("x-goog-channel-token", &subscription.secret)
    }
}
