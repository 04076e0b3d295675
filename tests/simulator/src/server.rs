//! One port for all: finds the provider, tenant and route of a request, lets the faults bite, answers.

use crate::{
    call::{Call, Request},
    control,
    fault::{FaultKind, RetryAfter},
    provider::{Route, Trouble},
    rate,
    reply::{Answer, Finish, Outgoing, Reply},
    report::label,
    webhooks,
    world::{Side, World},
};
use axum::{
    body::{Body, Bytes},
    extract::{Request as HttpRequest, State},
    http::{HeaderValue, Response},
};
use futures::{StreamExt, stream};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};
use tokio::sync::Notify;

#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) client: reqwest::Client,
}

/// What the wire does with an answer.
#[derive(Default)]
struct Wire {
    delay: Duration,
    half: bool,
    /// Milliseconds since 1970, for `Date`.
    date: i64,
}

/// A handshake to make, and where it goes on.
struct Waiting {
    send: Outgoing,
    finish: Finish,
}

pub(crate) async fn handle(State(shared): State<Shared>, request: HttpRequest) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, 16 << 20).await else {
        return respond(Reply::text(413, "the body is too large"), &Wire::default());
    };
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Vec<(String, String)> =
        parts.headers.iter().map(|(n, v)| (n.to_string(), text(v))).collect();
    let host = headers.iter().find(|(n, _)| n == "host").map_or("127.0.0.1", |(_, h)| h);
    let mut segments = parts.uri.path().trim_start_matches('/').splitn(3, '/');
    let (provider, tenant, rest) = (
        segments.next().unwrap_or_default(),
        segments.next().unwrap_or_default(),
        segments.next().unwrap_or_default(),
    );
    let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let request = Request {
        method: parts.method.to_string(),
        path: format!("/{rest}"),
        query: query.map(|(n, v)| (n.into_owned(), v.into_owned())).collect(),
        base: format!("http://{host}/{provider}/{tenant}"),
        headers,
        body: body.to_vec(),
    };
    if provider == "_sim" {
        let reply = control::handle(&shared, parts.uri.path(), &request).await;
        shared.wake.notify_one();
        return respond(reply, &Wire { date: jiff::Timestamp::now().as_millisecond(), ..Wire::default() });
    }
    let (mut reply, wire) =
        answer(&mut shared.world.lock().expect("no handler panics"), provider, tenant, &request);
    if let Some(handshake) = reply.handshake.take() {
        let waiting = Waiting { send: handshake.send, finish: handshake.finish };
        let said = webhooks::send(&shared.client, &waiting.send).await;
        reply = go_on(
            &mut shared.world.lock().expect("no handler panics"),
            provider,
            tenant,
            &request,
            waiting,
            &said,
        );
    }
    shared.wake.notify_one();
    if !wire.delay.is_zero() {
        tokio::time::sleep(wire.delay).await;
    }
    respond(reply, &wire)
}

/// The provider's answer to a request.
fn answer(world: &mut World, provider: &str, tenant: &str, request: &Request) -> (Reply, Wire) {
    let mut wire = Wire { date: jiff::Timestamp::now().as_millisecond(), ..Wire::default() };
    let named = format!("{} /{provider}/{tenant}{}", request.method, request.path);
    let Some(side) = world.sides.get_mut(provider).filter(|side| side.tenants.contains_key(tenant)) else {
        *world.strangers.entry(named).or_default() += 1;
        return (
            Reply::text(
                404,
                "simulator: no such provider or tenant; make one by PUT /_sim/<provider>/<tenant>",
            ),
            wire,
        );
    };
    let route = match route(side, tenant, request) {
        Ok(route) => route,
        Err((trouble, words)) => {
            side.asked.not_offered(format!("{} {}: {words}", request.method, request.path));
            return ((side.provider.refuse)(trouble, &words), wire);
        }
    };
    let fields = request.fields();
    let parts = request.query.iter().map(|(name, _)| name.clone()).chain(fields.keys().cloned());
    side.asked.note(&route, parts);

    let owner = side.tenants.get_mut(tenant).expect("it was there");
    let before = owner.log.len();
    let faults: Vec<FaultKind> = owner.faults.iter_mut().filter_map(|fault| fault.meets(&route)).collect();
    let limit = side.provider.limit.filter(|_| !route.open).map(|limit| (limit, rate::count(&limit, owner)));
    let mut call = Call {
        holes: route.matches(&request.path).unwrap_or_default(),
        request,
        provider: &side.provider,
        route: &route,
        tenant: owner,
        app: &mut side.app,
        faults,
    };
    let mut reply =
        judged(&mut call, limit.as_ref().map(|(limit, (allowed, window))| (limit, *allowed, window)));
    if let Some((limit, (_, window))) = &limit {
        for (name, value) in (limit.headers)(window) {
            reply = reply.with(name, value);
        }
    }
    wire.date = call.now();
    let greeted: Vec<(String, String)> = call
        .tenant
        .subscriptions
        .iter_mut()
        .filter_map(|s| Some((s.id.clone(), crate::world::text(&s.extra.remove("greet")?))))
        .collect();
    for fault in &call.faults {
        match fault {
            FaultKind::Delay { milliseconds } => wire.delay = Duration::from_millis(*milliseconds),
            FaultKind::Date { seconds } => wire.date += seconds * 1000,
            FaultKind::HalfBody => wire.half = true,
            FaultKind::ErrorBody => {
                reply = Reply { status: 200, ..call.refuse(Trouble::Broken, "something went wrong") };
            }
            FaultKind::Html => {
                reply = Reply::empty(200).with("content-type", "text/html");
                reply.body = b"<html><body>Down for maintenance</body></html>".to_vec();
            }
            _ => {}
        }
    }
    // What a fault did to a record is heard like anything else.
    for change in side.tenants.get(tenant).map(|owner| owner.log[before..].to_vec()).unwrap_or_default() {
        webhooks::tell(side, tenant, &change);
    }
    for (subscription, event) in greeted {
        webhooks::say(side, tenant, &subscription, &event, serde_json::Value::Null);
    }
    (reply, wire)
}

