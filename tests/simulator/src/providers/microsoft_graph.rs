//! Microsoft Graph drives: delta links, tombstones with little in them, 410 for a link that is too old; subscriptions with a
//! handshake and an end.

use crate::{
    auth::{self, Client, OAuth},
    call::Call,
    clock::{Time, instant},
    provider::{Id, Kind, Limit, Provider, Route, Trouble, feed, get, list, subscribe, token},
    rate,
    reply::{Answer, Handshake, Outcome, Outgoing, Reply, ok},
    webhooks::{EACH, Packing, Subscription, Webhooks},
    world::{Change, Tenant},
};
use serde_json::{Value, json};

const FILES: &str = "documents_files";
const FOLDERS: &str = "documents_folders";
const BOTH: &[&str] = &[FILES, FOLDERS];
const ROOT: &str = "AB43234B783BB6C3!root";
const LONGEST: i64 = 42_300 * 60_000;

pub(crate) fn provider() -> Provider {
    let kind = |resource, word, example| {
        Kind::new(resource, word, Id::Text("AB43234B783BB6C3!s", 34), example)
            .created("createdDateTime", Time::Seconds)
            .updated("lastModifiedDateTime", Time::Seconds)
    };
    let delta = |path| feed(path, delta).of(FILES).query(&["token", "$top", "$select"]);
    Provider {
        kinds: vec![
            kind(FOLDERS, "folder", r#"{"name":"Folder {n}","size":0,"webUrl":"https://onedrive.example.com/folder/{n}","folder":{"childCount":0},"parentReference":{"driveType":"business","driveId":"AB43234B783BB6C3","id":"AB43234B783BB6C3!root","path":"/drive/root:"}}"#),
            kind(FILES, "file", r#"{"name":"Report {n}.docx","size":20480,"webUrl":"https://onedrive.example.com/file/{n}","file":{"mimeType":"application/vnd.openxmlformats-officedocument.wordprocessingml.document","hashes":{"quickXorHash":"abc="}},"parentReference":{"driveType":"business","driveId":"AB43234B783BB6C3","id":"AB43234B783BB6C3!root","path":"/drive/root:"},"createdBy":{"user":{"displayName":"Dev","email":"dev@example.com"}}}"#)
                .parent("parentReference.id"),
        ],
        routes: vec![
            token("/{directory}/oauth2/v2.0/token", tokens),
            crate::provider::authorize("/{directory}/oauth2/v2.0/authorize"),
            delta("/v1.0/me/drive/root/delta"),
            delta("/v1.0/drives/{drive}/root/delta"),
            delta("/v1.0/sites/{site}/drive/root/delta"),
            item("/v1.0/me/drive/items/{id}"),
            item("/v1.0/drives/{drive}/items/{id}"),
            list("/v1.0/me/drive", |_| ok(json!({"id": "AB43234B783BB6C3", "driveType": "business"}))),
            list("/v1.0/me/drives", |_| ok(json!({"value": [{"id": "AB43234B783BB6C3", "driveType": "business"}]}))),
            list("/v1.0/sites", |_| ok(json!({"value": [{"id": "site-1", "displayName": "Team"}]}))).query(&["search"]),
            list("/v1.0/sites/{site}/drives", |_| ok(json!({"value": [{"id": "AB43234B783BB6C3", "driveType": "documentLibrary"}]}))),
            subscribe("POST", "/v1.0/subscriptions", create).body(&["changeType", "notificationUrl", "lifecycleNotificationUrl", "resource", "expirationDateTime", "clientState"]),
            subscribe("GET", "/v1.0/subscriptions", subscriptions),
            subscribe("GET", "/v1.0/subscriptions/{id}", subscription),
            subscribe("PATCH", "/v1.0/subscriptions/{id}", renew).body(&["expirationDateTime"]),
            subscribe("POST", "/v1.0/subscriptions/{id}/reauthorize", |c| c.subscription(c.hole("id")).map(|_| Reply::empty(200)).ok_or_else(|| c.missing())),
            subscribe("DELETE", "/v1.0/subscriptions/{id}", remove),
        ],
        guard: auth::bearer,
        refuse: |trouble, words| {
            let code = match trouble {
                Trouble::Unauthorized => "InvalidAuthenticationToken",
                Trouble::Forbidden => "accessDenied",
                Trouble::NotFound => "itemNotFound",
                Trouble::BadRequest => "invalidRequest",
                Trouble::Limited => "TooManyRequests",
                Trouble::Broken => "generalException",
            };
            error(trouble.status(), code, words)
        },
        limit: Some(Limit { most: 3000, seconds: 300, headers: rate::silent, over: rate::retry_after }),
        webhooks: Some(Webhooks { events, pack, retries: &[10, 60, 300, 1800, 3600, 7200], batch: 20, ..EACH }),
        ..Provider::new("microsoft_graph", "Microsoft Graph (OneDrive, SharePoint)")
    }
}

fn error(status: u16, code: &str, words: &str) -> Reply {
    Reply::json(
        status,
        &json!({"error": {"code": code, "message": words, "innerError": {"request-id": "r1"}}}),
    )
}

const fn item(path: &'static str) -> Route {
    get(path, one).of(FILES).query(&["$select"])
}

fn tokens(call: &mut Call<'_>) -> Outcome {
    let oauth = OAuth {
        seconds: 3599,
        rotates: true,
        client: Client::Form,
        grants: &["authorization_code", "refresh_token", "client_credentials"],
    };
    let scope = call.field("scope");
    if call.field("grant_type").as_deref() == Some("client_credentials")
        && !scope.is_some_and(|s| s.ends_with("/.default"))
    {
        return Err(Reply::json(
            400,
            &json!({"error": "invalid_scope", "error_description": "client credentials ask for /.default"}),
        ));
    }
    auth::token(call, &oauth, &json!({"ext_expires_in": 3599}))
}

fn root() -> Value {
    json!({"id": ROOT, "name": "root", "size": 0, "root": {}, "folder": {"childCount": 0},
        "createdDateTime": "2024-01-01T00:00:00Z", "lastModifiedDateTime": "2024-01-01T00:00:00Z",
        "parentReference": {"driveType": "business", "driveId": "AB43234B783BB6C3"}})
}

/// The first time all of it, the root first; then what changed; the last page has the link to go on with later.
fn delta(call: &mut Call<'_>) -> Outcome {
    let size = call.number("$top", 200, 1, 1000)?;
    let token = call.query("token").map(str::to_owned);
    let path = call.request.path.clone();
    let (values, next): (Vec<Value>, Result<String, usize>) = match token.as_deref() {
        Some("latest") => (Vec::new(), Err(call.end())),
        Some(time) if instant(time).is_some() => {
            let from = instant(time).unwrap_or(0);
            let from = call.tenant.log.iter().position(|c| c.at >= from).unwrap_or(call.end());
            let state = call.remember(&json!({"log": from}));
            stretch(call, &state, size).ok_or_else(|| gone(call))?
        }
        Some(token) if call.recall(token).is_some_and(|state| state.get("log").is_some()) => {
            stretch(call, token, size).ok_or_else(|| gone(call))?
        }
        token => {
            let begin = json!(call.end());
            let Some((after, carry)) = call.cursor(token, begin) else { return Err(gone(call)) };
            let rows = call.rows_of(BOTH);
            let page = call.behind(&rows, after, size, &carry);
            let mut values = page.bodies();
            if after.is_none() {
                values.insert(0, root());
            }
            let start = carry.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
            (values, page.next.ok_or(start))
        }
    };
    let mut body = json!({"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#Collection(driveItem)", "value": values});
    match next {
        Ok(next) => body["@odata.nextLink"] = call.url(&path, &[("token", next)]).into(),
        Err(end) => {
            let token = call.remember(&json!({"log": end}));
            body["@odata.deltaLink"] = call.url(&path, &[("token", token)]).into();
        }
    }
    ok(body)
}

fn stretch(call: &mut Call<'_>, token: &str, size: usize) -> Option<(Vec<Value>, Result<String, usize>)> {
    let (changed, next) = call.stretch(BOTH, token, size)?;
    let value = |latest: crate::call::Latest| {
        latest.row.map_or_else(
            || json!({"id": latest.id, "deleted": {"state": "deleted"}, "parentReference": latest.change.before["parentReference"]}),
            |row| row.body,
        )
    };
    Some((changed.into_iter().map(value).collect(), next))
}

fn gone(call: &Call<'_>) -> Reply {
    let path = call.request.path.clone();
    error(410, "resyncChangesApplyDifferences", "Resync required.").with("location", call.url(&path, &[]))
}

fn one(call: &mut Call<'_>) -> Outcome {
    let id = call.hole("id");
    if id == ROOT || id == "root" {
        return ok(root());
    }
    ok(call.one(FILES, id).or_else(|| call.one(FOLDERS, id)).ok_or_else(|| call.missing())?.body)
}

fn subscription_json(subscription: &Subscription) -> Value {
    let mut body = Value::Object(subscription.extra.clone());
    body["id"] = subscription.id.clone().into();
    body["notificationUrl"] = subscription.url.clone().into();
    body["clientState"] = subscription.secret.clone().into();
    body["expirationDateTime"] = Time::Milliseconds.text(subscription.until.unwrap_or(0)).into();
    body["applicationId"] = "24d3b144-21ae-4080-943f-7067b395b913".into();
    body["creatorId"] = "8ee44408-0679-472c-bc2a-692812af3437".into();
    body
}

fn until(call: &Call<'_>) -> Result<i64, Reply> {
    let asked = call.field("expirationDateTime").as_deref().and_then(instant);
    match asked {
        Some(at) if at > call.now() && at <= call.now() + LONGEST => Ok(at),
        _ => Err(call.bad("expirationDateTime must be within 42300 minutes")),
    }
}

/// Each URL must first echo a token.
fn validation(url: &str, token: &str) -> Outgoing {
    let joined = url::Url::parse(url).map(|mut url| {
        url.query_pairs_mut().append_pair("validationToken", token);
        url.to_string()
    });
    Outgoing { method: "POST", url: joined.unwrap_or_default(), headers: Vec::new(), body: Vec::new() }
        .with("content-type", "text/plain; charset=utf-8")
}

fn create(call: &mut Call<'_>) -> Outcome {
    let url = call.target("notificationUrl")?;
    let (until, state) = (until(call)?, call.field("clientState").unwrap_or_default());
    let resource = call.field("resource").unwrap_or_default();
    if call.field("changeType").as_deref() != Some("updated")
        || !resource.trim_start_matches('/').ends_with("root")
        || state.len() > 128
    {
        return Err(call.bad("a drive takes changeType updated, at its root"));
    }
    let token = format!("Validation: {} & proof", call.tenant.opaque("validation"));
    let send = validation(&url, &token);
    let finish = move |call: &mut Call<'_>, answer: &Answer| {
        let plain = answer.header("content-type").is_some_and(|t| t.starts_with("text/plain"));
        if answer.status != 200 || answer.body != token || !plain {
            return error(400, "ValidationError", "Subscription validation request failed.");
        }
        let id = call.tenant.uuid("subscription");
        let mut extra = call.fields();
        extra.retain(|name, _| {
            ["resource", "changeType", "lifecycleNotificationUrl"].contains(&name.as_str())
        });
        let made = call.subscribe(id, &url, vec!["updated".into()]);
        (made.until, made.secret, made.extra) = (Some(until), state, extra);
        Reply::json(201, &subscription_json(made))
    };
    Ok(Reply { handshake: Some(Box::new(Handshake { send, finish: Box::new(finish) })), ..Reply::empty(500) })
}

/// Those that have ended are not there any more.
fn alive(call: &mut Call<'_>) {
    let now = call.now();
    call.tenant.subscriptions.retain(|s| s.until.is_none_or(|until| until > now));
}

fn subscriptions(call: &mut Call<'_>) -> Outcome {
    alive(call);
    ok(json!({"value": call.tenant.subscriptions.iter().map(subscription_json).collect::<Vec<_>>()}))
}

fn subscription(call: &mut Call<'_>) -> Outcome {
    alive(call);
    ok(subscription_json(call.subscription(call.hole("id")).ok_or_else(|| call.missing())?))
}

fn renew(call: &mut Call<'_>) -> Outcome {
    alive(call);
    let (until, id, missing) = (until(call)?, call.hole("id").to_owned(), call.missing());
    let found = call.tenant.subscriptions.iter_mut().find(|s| s.id == id).ok_or(missing)?;
    found.until = Some(until);
    ok(subscription_json(found))
}

fn remove(call: &mut Call<'_>) -> Outcome {
    alive(call);
    let id = call.hole("id").to_owned();
    call.unsubscribe(&id)?;
    Ok(Reply::empty(204))
}

fn events(_: &Tenant, change: &Change) -> Vec<(String, Value)> {
    if BOTH.contains(&change.resource) { vec![("updated".into(), Value::Null)] } else { Vec::new() }
}

/// What changed is not said. A body may hold notifications of several subscriptions of a URL.
fn pack(packing: &Packing<'_>) -> Outgoing {
    let value = packing.messages.iter().map(|message| {
        let of = packing.of(message);
        json!({"id": message.id, "subscriptionId": of.id, "subscriptionExpirationDateTime": Time::Seconds.text(of.until.unwrap_or(0)),
            "clientState": of.secret, "changeType": "updated", "resource": "me/drive/root",
            "tenantId": "84bd8158-6d4d-4958-8b9f-9d6445542f95", "resourceData": {"@odata.type": "#microsoft.graph.driveItem"}})
    });
    Outgoing::json(&packing.subscription.url, &json!({"value": value.collect::<Vec<_>>()}))
}
