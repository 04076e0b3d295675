//! Dropbox: everything is a POST; one cursor for listing and changes; tombstones without ids, a folder's for all in it; an
//! app-wide URL that hears of accounts, several in a body.

use crate::{
    auth::{self, Client, OAuth},
    call::{Call, Latest, Row},
    clock::Time,
    provider::{Id, Kind, Limit, Provider, Trouble, authorize, get, search, token},
    rate,
    reply::{Answer, Outcome, Outgoing, Reply, ok},
    sign,
    webhooks::{By, EACH, Packing, Subscription, Webhooks},
    world::{Change, Tenant},
};
use serde_json::{Value, json};

const FILES: &str = "documents_files";
const FOLDERS: &str = "documents_folders";
const BOTH: &[&str] = &[FILES, FOLDERS];

pub(crate) fn provider() -> Provider {
    Provider {
        kinds: vec![
            Kind::new(FOLDERS, "folder", Id::Text("id:", 25), r#"{".tag":"folder","name":"Homework {n}","path_lower":"/homework {n}","path_display":"/Homework {n}"}"#).touch("name"),
            Kind::new(FILES, "file", Id::Text("id:", 25), r#"{".tag":"file","name":"Prime {n}.txt","path_lower":"/prime {n}.txt","path_display":"/Prime {n}.txt","rev":"a1c10ce0dd78","size":7212,"is_downloadable":true,"content_hash":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}"#)
                .created("client_modified", Time::Seconds).updated("server_modified", Time::Seconds).touch("size").parent("in_folder"),
        ],
        routes: vec![
            token("/oauth2/token", |call| {
                let oauth = OAuth { seconds: 14_400, rotates: false, client: Client::Either, grants: &["authorization_code", "refresh_token"] };
                let account = account(call.tenant);
                auth::token(call, &oauth, &json!({"account_id": account, "uid": call.tenant.number.to_string(), "scope": "files.metadata.read"}))
            }),
            authorize("/oauth2/authorize"),
            search("/2/files/list_folder", list_folder).of(FILES).body(&["path", "recursive", "include_deleted", "limit", "include_media_info", "include_mounted_folders", "include_non_downloadable_files"]),
            search("/2/files/list_folder/continue", more).of(FILES).body(&["cursor"]),
            search("/2/files/list_folder/get_latest_cursor", latest).of(FILES).body(&["path", "recursive", "include_deleted", "limit"]),
            get("/2/files/get_metadata", one).posted().of(FILES).body(&["path", "include_deleted"]),
            get("/2/users/get_current_account", |c| ok(json!({"account_id": account(c.tenant), "email": "dev@example.com"}))).posted(),
        ],
        guard: |call| {
            auth::bearer(call)?;
            // A call without arguments has `null` as its body.
            if serde_json::from_slice::<Value>(&call.request.body).is_err() { Err(Reply::text(400, "could not decode input as JSON")) } else { Ok(()) }
        },
        refuse: |trouble, words| {
            let tag = match trouble {
                Trouble::Unauthorized => "expired_access_token",
                Trouble::Forbidden => return Reply::json(401, &json!({"error_summary": "missing_scope/..", "error": {".tag": "missing_scope", "required_scope": "files.metadata.read"}})),
                Trouble::NotFound => return Reply::text(404, "Unknown API function"),
                Trouble::BadRequest => return Reply::text(400, words),
                Trouble::Limited => return Reply::json(429, &json!({"error_summary": "too_many_requests/..", "error": {"reason": {".tag": "too_many_requests"}, "retry_after": 15}})),
                Trouble::Broken => return Reply::text(500, words),
            };
            Reply::json(trouble.status(), &json!({"error_summary": format!("{tag}/.."), "error": {".tag": tag}}))
        },
        limit: Some(Limit { most: 1000, seconds: 60, headers: rate::silent, over: rate::retry_after }),
        webhooks: Some(Webhooks {
            events: |tenant: &Tenant, change: &Change| if change.implied { Vec::new() } else { vec![("changed".into(), json!([account(tenant), tenant.number]))] },
            pack,
            batch: 1000,
            retries: &[5, 15, 60, 180, 300],
            ping: Some(challenge),
            pong,
            by: By::App,
            ..EACH
        }),
        ..Provider::new("dropbox", "Dropbox")
    }
}

fn account(tenant: &Tenant) -> String {
    format!("dbid:{}", &sign::digest(&tenant.name)[..35])
}

fn conflict(tag: &str) -> Reply {
    Reply::json(409, &json!({"error_summary": format!("{tag}/.."), "error": {".tag": tag}}))
}

/// What ties a file to its folder here is not the provider's.
fn shown(mut body: Value) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.remove("in_folder");
    }
    body
}

