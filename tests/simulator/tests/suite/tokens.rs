//! How each provider is logged in to; tokens end, rotate and are refused.

use crate::sim::{Sim, Tenant, text};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Where tokens are given, how the client says who it is, by which grant, for how long; whether a refresh token is good
/// once (none: there are no refresh tokens); whether the tests' calls carry the token (else a key).
struct Login {
    provider: &'static str,
    path: &'static str,
    client: &'static str,
    grant: &'static str,
    seconds: i64,
    rotates: Option<bool>,
    carried: bool,
}

const fn row(
    provider: &'static str,
    path: &'static str,
    client: &'static str,
    grant: &'static str,
    seconds: i64,
    rotates: Option<bool>,
    carried: bool,
) -> Login {
    Login { provider, path, client, grant, seconds, rotates, carried }
}

const LOGINS: &[Login] = &[
    row("hubspot", "/oauth/v1/token", "form", "refresh_token", 1800, Some(false), true),
    row("greenhouse", "/token", "basic", "client_credentials", 3600, Some(true), true),
    row("salesforce", "/services/oauth2/token", "form", "client_credentials", 7200, Some(false), true),
    row("google_drive", "/token", "form", "refresh_token", 3599, Some(false), true),
    row("microsoft_graph", "/common/oauth2/v2.0/token", "form", "refresh_token", 3599, Some(true), true),
    row("personio", "/v2/auth/token", "form", "client_credentials", 86400, None, true),
    row("workday", "/ccx/oauth2/acme/token", "basic", "refresh_token", 3600, Some(false), false),
    row("lever", "/oauth/token", "form", "refresh_token", 3600, Some(true), false),
    row("pipedrive", "/oauth/token", "basic", "refresh_token", 3600, Some(false), false),
    row("zoho_crm", "/oauth/v2/token", "form", "refresh_token", 3600, Some(false), true),
    row("docebo", "/oauth2/token", "form", "client_credentials", 3600, Some(true), true),
    row("360learning", "/api/v2/oauth2/token", "json", "client_credentials", 3600, None, true),
    row("canvas", "/login/oauth2/token", "form", "refresh_token", 3600, Some(false), false),
    row("thinkific", "/oauth2/token", "basic", "refresh_token", 86400, Some(true), false),
    row("dropbox", "/oauth2/token", "form", "refresh_token", 14400, Some(false), true),
    row("box", "/oauth2/token", "form", "refresh_token", 3600, Some(true), true),
];

fn login(provider: &str) -> Option<&'static Login> {
    LOGINS.iter().find(|l| l.provider == provider)
}

fn client(tenant: &Tenant) -> (String, String) {
    let of = if tenant.credentials.get("client_id").is_some() { &tenant.credentials } else { &tenant.app };
    (text(&of["client_id"]), text(&of["client_secret"]))
}

async fn ask(sim: &Sim, tenant: &Tenant, login: &Login, grant: &str, refresh: &str) -> crate::sim::Answer {
    let (id, secret) = client(tenant);
    let mut fields = vec![("grant_type", grant.to_owned())];
    if grant == "refresh_token" {
        fields.push(("refresh_token", refresh.to_owned()));
    }
    let request = sim.client.post(format!("{}{}", tenant.base, login.path));
    let request = request.header("360-api-version", "v2.0");
    let request = match login.client {
        "basic" => request.header("authorization", basic(&id, &secret)).form(&fields),
        "json" => {
            let mut body: serde_json::Map<String, Value> =
                fields.into_iter().map(|(n, v)| (n.to_owned(), v.into())).collect();
            body.extend([("client_id".to_owned(), id.into()), ("client_secret".to_owned(), secret.into())]);
            request.json(&body)
        }
        _ => {
            fields.extend([("client_id", id), ("client_secret", secret)]);
            request.form(&fields)
        }
    };
    sim.answer(request).await
}

