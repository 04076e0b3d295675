//! One way to log in.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value as Json};
use tributary_schemas::time::Timestamp;

use super::{
    Asked, AuthError, Credentials, EARLY, Session, Step, Token, Tokens, failure, jwt::Jwt, oauth2::OAuth2,
};
use crate::{
    definition::{
        Problem,
        auth::{Auth as Written, Basic as WrittenBasic, Expires, Purpose, Send as WrittenSend},
        errors::Means,
        keys::Named,
        request::Format,
        text::{Expression as WrittenExpression, Template as WrittenTemplate},
    },
    engine::{
        Trouble,
        expression::Expression,
        jq::Helpers,
        names::{Name, Names, Scope},
        outcome::{Answer, Errors, Refusal, Standing, names_of, wait_of},
        request::{Authorization, Call, Request, Shared, Unmade},
        template::{Place, Template},
        value::Value,
    },
};

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) purpose: Purpose,
    pub(super) needs: Vec<String>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Fixed(Box<Send>),
    OAuth2(Box<OAuth2>),
    Login(Box<Login>),
    Jwt(Box<Jwt>),
}

/// How requests carry it.
#[derive(Debug)]
pub(super) struct Send {
    header: Vec<(String, Template)>,
    query: Vec<(String, Template)>,
    basic: Option<(String, Template, Template)>,
}

#[derive(Debug)]
struct Login {
    call: Call,
    take: Take,
    expires: Life,
    idle: Option<std::time::Duration>,
    rotating: bool,
    send: Send,
}

/// What of an answer is kept.
#[derive(Debug)]
pub(super) struct Take(Vec<(String, Expression)>);

/// How long it lives.
#[derive(Debug)]
pub(super) enum Life {
    Never,
    After(std::time::Duration),
    Said(Expression),
}

impl Entry {
    pub(super) fn compile(
        key: String,
        written: &Written,
        needs: Vec<String>,
        scope: &Scope,
        helpers: &Helpers,
    ) -> Result<Self, Problem> {
        let scope = scope.clone().and(Name::Auth).and(Name::Setup).and(Name::App);
        let way = if let Some(oauth2) = &written.oauth2 {
            Way::OAuth2(Box::new(OAuth2::compile(oauth2, &scope, helpers).map_err(|it| it.at("oauth2"))?))
        } else if let Some(login) = &written.login {
            let compiled = Login {
                call: Call::compile(&login.request, &scope, helpers).map_err(|it| it.at("login"))?,
                take: Take::compile(&login.take, &scope, helpers).map_err(|it| it.at("login"))?,
                expires: Life::compile(&login.expires, &scope, helpers).map_err(|it| it.at("login"))?,
                idle: login.idle,
                rotating: login.rotating,
                send: Send::compile(&login.send, &scope, helpers).map_err(|it| it.at("send").at("login"))?,
            };
            Way::Login(Box::new(compiled))
        } else if let Some(jwt) = &written.jwt {
            Way::Jwt(Box::new(Jwt::compile(jwt, &scope, helpers).map_err(|it| it.at("jwt"))?))
        } else {
            let send = WrittenSend {
                header: written.header.clone().unwrap_or_default(),
                query: written.query.clone().unwrap_or_default(),
                basic: written.basic.clone(),
            };
            Way::Fixed(Box::new(Send::compile(&send, &scope, helpers)?))
        };
        Ok(Self { key, purpose: written.purpose, needs, way })
    }

    pub(super) fn is_given(&self, credentials: &Credentials) -> bool {
        self.needs.iter().all(|need| {
            let (kind, name) = need.split_once('.').unwrap_or((need, ""));
            let fields = if kind == "app" { &credentials.app } else { &credentials.setup };
            !matches!(fields.get(name), None | Some(Json::Null)) && fields.get(name) != Some(&Json::from(""))
        })
    }

    pub(super) fn consent(&self) -> Option<&OAuth2> {
        match &self.way {
            Way::OAuth2(oauth2) if oauth2.asks_consent() => Some(oauth2),
            Way::OAuth2(_) | Way::Fixed(_) | Way::Login(_) | Way::Jwt(_) => None,
        }
    }

    pub(super) fn step(
        &self,
        asked: &Asked<'_>,
        tokens: &Tokens,
        refused: Option<&Session>,
        shared: &Shared,
        now: Timestamp,
    ) -> Result<Step, AuthError> {
        let held = tokens.0.get(&self.key);
        if let Way::Fixed(send) = &self.way {
            return Ok(Step::Use(Session {
                with: send.make(asked.names).map_err(Unmade::from)?,
                auth: Json::Null,
                renews: false,
                generation: 0,
            }));
        }
        let refused = refused.map(|session| session.generation);
        if let Some(token) = held.filter(|token| self.usable(token, refused, now)) {
            return self.session(token, asked.names).map(Step::Use);
        }
        self.ask(asked, held, shared, now).map(Step::Ask)
    }