fn list_folder(call: &mut Call<'_>) -> Outcome {
    let fields = call.fields();
    if fields.get("path") != Some(&json!("")) || fields.get("recursive") != Some(&json!(true)) {
        return Err(call.bad("only the whole tree is simulated: path \"\", recursive"));
    }
    let size = call.bounded(call.field("limit"), "limit", 500, 1, 2000)?;
    let carry = json!({"log": call.end(), "size": size, "deleted": fields.get("include_deleted")});
    page(call, None, &carry)
}

fn page(call: &mut Call<'_>, after: Option<(i64, u64)>, carry: &Value) -> Outcome {
    let size = carry["size"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(500);
    let rows: Vec<Row> = call.rows_of(BOTH);
    let page = call.behind(&rows, after, size, carry);
    let more = page.next.is_some();
    let cursor = page.next.clone().unwrap_or_else(|| call.remember(&json!({"log": carry["log"]})));
    let entries: Vec<Value> = page.bodies().into_iter().map(shown).collect();
    ok(json!({"entries": entries, "cursor": cursor, "has_more": more}))
}

fn more(call: &mut Call<'_>) -> Outcome {
    let Some(cursor) = call.field("cursor") else { return Err(call.bad("cursor is required")) };
    let Some(state) = call.recall(&cursor) else { return Err(conflict("reset")) };
    if state.get("log").is_none() {
        let Some((after, carry)) = call.cursor(Some(&cursor), Value::Null) else {
            return Err(conflict("reset"));
        };
        return page(call, after, &carry);
    }
    let Some((changed, next)) = call.stretch(BOTH, &cursor, 500) else { return Err(conflict("reset")) };
    // A folder's tombstone stands for all that was in it.
    let entry = |latest: Latest| match latest.row {
        Some(row) => Some(shown(row.body)),
        None if latest.change.implied => None,
        None => {
            let before = &latest.change.before;
            Some(
                json!({".tag": "deleted", "name": before["name"], "path_lower": before["path_lower"], "path_display": before["path_display"]}),
            )
        }
    };
    let entries: Vec<Value> = changed.into_iter().filter_map(entry).collect();
    let more = next.is_ok();
    let cursor = match next {
        Ok(next) => next,
        Err(end) => call.remember(&json!({"log": end})),
    };
    ok(json!({"entries": entries, "cursor": cursor, "has_more": more}))
}

fn latest(call: &mut Call<'_>) -> Outcome {
    let end = call.end();
    let cursor = call.remember(&json!({"log": end}));
    ok(json!({"cursor": cursor}))
}

fn one(call: &mut Call<'_>) -> Outcome {
    let path = call.field("path").unwrap_or_default();
    let found = call
        .rows_of(BOTH)
        .into_iter()
        .find(|row| row.id == path || row.body["path_lower"] == json!(path.to_lowercase()));
    ok(shown(found.ok_or_else(|| conflict("path"))?.body))
}

/// `GET ?challenge=`: it must come back as plain text that nobody sniffs.
fn challenge(subscription: &Subscription) -> Outgoing {
    let url = url::Url::parse(&subscription.url).map(|mut url| {
        url.query_pairs_mut().append_pair("challenge", &sign::digest(&subscription.url)[..20]);
        url.to_string()
    });
    Outgoing { method: "GET", url: url.unwrap_or_default(), headers: Vec::new(), body: Vec::new() }
}

fn pong(subscription: &Subscription, answer: &Answer) -> bool {
    let plain = answer.header("content-type").is_some_and(|t| t.starts_with("text/plain"));
    let unsniffed = answer.header("x-content-type-options") == Some("nosniff");
    answer.status == 200 && answer.body == sign::digest(&subscription.url)[..20] && plain && unsniffed
}

/// Each account once, however much it changed.
fn pack(packing: &Packing<'_>) -> Outgoing {
    let (mut accounts, mut users) = (Vec::new(), Vec::new());
    for message in packing.messages {
        if !accounts.contains(&message.body[0]) {
            accounts.push(message.body[0].clone());
            users.push(message.body[1].clone());
        }
    }
    let outgoing = Outgoing::json(
        &packing.subscription.url,
        &json!({"list_folder": {"accounts": accounts}, "delta": {"users": users}}),
    );
    let signature = sign::hex_sha256(&packing.app.client_secret, &outgoing.body);
    outgoing.with("x-dropbox-signature", signature)
}
