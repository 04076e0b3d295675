//! Credentials and tokens: what a request must carry, token endpoints, the consent page.

use crate::{
    call::Call,
    provider::Trouble,
    reply::{Outcome, Reply, ok},
    sign,
    world::Tenant,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a token endpoint takes.
pub(crate) const FIELDS: &[&str] = &[
    "grant_type",
    "client_id",
    "client_secret",
    "refresh_token",
    "code",
    "redirect_uri",
    "code_verifier",
    "scope",
    "assertion",
    "audience",
    "sub",
    "box_subject_type",
    "box_subject_id",
    "resource",
    "username",
    "password",
];

/// A service account's grant (RFC 7523): its assertion says who it is.
pub(crate) const JWT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Tokens of a tenant.
#[derive(Default)]
pub(crate) struct Tokens {
    /// Until when each is good, in milliseconds.
    pub(crate) access: BTreeMap<String, i64>,
    /// Whether each is still good.
    pub(crate) refresh: BTreeMap<String, bool>,
    /// What consent gave: the redirect it is for, and the challenge.
    pub(crate) codes: BTreeMap<String, (String, Option<String>)>,
}

/// How a provider's token endpoint is.
pub(crate) struct OAuth {
    /// How long an access token lives, in seconds.
    pub(crate) seconds: i64,
    /// A refresh token is good once.
    pub(crate) rotates: bool,
    pub(crate) client: Client,
    pub(crate) grants: &'static [&'static str],
}

/// How the client says who it is.
#[derive(PartialEq, Eq)]
pub(crate) enum Client {
    /// HTTP Basic
    Basic,
    /// Fields of a form
    Form,
    /// Fields of a JSON body
    Json,
    /// Basic or form
    Either,
}

fn oauth_error(status: u16, error: &str, words: &str) -> Reply {
    Reply::json(status, &json!({"error": error, "error_description": words}))
}

/// Gives out tokens (RFC 6749). `extra` is in the answer beside them.
pub(crate) fn token(call: &mut Call<'_>, oauth: &OAuth, extra: &Value) -> Outcome {
    let mut fields = call.fields();
    for (name, value) in &call.request.query {
        fields.entry(name.clone()).or_insert_with(|| value.clone().into());
    }
    let field = |name: &str| fields.get(name).map(crate::world::text);
    let json_body = call.header("content-type").is_some_and(|t| t.starts_with("application/json"));
    let basic = basic(call);
    let given = match (&oauth.client, basic) {
        (Client::Basic | Client::Either, Some(pair)) => Some(pair),
        (Client::Form | Client::Either, None) if !json_body => field("client_id").zip(field("client_secret")),
        (Client::Json, None) if json_body => field("client_id").zip(field("client_secret")),
        _ => None,
    };
    let wanted = client(call);
    let grant = field("grant_type").unwrap_or_default();
    if grant != JWT && given.as_ref() != Some(&wanted) {
        return Err(oauth_error(401, "invalid_client", "client authentication failed"));
    }
    if !oauth.grants.contains(&grant.as_str()) {
        return Err(oauth_error(400, "unsupported_grant_type", "the grant is not offered"));
    }
    let mut kept = None;
    if grant == JWT && field("assertion").is_none_or(|a| a.split('.').count() != 3) {
        return Err(oauth_error(400, "invalid_grant", "the assertion is no JWT"));
    }
    match grant.as_str() {
        "refresh_token" => {
            let old = field("refresh_token").unwrap_or_default();
            match call.tenant.tokens.refresh.get_mut(&old) {
                Some(good) if *good => *good = !oauth.rotates,
                _ => {
                    return Err(oauth_error(
                        400,
                        "invalid_grant",
                        "the refresh token is invalid, expired or revoked",
                    ));
                }
            }
            kept = Some(old).filter(|_| !oauth.rotates);
        }
        "authorization_code" => {
            let code = call.tenant.tokens.codes.remove(&field("code").unwrap_or_default());
            let verified = code.is_some_and(|(redirect, challenge)| {
                field("redirect_uri").as_ref() == Some(&redirect)
                    && challenge
                        .is_none_or(|c| field("code_verifier").is_some_and(|v| sign::challenge(&v) == c))
            });
            if !verified {
                return Err(oauth_error(400, "invalid_grant", "the code is invalid or was used"));
            }
        }
        _ => {}
    }
    let seconds = call.tenant.settings.get("token_seconds").and_then(Value::as_i64).unwrap_or(oauth.seconds);
    let until = call.now() + seconds * 1000;
    let access = call.tenant.opaque("access");
    call.tenant.tokens.access.insert(access.clone(), until);
    let mut body = json!({"access_token": access, "token_type": "Bearer", "expires_in": seconds});
    if grant != "client_credentials" && grant != JWT && oauth.grants.contains(&"refresh_token") {
        let refresh = kept.unwrap_or_else(|| give_refresh(call.tenant));
        body["refresh_token"] = refresh.into();
    }
    if let (Some(body), Some(extra)) = (body.as_object_mut(), extra.as_object()) {
        body.extend(extra.clone());
    }
    ok(body)
}