    fn usable(&self, token: &Token, refused: Option<u64>, now: Timestamp) -> bool {
        let idle = match &self.way {
            Way::OAuth2(oauth2) => oauth2.idle(),
            Way::Login(login) => login.idle,
            Way::Fixed(_) | Way::Jwt(_) => None,
        };
        // A refresh token that nobody uses dies: it is used at half its time.
        let rests = idle.is_none_or(|idle| now.since(token.got_at) < idle / 2);
        refused != Some(token.generation) && rests && token.expires_at.is_none_or(|at| at > now.plus(EARLY))
    }

    fn session(&self, token: &Token, names: &Names) -> Result<Session, AuthError> {
        let auth = Json::Object(token.values.clone());
        let names = names.clone().with(Name::Auth, Value::from_json(&auth));
        let with = match &self.way {
            Way::Fixed(send) => send.make(&names),
            Way::Login(login) => login.send.make(&names),
            Way::OAuth2(oauth2) => Ok(oauth2.send(&token.values)),
            Way::Jwt(jwt) => jwt.send(&names),
        };
        Ok(Session { with: with.map_err(Unmade::from)?, auth, renews: true, generation: token.generation })
    }

    fn ask(
        &self,
        asked: &Asked<'_>,
        held: Option<&Token>,
        shared: &Shared,
        now: Timestamp,
    ) -> Result<Request, AuthError> {
        let names = asked.names.clone().with(Name::Auth, auth_of(held));
        match &self.way {
            Way::Fixed(_) => Err(AuthError::Unconnected),
            Way::Login(login) => {
                Ok(login.call.make(shared, &Value::null(), &names, &Authorization::default())?)
            }
            Way::OAuth2(oauth2) => oauth2.ask(&names, held.and_then(|token| token.refresh.as_deref())),
            Way::Jwt(jwt) => jwt.ask(shared, &names, now),
        }
    }

    pub(super) fn answered(
        &self,
        asked: &Asked<'_>,
        tokens: &mut Tokens,
        answer: Answer<'_>,
        errors: &Errors,
        now: Timestamp,
    ) -> Result<(), AuthError> {
        let held = tokens.0.get(&self.key);
        let names = asked.names.clone().with(Name::Auth, auth_of(held));
        let body = match errors.read(answer, Format::Json, Standing::Whole, &names, now) {
            Ok(body) => body,
            Err(refusal) => return Err(failure(self.told(refusal, answer))),
        };
        let names = names_of(answer, &names).with(Name::Cookies, cookies(answer));
        let before = held.cloned();
        let (mut values, refresh, life) = match &self.way {
            Way::Fixed(_) => return Ok(()),
            Way::Login(login) => {
                (login.take.from(&body, &names), None, login.expires.ends(&body, &names, now))
            }
            Way::OAuth2(oauth2) => oauth2.take(&body, &names, now),
            Way::Jwt(jwt) => (jwt.take(&body, &names), None, jwt.ends(&body, now)),
        };
        let took = values.values().any(|value| !value.is_null());
        if !took {
            let refusal = Refusal::bad(answer.status, "the answer to the login holds no token");
            return Err(AuthError::Refused(Refusal { means: Means::Unauthorized, ..refusal }));
        }
        let keeps = match &self.way {
            Way::Login(login) => login.rotating,
            Way::OAuth2(_) | Way::Fixed(_) | Way::Jwt(_) => false,
        };
        if let Some(before) = before.as_ref().filter(|_| keeps) {
            // What this answer did not give anew is still good.
            for (name, value) in &before.values {
                values.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        let generation = before.as_ref().map_or(1, |token| token.generation + 1);
        let refresh = refresh.or_else(|| before.and_then(|token| token.refresh));
        tokens
            .0
            .insert(self.key.clone(), Token { values, refresh, got_at: now, expires_at: life, generation });
        Ok(())
    }

    /// OAuth's own errors have a code that is worth passing on.
    fn told(&self, refusal: Refusal, answer: Answer<'_>) -> Refusal {
        let code = serde_json::from_slice::<Json>(answer.body).ok();
        let code = code.as_ref().and_then(|body| body.get("error")).and_then(Json::as_str);
        let known = [
            "invalid_grant",
            "invalid_client",
            "invalid_request",
            "unauthorized_client",
            "unsupported_grant_type",
            "invalid_scope",
            "access_denied",
        ];
        let says = code.and_then(|code| known.into_iter().find(|known| *known == code)).map(str::to_owned);
        Refusal { says: refusal.says.clone().or(says), ..refusal }
    }
}

/// The cookies that an answer sets.
fn cookies(answer: Answer<'_>) -> Value {
    let set = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
    let pair = |(_, value): &(String, String)| {
        let (name, value) = value.split(';').next()?.split_once('=')?;
        Some((name.trim().to_owned(), Json::from(value.trim())))
    };
    Value::from_json(&Json::Object(set.filter_map(pair).collect()))
}

/// What the token that is held took.
fn auth_of(held: Option<&Token>) -> Value {
    held.map_or_else(Value::null, |token| Value::from_json(&Json::Object(token.values.clone())))
}

impl Send {
    pub(super) fn compile(written: &WrittenSend, scope: &Scope, helpers: &Helpers) -> Result<Self, Problem> {
        let pairs = |pairs: &Named<WrittenTemplate>, key: &'static str, place| {
            let compile = |(name, value): (&str, &WrittenTemplate)| {
                let compiled = Template::compile(value, place, scope, helpers);
                Ok((name.to_owned(), compiled.map_err(|problem| problem.at(name).at(key))?))
            };
            pairs.iter().map(compile).collect::<Result<Vec<_>, Problem>>()
        };
        let basic = |basic: &WrittenBasic| {
            let plain = |it: &WrittenTemplate, key: &'static str| {
                Template::compile(it, Place::Text, scope, helpers)
                    .map_err(|problem| problem.at(key).at("basic"))
            };
            Ok((basic.scheme.clone(), plain(&basic.user, "user")?, plain(&basic.password, "password")?))
        };
        Ok(Self {
            header: pairs(&written.header, "header", Place::Header)?,
            query: pairs(&written.query, "query", Place::Text)?,
            basic: written.basic.as_ref().map(basic).transpose()?,
        })
    }

