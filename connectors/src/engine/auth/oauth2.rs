//! OAuth 2 (RFC 6749, PKCE by RFC 7636).

use std::time::Duration;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};
use tributary_schemas::time::Timestamp;
use url::{Url, form_urlencoded};

use super::{
    AuthError,
    entry::{Life, Take},
};
use crate::{
    definition::{
        Problem,
        auth::{ClientAuth, Grant, OAuth2 as Written, Refresh},
        keys::Named,
        text::Template as WrittenTemplate,
    },
    engine::{
        jq::Helpers,
        names::{Names, Scope},
        outcome::wait_of,
        request::{Authorization, Request, Unmade},
        template::{Place, Template},
        value::Value,
    },
};

/// What a person is asked to consent to, and what it is bound by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent<'a> {
    /// Where the provider sends the person back to.
    pub redirect: &'a str,
    /// What ties the answer to who asked.
    pub state: &'a str,
    /// PKCE's verifier: 43 to 128 letters that nobody can guess.
    pub verifier: &'a str,
}

#[derive(Debug)]
pub(crate) struct OAuth2 {
    grant: Grant,
    authorize: Option<Template>,
    token: Template,
    client_id: Template,
    client_secret: Template,
    client: ClientAuth,
    scopes: String,
    authorize_query: Vec<(String, Template)>,
    token_send: Vec<(String, Template)>,
    rotating: bool,
    pkce: bool,
    scheme: String,
    header: String,
    expires: Option<Life>,
    idle: Option<Duration>,
    take: Take,
}