/// A refresh token that is good.
pub(crate) fn give_refresh(tenant: &mut Tenant) -> String {
    let token = tenant.opaque("refresh");
    tenant.tokens.refresh.insert(token.clone(), true);
    token
}

/// The client that a tenant's tokens are for: its own credentials where it has any, else the app's.
fn client(call: &Call<'_>) -> (String, String) {
    let own = |name: &str| call.tenant.credentials.get(name).cloned();
    own("client_id")
        .zip(own("client_secret"))
        .unwrap_or_else(|| (call.app.client_id.clone(), call.app.client_secret.clone()))
}

/// The consent page of someone who agrees: back to `redirect_uri` with a code and the state.
pub(crate) fn authorize(call: &mut Call<'_>) -> Outcome {
    let (client_id, _) = client(call);
    let redirect = call.query("redirect_uri").unwrap_or_default().to_owned();
    if call.query("client_id") != Some(&client_id) {
        return Err(oauth_error(400, "invalid_client", "the client is not known"));
    }
    let Ok(mut url) = url::Url::parse(&redirect) else {
        return Err(oauth_error(400, "invalid_request", "redirect_uri is missing"));
    };
    let code = call.tenant.opaque("code");
    let challenge = call.query("code_challenge").map(str::to_owned);
    call.tenant.tokens.codes.insert(code.clone(), (redirect, challenge));
    url.query_pairs_mut().append_pair("code", &code);
    if let Some(state) = call.query("state") {
        url.query_pairs_mut().append_pair("state", state);
    }
    Ok(Reply::empty(302).with("location", url))
}

/// The user and password of HTTP Basic.
pub(crate) fn basic(call: &Call<'_>) -> Option<(String, String)> {
    let text = sign::from_base64(call.header("authorization")?.strip_prefix("Basic ")?)?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

fn refused(call: &Call<'_>) -> Reply {
    call.refuse(Trouble::Unauthorized, "the credentials are missing or not valid")
}

/// `Authorization: <scheme> <access token>`, not expired.
pub(crate) fn access(call: &Call<'_>, scheme: &str) -> Result<(), Reply> {
    let token =
        call.header("authorization").and_then(|h| h.strip_prefix(scheme)).and_then(|t| t.strip_prefix(' '));
    match token.and_then(|token| call.tenant.tokens.access.get(token)) {
        Some(until) if *until > call.now() => Ok(()),
        _ => Err(refused(call)),
    }
}

/// `Authorization: Bearer <access token>`.
pub(crate) fn bearer(call: &Call<'_>) -> Result<(), Reply> {
    access(call, "Bearer")
}

/// HTTP Basic with a credential as the user; the password is whatever it is.
pub(crate) fn key_as_user(call: &Call<'_>, credential: &str) -> Result<(), Reply> {
    match basic(call) {
        Some((user, _)) if call.tenant.credentials.get(credential) == Some(&user) => Ok(()),
        _ => Err(refused(call)),
    }
}

/// A header whose value is a credential, behind a prefix.
pub(crate) fn header(call: &Call<'_>, name: &str, prefix: &str, credential: &str) -> Result<(), Reply> {
    let given = call.header(name).and_then(|value| value.strip_prefix(prefix));
    match call.tenant.credentials.get(credential) {
        Some(wanted) if given == Some(wanted) => Ok(()),
        _ => Err(refused(call)),
    }
}

/// A header that each request must have, refused as the provider does a bad request.
pub(crate) fn must(call: &Call<'_>, name: &str, value: Option<&str>) -> Result<(), Reply> {
    match (call.header(name), value) {
        (Some(given), Some(wanted)) if given == wanted => Ok(()),
        (Some(_), None) => Ok(()),
        _ => Err(call.bad(&format!("header {name} is missing or not what it must be"))),
    }
}
