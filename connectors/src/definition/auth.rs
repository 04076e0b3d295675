//! How one logs in: the first entry of its use whose fields are given.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    keys::{Named, Read, duration, exactly_one, keys, words},
    node::Node,
    problem::Problem,
    request::Request,
    short::Short,
    text::{Expression, Template},
};

keys! {
    /// One way to log in.
    pub struct Auth {
        /// What it is for.
        purpose as "for": Purpose = Purpose::List,
        /// Its name, where requests choose it.
        name: Option<String>,
        /// HTTP Basic.
        basic: Option<Basic>,
        /// Headers.
        header: Option<Named<Template>>,
        /// Parameters.
        query: Option<Named<Template>>,
        /// OAuth 2.
        oauth2: Option<OAuth2>,
        /// A request that opens a session.
        login: Option<Login>,
        /// A token that we sign.
        jwt: Option<Jwt>,
    }
    /// User and password in the header `authorization`.
    pub struct Basic {
        /// The user.
        user: Template,
        /// The password.
        password: Template = Template::Text(String::new()),
        /// The scheme.
        scheme: String = "Basic".into(),
    }
    /// OAuth 2.
    pub struct OAuth2 {
        /// How the first token is got.
        grant: Grant,
        /// Where a person consents.
        authorize: Option<Template>,
        /// Where tokens are got.
        token: Template,
        /// The client's id; the app's `client_id` unless said.
        client_id: Option<Template>,
        /// The client's secret; the app's `client_secret` unless said.
        client_secret: Option<Template>,
        /// How the client says who it is.
        client: ClientAuth = ClientAuth::Basic,
        /// What to ask for.
        scopes: Vec<String>,
        /// Parameters of the consent's URL.
        authorize_query: Named<Template>,
        /// Fields of a token's request.
        token_send: Named<Template>,
        /// Whether a refresh token is used once.
        refresh: Refresh = Refresh::Fixed,
        /// Whether the consent is bound by PKCE.
        pkce: bool = false,
        /// What stands before the token.
        scheme: String = "Bearer".into(),
        /// The header that the token goes in.
        header: String = "authorization".into(),
        /// How long a token lives, where the answer's `expires_in` does not say.
        expires: Option<Expires>,
        /// A refresh token that is not used for so long dies: it is refreshed before.
        idle: Option<Duration>,
        /// What else of the token's answer is kept, as `$auth`.
        take: Named<Expression>,
    }
    /// A request that opens a session.
    pub struct Login {
        /// What of the answer is kept, as `$auth`.
        take: Named<Expression>,
        /// How long it lives.
        expires: Expires = Expires::Never,
        /// A session that is not used for so long dies: it is renewed before.
        idle: Option<Duration>,
        /// Whether what was taken opens the next session, once.
        rotating: bool = false,
        /// How requests carry it.
        send: Send;
        /// The request.
        ..request: Request
    }
    /// A token that we sign.
    pub struct Jwt {
        /// How it is signed.
        alg: String,
        /// With what.
        key: Template,
        /// What it claims; `iat`, `exp` and `jti` are ours.
        claims: Template = Template::Map(Vec::new()),
        /// Its header's fields, beside `alg` and `typ`.
        head: Template = Template::Map(Vec::new()),
        /// How long it lives.
        life: Duration = Duration::from_secs(3_600),
        /// The request that exchanges it for a token: the assertion is `$token`.
        exchange: Option<Short<Request>>,
        /// What of the exchange's answer is kept, as `$auth`.
        take: Named<Expression>,
        /// How requests carry it: the token itself is `$auth.token`.
        send: Option<Send>,
    }
    /// How requests carry what logging in gave.
    pub struct Send {
        /// Headers.
        header: Named<Template>,
        /// Parameters.
        query: Named<Template>,
        /// HTTP Basic, or its like.
        basic: Option<Basic>,
    }
}

words! {
    /// What a way to log in is for.
    pub enum Purpose {
        /// Listings, and all that has no other.
        List = "list",
        /// Subscriptions at the provider.
        Subscription = "subscription",
        /// Fetching single records.
        Fetch = "fetch",
    }
    /// How OAuth 2 gets its first token.
    pub enum Grant {
        /// A person consents.
        Code = "code",
        /// The client alone.
        ClientCredentials = "client_credentials",
        /// A user's password.
        Password = "password",
        /// A refresh token that linking the account asked for.
        Refresh = "refresh",
    }
    /// How a client says who it is.
    pub enum ClientAuth {
        /// HTTP Basic.
        Basic = "basic",
        /// Fields of the form.
        Form = "form",
        /// Fields of a JSON body.
        Json = "json",
        /// Parameters.
        Query = "query",
    }
    /// Whether a refresh token changes.
    pub enum Refresh {
        /// It stays.
        Fixed = "fixed",
        /// It is used once: the answer has the next.
        Rotating = "rotating",
    }
}

/// How long something lives.
#[derive(Debug, Clone, PartialEq)]
pub enum Expires {
    /// Until it is refused.
    Never,
    /// For so long.
    After(Duration),
    /// As the answer says: seconds, a moment of seconds since 1970, or a date.
    Said(Expression),
}

impl Read for Expires {
    fn read(node: &Node) -> Result<Self, Problem> {
        let text = String::read(node)?;
        Ok(match duration(&text) {
            Some(duration) => Self::After(duration),
            None if text == "never" => Self::Never,
            None if text.starts_with(['.', '$', '(', '[']) => Self::Said(Expression::Text(text)),
            None => {
                let what =
                    format!("expected `never`, a duration (1h) or a path of the answer, found `{text}`");
                return Err(Problem::new(what));
            }
        })
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({ "type": "string" })
    }
}

impl Auth {
    /// That it is one way, and has what it needs.
    ///
    /// # Errors
    /// What is missing or too much.
    pub fn check(&self) -> Result<(), Problem> {
        let header_or_query = self.header.is_some() || self.query.is_some();
        exactly_one(&[
            ("basic", self.basic.is_some()),
            ("header (or query)", header_or_query),
            ("oauth2", self.oauth2.is_some()),
            ("login", self.login.is_some()),
            ("jwt", self.jwt.is_some()),
        ])?;
        if let Some(oauth2) = &self.oauth2
            && oauth2.grant == Grant::Code
            && oauth2.authorize.is_none()
        {
            let what = "the key `authorize` is missing: where a person consents (`grant: code`)";
            return Err(Problem::new(what).at("oauth2"));
        }
        match &self.login {
            Some(login) => login.request.check().map_err(|problem| problem.at("login")),
            None => Ok(()),
        }
    }
}