pub(crate) async fn first(sim: &Sim, tenant: &Tenant) -> String {
    let Some(login) = login(&tenant.provider) else { return String::new() };
    let answer = ask(sim, tenant, login, login.grant, &text(&tenant.credentials["refresh_token"])).await;
    assert_eq!(answer.status, 200, "{}: {}", tenant.provider, answer.text);
    text(&answer.json()["access_token"])
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// What each call carries.
pub(crate) fn headers(tenant: &Tenant) -> Vec<(&'static str, String)> {
    let key = |name: &str| text(&tenant.credentials[name]);
    match tenant.provider.as_str() {
        "bamboohr" => vec![("authorization", basic(&key("api_key"), "x"))],
        "ashby" => vec![
            ("authorization", basic(&key("api_key"), "")),
            ("accept", "application/json; version=1".into()),
        ],
        "moodle" => vec![],
        "hibob" => vec![("authorization", basic(&key("service_user_id"), &key("service_user_token")))],
        "workday" => vec![("authorization", basic(&format!("{}@acme", key("username")), &key("password")))],
        "lever" => vec![("authorization", basic(&key("api_key"), ""))],
        "workable" => vec![("authorization", format!("Bearer {}", key("account_token")))],
        "smartrecruiters" => vec![("x-smarttoken", key("api_key"))],
        "teamtailor" => {
            vec![
                ("authorization", format!("Token token={}", key("api_key"))),
                ("x-api-version", "20210218".into()),
            ]
        }
        "recruitee" => vec![("authorization", format!("Bearer {}", key("api_token")))],
        "pipedrive" => vec![("x-api-token", key("api_token"))],
        "zoho_crm" => vec![("authorization", format!("Zoho-oauthtoken {}", tenant.token))],
        "360learning" => {
            vec![("authorization", format!("Bearer {}", tenant.token)), ("360-api-version", "v2.0".into())]
        }
        "talentlms" => vec![("x-api-key", key("api_key")), ("x-api-version", "2025-01-01".into())],
        "canvas" => vec![("authorization", format!("Bearer {}", key("access_token")))],
        "thinkific" => vec![("x-auth-api-key", key("api_key")), ("x-auth-subdomain", key("subdomain"))],
        _ => vec![("authorization", format!("Bearer {}", tenant.token))],
    }
}

/// A call that each of them answers.
fn probe(provider: &str) -> (&'static str, &'static str) {
    match provider {
        "hubspot" => ("GET", "/crm/v3/objects/contacts"),
        "greenhouse" => ("GET", "/v3/users"),
        "salesforce" => ("GET", "/services/data/v62.0/limits"),
        "google_drive" => ("GET", "/drive/v3/changes/startPageToken"),
        "microsoft_graph" => ("GET", "/v1.0/me/drives"),
        "personio" => ("GET", "/v2/webhooks"),
        "zoho_crm" => ("GET", "/crm/v8/org"),
        "docebo" => ("GET", "/manage/v1/user"),
        "360learning" => ("GET", "/api/v2/users"),
        "dropbox" => ("POST", "/2/users/get_current_account"),
        "box" => ("GET", "/2.0/users/me"),
        other => panic!("no probe for {other}"),
    }
}

#[tokio::test]
async fn a_token_ends_by_the_providers_clock() {
    let sim = Sim::start().await;
    for login in LOGINS.iter().filter(|login| login.carried) {
        let tenant = sim.tenant(login.provider, "acme").await;
        let (method, path) = probe(login.provider);
        let now = sim.ask(&tenant, method, path, &Value::Null).await;
        assert_eq!(now.status, 200, "{}: {}", login.provider, now.text);
        sim.control(
            "POST",
            &format!("{}/acme/advance", login.provider),
            json!({"seconds": login.seconds + 1}),
        )
        .await;
        let later = sim.ask(&tenant, method, path, &Value::Null).await;
        assert_eq!(later.status, 401, "{}: {}", login.provider, later.text);
        let wrong = Tenant { token: "another".into(), ..tenant };
        assert_eq!(sim.ask(&wrong, method, path, &Value::Null).await.status, 401, "{}", login.provider);
    }
}

#[tokio::test]
async fn a_refresh_token_that_rotates_is_good_once() {
    let sim = Sim::start().await;
    for login in LOGINS.iter().filter(|login| login.rotates.is_some()) {
        let made = sim.control("PUT", &format!("{}/acme", login.provider), Value::Null).await;
        let tenant = Tenant {
            provider: login.provider.into(),
            base: text(&made["base_url"]),
            credentials: made["credentials"].clone(),
            app: made["app"].clone(),
            token: String::new(),
        };
        let refresh = text(&tenant.credentials["refresh_token"]);
        let first = ask(&sim, &tenant, login, "refresh_token", &refresh).await;
        assert_eq!(first.status, 200, "{}: {}", login.provider, first.text);
        let again = ask(&sim, &tenant, login, "refresh_token", &refresh).await;
        if login.rotates == Some(true) {
            assert_eq!(
                (again.status, &again.json()["error"]),
                (400, &json!("invalid_grant")),
                "{}",
                login.provider
            );
            let next = text(&first.json()["refresh_token"]);
            assert_eq!(
                ask(&sim, &tenant, login, "refresh_token", &next).await.status,
                200,
                "{}",
                login.provider
            );
        } else {
            assert_eq!(again.status, 200, "{}", login.provider);
        }
        let stranger = ask(&sim, &tenant, login, "refresh_token", "another").await;
        assert_eq!(stranger.json()["error"], "invalid_grant", "{}", login.provider);
    }
}

#[tokio::test]
async fn consent_gives_a_code_that_its_verifier_alone_can_use_once() {
    let sim = Sim::start().await;
    let tenant = sim.tenant("hubspot", "acme").await;
    let (id, secret) = client(&tenant);
    // RFC 7636, appendix B.
    let (verifier, challenge) =
        ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    let back = "http://127.0.0.1:9/callback";
    for (given, status) in [(verifier, 200), ("another", 400)] {
        let query = [
            ("client_id", id.as_str()),
            ("redirect_uri", back),
            ("state", "s1"),
            ("code_challenge", challenge),
        ];
        let page = sim.answer(sim.client.get(format!("{}/oauth/authorize", tenant.base)).query(&query)).await;
        assert_eq!(page.status, 302, "{}", page.text);
        let url = url::Url::parse(&page.headers["location"]).unwrap();
        let pairs: std::collections::BTreeMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!(pairs["state"], "s1");
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", &id),
            ("client_secret", &secret),
            ("redirect_uri", back),
            ("code", &pairs["code"]),
            ("code_verifier", given),
        ];
        let answer = sim.answer(sim.client.post(format!("{}/oauth/v1/token", tenant.base)).form(&form)).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        let again = sim.answer(sim.client.post(format!("{}/oauth/v1/token", tenant.base)).form(&form)).await;
        assert_eq!(again.status, 400);
    }
}