    pub(super) fn make(&self, names: &Names) -> Result<Authorization, Trouble> {
        let mut with = Authorization::default();
        for (name, value) in &self.header {
            with.headers
                .extend(value.text(&Value::null(), names)?.map(|value| (name.to_ascii_lowercase(), value)));
        }
        for (name, value) in &self.query {
            with.query.extend(value.text(&Value::null(), names)?.map(|value| (name.clone(), value)));
        }
        if let Some((scheme, user, password)) = &self.basic {
            let text = |template: &Template| {
                Ok::<_, Trouble>(template.text(&Value::null(), names)?.unwrap_or_default())
            };
            let pair = format!("{}:{}", text(user)?, text(password)?);
            with.headers.push(("authorization".into(), format!("{scheme} {}", STANDARD.encode(pair))));
        }
        Ok(with)
    }
}

impl Take {
    pub(super) fn compile(
        written: &Named<WrittenExpression>,
        scope: &Scope,
        helpers: &Helpers,
    ) -> Result<Self, Problem> {
        let scope = scope.clone().and(Name::Status).and(Name::Headers).and(Name::Cookies);
        let compile = |(name, value): (&str, &WrittenExpression)| {
            let compiled = Expression::compile(value, &scope, helpers);
            Ok((name.to_owned(), compiled.map_err(|problem| problem.at(name).at("take"))?))
        };
        Ok(Self(written.iter().map(compile).collect::<Result<_, Problem>>()?))
    }

    /// What is there.
    pub(super) fn from(&self, body: &Value, names: &Names) -> Map<String, Json> {
        let take = |(name, value): &(String, Expression)| {
            let value = value.one(body, names).ok().filter(|value| !value.is_null())?;
            Some((name.clone(), value.to_json()))
        };
        self.0.iter().filter_map(take).collect()
    }
}

impl Life {
    pub(super) fn compile(written: &Expires, scope: &Scope, helpers: &Helpers) -> Result<Self, Problem> {
        Ok(match written {
            Expires::Never => Self::Never,
            Expires::After(duration) => Self::After(*duration),
            Expires::Said(said) => Self::Said(
                Expression::compile(said, scope, helpers).map_err(|problem| problem.at("expires"))?,
            ),
        })
    }

    pub(super) fn ends(&self, body: &Value, names: &Names, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Never => None,
            Self::After(duration) => Some(now.plus(*duration)),
            Self::Said(said) => {
                let said = said.one(body, names).ok()?;
                wait_of(&said.as_text()?, now).map(|wait| now.plus(wait))
            }
        }
    }
}