/// What the faults, the limit, the guard and the handler say, in this order.
fn judged(
    call: &mut Call<'_>,
    limit: Option<(&crate::provider::Limit, bool, &crate::provider::Window)>,
) -> Reply {
    for fault in call.faults.clone() {
        match fault {
            FaultKind::Break { status } => {
                return Reply { status, ..call.refuse(Trouble::Broken, "something went wrong") };
            }
            FaultKind::Limited { seconds, retry_after, status } => {
                let reply = Reply { status, ..call.refuse(Trouble::Limited, "too many requests") };
                let at = call.now() + seconds * 1000;
                return match retry_after {
                    RetryAfter::Seconds => reply.with("retry-after", seconds),
                    RetryAfter::Epoch => reply.with("retry-after", at.div_euclid(1000)),
                    RetryAfter::Date => reply.with("retry-after", http_date(at)),
                    RetryAfter::None => reply,
                };
            }
            FaultKind::ExpireToken => call.tenant.tokens.access.clear(),
            FaultKind::ForgetCursors => call.tenant.cursors.clear(),
            _ => {}
        }
    }
    if let Some((limit, false, window)) = limit {
        let mut reply = call.refuse(Trouble::Limited, "too many requests");
        for (name, value) in (limit.over)(window) {
            reply = reply.with(name, value);
        }
        return reply;
    }
    if !call.route.open
        && let Err(refusal) = (call.provider.guard)(call)
    {
        return refusal;
    }
    if call.bites(&FaultKind::LoseScope) {
        return call.refuse(Trouble::Forbidden, "a scope is missing");
    }
    (call.route.run)(call).unwrap_or_else(|refusal| refusal)
}

/// The route of a request, if all of it is declared there.
fn route(side: &Side, tenant: &str, request: &Request) -> Result<Route, (Trouble, String)> {
    let settings = &side.tenants[tenant];
    let here = |route: &&Route| route.switch.is_none_or(|switch| settings.on(switch));
    let fields = request.fields();
    let has = |name: &str, value: &str| {
        request.query.iter().any(|(n, v)| n == name && v == value)
            || fields.get(name).is_some_and(|v| crate::world::text(v) == value)
    };
    let mut found = side.provider.routes.iter().filter(here).filter(|r| r.matches(&request.path).is_some());
    let mut mine =
        |route: &&Route| route.method == request.method && route.when.is_none_or(|(n, v)| has(n, v));
    let Some(route) = found.find(&mut mine).copied() else {
        return Err((Trouble::NotFound, "no such path, method or function".into()));
    };
    if let Some((name, _)) = request.query.iter().find(|(name, _)| !route.takes_query(name)) {
        return Err((Trouble::BadRequest, format!("{} has no parameter {name}", label(&route))));
    }
    if let Some(name) = fields.keys().find(|name| !route.takes_field(name)) {
        return Err((Trouble::BadRequest, format!("{} has no field {name}", label(&route))));
    }
    Ok(route)
}

/// Goes on after a handshake.
fn go_on(
    world: &mut World,
    provider: &str,
    tenant: &str,
    request: &Request,
    waiting: Waiting,
    said: &Answer,
) -> Reply {
    let gone = || Reply::text(404, "simulator: the tenant went away in the handshake");
    let Some(side) = world.sides.get_mut(provider) else { return gone() };
    let found = side.provider.routes.iter().copied();
    let mut found = found.filter(|r| r.method == request.method && r.matches(&request.path).is_some());
    let (Some(route), Some(owner)) = (found.next(), side.tenants.get_mut(tenant)) else { return gone() };
    let mut call = Call {
        holes: route.matches(&request.path).unwrap_or_default(),
        request,
        provider: &side.provider,
        route: &route,
        tenant: owner,
        app: &mut side.app,
        faults: Vec::new(),
    };
    (waiting.finish)(&mut call, said)
}

fn http_date(at: i64) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(at).unwrap_or(0)))
}

fn respond(reply: Reply, wire: &Wire) -> Response<Body> {
    let mut response = Response::builder().status(reply.status).header("date", http_date(wire.date));
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let body = if wire.half && reply.body.len() > 1 {
        response = response.header("content-length", reply.body.len());
        let half = Bytes::copy_from_slice(&reply.body[..reply.body.len() / 2]);
        // The first half must be on its way before the server cuts the connection.
        let cut = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Err(std::io::Error::other("cut"))
        };
        Body::from_stream(stream::once(async { Ok(half) }).chain(stream::once(cut)))
    } else {
        Body::from(reply.body)
    };
    response.body(body).expect("a provider's headers are well formed")
}