impl OAuth2 {
    pub(super) fn compile(written: &Written, scope: &Scope, helpers: &Helpers) -> Result<Self, Problem> {
        let at = |key: &'static str| move |problem: Problem| problem.at(key);
        let url =
            |it: &WrittenTemplate, key| Template::compile(it, Place::Url, scope, helpers).map_err(at(key));
        let plain =
            |it: &WrittenTemplate, key| Template::compile(it, Place::Text, scope, helpers).map_err(at(key));
        let pairs = |pairs: &Named<WrittenTemplate>, key: &'static str| {
            let compile = |(name, value): (&str, &WrittenTemplate)| {
                let compiled = Template::compile(value, Place::Text, scope, helpers);
                Ok((name.to_owned(), compiled.map_err(|problem| problem.at(name).at(key))?))
            };
            pairs.iter().map(compile).collect::<Result<Vec<_>, Problem>>()
        };
        let said = |said: &Option<WrittenTemplate>, key: &str| {
            said.clone().unwrap_or_else(|| WrittenTemplate::Text(format!("$app.{key}")))
        };
        let life = |it| Life::compile(it, scope, helpers);
        Ok(Self {
            grant: written.grant,
            authorize: written.authorize.as_ref().map(|it| url(it, "authorize")).transpose()?,
            token: url(&written.token, "token")?,
            client_id: plain(&said(&written.client_id, "client_id"), "client_id")?,
            client_secret: plain(&said(&written.client_secret, "client_secret"), "client_secret")?,
            client: written.client,
            scopes: written.scopes.join(" "),
            authorize_query: pairs(&written.authorize_query, "authorize_query")?,
            token_send: pairs(&written.token_send, "token_send")?,
            rotating: written.refresh == Refresh::Rotating,
            pkce: written.pkce,
            scheme: written.scheme.clone(),
            header: written.header.to_ascii_lowercase(),
            expires: written.expires.as_ref().map(life).transpose()?,
            idle: written.idle,
            take: Take::compile(&written.take, scope, helpers)?,
        })
    }

    pub(super) fn asks_consent(&self) -> bool {
        self.grant == Grant::Code
    }

    pub(super) fn idle(&self) -> Option<Duration> {
        self.idle
    }

    /// Whether a refresh token is used once.
    pub(crate) fn rotates(&self) -> bool {
        self.rotating
    }

    /// Where a person consents.
    pub(crate) fn consent_url(&self, names: &Names, consent: &Consent<'_>) -> Result<Url, AuthError> {
        let template = self.authorize.as_ref().ok_or(AuthError::Unconnected)?;
        let mut url = url(template, names)?;
        let (client_id, _) = self.client(names)?;
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("response_type", "code").append_pair("client_id", &client_id);
            query.append_pair("redirect_uri", consent.redirect).append_pair("state", consent.state);
            if !self.scopes.is_empty() {
                query.append_pair("scope", &self.scopes);
            }
            if self.pkce {
                let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(consent.verifier));
                query.append_pair("code_challenge", &challenge).append_pair("code_challenge_method", "S256");
            }
        }
        for (name, value) in &self.authorize_query {
            if let Some(value) = value.text(&Value::null(), names).map_err(Unmade::from)? {
                url.query_pairs_mut().append_pair(name, &value);
            }
        }
        Ok(url)
    }

    /// The request that turns a consent's code into tokens.
    pub(crate) fn exchange(
        &self,
        names: &Names,
        code: &str,
        consent: &Consent<'_>,
    ) -> Result<Request, AuthError> {
        let mut fields = vec![
            ("grant_type".to_owned(), "authorization_code".to_owned()),
            ("code".into(), code.into()),
            ("redirect_uri".into(), consent.redirect.into()),
        ];
        if self.pkce {
            fields.push(("code_verifier".into(), consent.verifier.into()));
        }
        self.request(names, fields)
    }

    /// The request that gets a token, by what is held or by the credentials alone.
    pub(super) fn ask(&self, names: &Names, refresh: Option<&str>) -> Result<Request, AuthError> {
        let scope = || (!self.scopes.is_empty()).then(|| ("scope".to_owned(), self.scopes.clone()));
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let fields = match (refresh, self.grant) {
            (Some(refresh), _) => {
                vec![field("grant_type", "refresh_token"), field("refresh_token", refresh)]
            }
            (None, Grant::Code) => return Err(AuthError::Unconnected),
            (None, Grant::ClientCredentials) => {
                std::iter::once(field("grant_type", "client_credentials")).chain(scope()).collect()
            }
            (None, Grant::Password) => {
                std::iter::once(field("grant_type", "password")).chain(scope()).collect()
            }
            (None, Grant::Refresh) => vec![field("grant_type", "refresh_token")],
        };
        self.request(names, fields)
    }

    fn client(&self, names: &Names) -> Result<(String, Option<String>), AuthError> {
        let of = |template: &Template| template.text(&Value::null(), names).map_err(Unmade::from);
        let id = of(&self.client_id)?.ok_or_else(|| AuthError::Incomplete("app.client_id".into()))?;
        Ok((id, of(&self.client_secret)?))
    }

    fn request(&self, names: &Names, fields: Vec<(String, String)>) -> Result<Request, AuthError> {
        let mut url = url(&self.token, names)?;
        let mut fields = fields;
        for (name, value) in &self.token_send {
            if let Some(value) = value.text(&Value::null(), names).map_err(Unmade::from)?
                && !fields.iter().any(|(known, _)| known == name)
            {
                fields.push((name.clone(), value));
            }
        }
        let mut headers = vec![("accept".to_owned(), "application/json".to_owned())];
        let (id, secret) = self.client(names)?;
        let mut named = vec![("client_id".to_owned(), id.clone())];
        named.extend(secret.clone().map(|secret| ("client_secret".to_owned(), secret)));
        match self.client {
            ClientAuth::Basic => {
                // RFC 6749 §2.3.1: form-encoded first.
                let encoded =
                    |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = format!("{}:{}", encoded(&id), encoded(secret.as_deref().unwrap_or_default()));
                headers.push(("authorization".into(), format!("Basic {}", STANDARD.encode(pair))));
            }
            ClientAuth::Form | ClientAuth::Json => fields.extend(named),
            ClientAuth::Query => {
                url.query_pairs_mut().extend_pairs(named);
            }
        }
        let body = match self.client {
            ClientAuth::Json => {
                headers.push(("content-type".into(), "application/json".into()));
                let fields: Map<String, Json> =
                    fields.into_iter().map(|(name, value)| (name, Json::from(value))).collect();
                Json::Object(fields).to_string()
            }
            ClientAuth::Basic | ClientAuth::Form | ClientAuth::Query => {
                headers.push(("content-type".into(), "application/x-www-form-urlencoded".into()));
                form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
            }
        };
        let timeout = Duration::from_secs(30);
        Ok(Request { method: "POST".into(), url, headers, body: Some(body.into_bytes()), timeout })
    }

    /// What of a token's answer is kept: `$auth`, the refresh token, and when it ends.
    pub(super) fn take(
        &self,
        body: &Value,
        names: &Names,
        now: Timestamp,
    ) -> (Map<String, Json>, Option<String>, Option<Timestamp>) {
        let mut values = self.take.from(body, names);
        let access = body.get("access_token");
        match access.as_text() {
            Some(access) => values.insert("access_token".into(), Json::from(access.as_ref())),
            None => {
                values.clear();
                None
            }
        };
        let refresh = body.get("refresh_token").as_text().map(|text| text.into_owned());
        let said = body.get("expires_in").as_text().and_then(|text| wait_of(&text, now));
        let ends = match said {
            Some(wait) => Some(now.plus(wait)),
            None => self.expires.as_ref().and_then(|life| life.ends(body, names, now)),
        };
        (values, refresh, ends)
    }

    pub(super) fn send(&self, values: &Map<String, Json>) -> Authorization {
        let token = values.get("access_token").and_then(Json::as_str).unwrap_or_default();
        let value =
            if self.scheme.is_empty() { token.to_owned() } else { format!("{} {token}", self.scheme) };
        Authorization { headers: vec![(self.header.clone(), value)], query: Vec::new() }
    }
}

fn url(template: &Template, names: &Names) -> Result<Url, AuthError> {
    let text = template.text(&Value::null(), names).map_err(Unmade::from)?;
    let url =
        text.and_then(|text| Url::parse(&text).ok()).filter(|url| matches!(url.scheme(), "https" | "http"));
    url.ok_or_else(|| Unmade::Trouble("the token's URL is none".into()).into())
}
