//! How one logs in, as pure state machines: what is kept of a token, when it is to be got anew, the request that gets it,
//! and what its answer means.
//!
//! Whoever drives this claims the account's tokens, sends the request, reads its answer, and writes what [`Tokens`] then
//! holds before it uses it. Nothing here shows a credential: `Debug` prints `***`.

mod entry;
mod jwt;
mod oauth2;

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use tributary_schemas::time::Timestamp;

pub use oauth2::Consent;

use self::entry::Entry;
use super::{
    jq::Helpers,
    names::{Names, Scope},
    outcome::{Answer, Refusal},
    request::{Authorization, Request, Shared, Unmade},
};
use crate::definition::{
    Definition, Problem,
    auth::{Auth as Written, Purpose},
    errors::Means,
    node::Node,
};

/// A token is got anew so long before it ends.
const EARLY: Duration = Duration::from_secs(60);

/// What linking an account gave, and what the project registered at the provider. `Debug` shows names only.
#[derive(Clone, Default, PartialEq)]
pub struct Credentials {
    /// The account's set-up fields, secret ones too.
    pub setup: Map<String, Json>,
    /// The project's registration.
    pub app: Map<String, Json>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.setup.keys().chain(self.app.keys()).collect();
        f.debug_tuple("Credentials").field(&names).finish()
    }
}

/// The tokens of an account: to be sealed.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tokens(BTreeMap<String, Token>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What logging in gave.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Token {
    /// `$auth`.
    values: Map<String, Json>,
    /// What the next one is got with, where that is not the credentials.
    refresh: Option<String>,
    got_at: Timestamp,
    expires_at: Option<Timestamp>,
    /// Counts up: a refusal is of the token that a request really had.
    generation: u64,
}

/// What to do before a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Send it with this.
    Use(Session),
    /// Ask for a token first: then [`Auth::answered`].
    Ask(Request),
}

/// What requests go with.
#[derive(Clone, Default, PartialEq)]
pub struct Session {
    pub(crate) with: Authorization,
    pub(crate) auth: Json,
    /// Whether another can be got when this one is refused.
    pub(crate) renews: bool,
    generation: u64,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session(***, {})", self.generation)
    }
}

/// Why one can't log in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No way to log in has all its fields.
    #[error("the set-up lacks the fields of every way to log in: give {0}")]
    Incomplete(String),
    /// There is no token yet: a person has to consent.
    #[error("a person has to connect the account first")]
    Unconnected,
    /// The provider refuses them.
    #[error("{}", .0.words())]
    Refused(Refusal),
    /// Later, perhaps.
    #[error("{}", .0.words())]
    Later(Refusal),
    /// The request can't be made.
    #[error(transparent)]
    Unmade(#[from] Unmade),
}

/// A definition's ways to log in, compiled.
#[derive(Debug)]
pub struct Auth(Vec<Entry>);

impl Auth {
    pub(crate) fn compile(
        definition: &Definition,
        tree: &Node,
        scope: &Scope,
        helpers: &Helpers,
    ) -> Result<Self, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        for (index, written) in definition.auth.iter().enumerate() {
            let at = |problem: Problem| problem.at(index.to_string()).at("auth");
            let needs = needs(tree, index, written, definition).map_err(at)?;
            let mut key = written.name.clone().unwrap_or_else(|| written.purpose.word().to_owned());
            while entries.iter().any(|entry| entry.key == key) {
                key.push('+');
            }
            entries.push(Entry::compile(key, written, needs, scope, helpers).map_err(at)?);
        }
        Ok(Self(entries))
    }

    /// The entry that requests of a purpose go with: the first whose fields are given.
    fn choose(
        &self,
        purpose: Purpose,
        name: Option<&str>,
        credentials: &Credentials,
    ) -> Result<Option<&Entry>, AuthError> {
        let of = |purpose: Purpose| self.0.iter().filter(move |entry| entry.purpose == purpose);
        let mut candidates: Vec<&Entry> = match name {
            Some(name) => self.0.iter().filter(|entry| entry.key == name).collect(),
            None => of(purpose).collect(),
        };
        if candidates.is_empty() {
            candidates = of(Purpose::List).collect();
        }
        match candidates.iter().find(|entry| entry.is_given(credentials)) {
            Some(entry) => Ok(Some(entry)),
            None if candidates.is_empty() => Ok(None),
            None => {
                let needs: Vec<String> = candidates.iter().map(|entry| entry.needs.join(" and ")).collect();
                Err(AuthError::Incomplete(needs.join(", or ")))
            }
        }
    }

    /// What to do before a request. `refused` is the session that the provider has just refused: another is got.
    ///
    /// # Errors
    /// When one can't log in.
    pub(crate) fn step(
        &self,
        asked: &Asked<'_>,
        tokens: &Tokens,
        refused: Option<&Session>,
        shared: &Shared,
        now: Timestamp,
    ) -> Result<Step, AuthError> {
        match self.choose(asked.purpose, asked.name, asked.credentials)? {
            None => Ok(Step::Use(Session::default())),
            Some(entry) => entry.step(asked, tokens, refused, shared, now),
        }
    }

    /// Reads the answer to a request for a token.
    ///
    /// # Errors
    /// When the provider gave none.
    pub(crate) fn answered(
        &self,
        asked: &Asked<'_>,
        tokens: &mut Tokens,
        answer: Answer<'_>,
        errors: &super::outcome::Errors,
        now: Timestamp,
    ) -> Result<(), AuthError> {
        match self.choose(asked.purpose, asked.name, asked.credentials)? {
            None => Ok(()),
            Some(entry) => entry.answered(asked, tokens, answer, errors, now),
        }
    }

    /// The way to log in that a person consents to, if there is one.
    pub(crate) fn consent(&self) -> Option<&oauth2::OAuth2> {
        self.0.iter().find_map(Entry::consent)
    }

    pub(crate) fn take_consent(
        &self,
        asked: &Asked<'_>,
        tokens: &mut Tokens,
        answer: Answer<'_>,
        errors: &super::outcome::Errors,
        now: Timestamp,
    ) -> Result<(), AuthError> {
        match self.0.iter().find(|entry| entry.consent().is_some()) {
            Some(entry) => entry.answered(asked, tokens, answer, errors, now),
            None => Err(AuthError::Unconnected),
        }
    }
}

/// For what one logs in, and with what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) purpose: Purpose,
    pub(crate) name: Option<&'a str>,
    pub(crate) credentials: &'a Credentials,
    /// The names that templates may use.
    pub(crate) names: &'a Names,
}

/// The set-up and app fields that an entry speaks of: it is one's way to log in if all are given.
fn needs(
    tree: &Node,
    index: usize,
    written: &Written,
    definition: &Definition,
) -> Result<Vec<String>, Problem> {
    let mut needs = Vec::new();
    if let Some(crate::definition::node::Kind::List(entries)) = tree.get("auth").map(|node| &node.kind)
        && let Some(entry) = entries.get(index)
    {
        mentions(entry, &mut needs);
    }
    if let Some(oauth2) = &written.oauth2 {
        for (key, said) in [("client_id", &oauth2.client_id), ("client_secret", &oauth2.client_secret)] {
            let name = format!("app.{key}");
            if said.is_none() && definition.app.get(key).is_some() && !needs.contains(&name) {
                needs.push(name);
            }
        }
    }
    for need in &needs {
        let (kind, name) = need.split_once('.').unwrap_or((need, ""));
        let known: Vec<&str> = match kind {
            "app" => definition.app.names().collect(),
            _ => definition.setup.names().collect(),
        };
        if !known.contains(&name) {
            return Err(Problem::unknown(&format!("{kind} field"), name, known));
        }
    }
    Ok(needs)
}

fn mentions(node: &Node, to: &mut Vec<String>) {
    use crate::definition::node::Kind;
    match &node.kind {
        Kind::Null => {}
        Kind::Text { text, .. } => {
            for kind in ["setup", "app"] {
                for (at, _) in text.match_indices(&format!("${kind}.")) {
                    let rest = &text[at + kind.len() + 2..];
                    let end =
                        rest.find(|it: char| !it.is_ascii_alphanumeric() && it != '_').unwrap_or(rest.len());
                    let name = format!("{kind}.{}", &rest[..end]);
                    if end > 0 && !to.contains(&name) {
                        to.push(name);
                    }
                }
            }
        }
        Kind::List(items) => items.iter().for_each(|item| mentions(item, to)),
        Kind::Map(entries) => entries.iter().for_each(|(_, value)| mentions(value, to)),
    }
}

/// A refusal of a token's request: refused for good, or to be asked again later.
fn failure(refusal: Refusal) -> AuthError {
    match refusal.means {
        Means::Transient | Means::Limited => AuthError::Later(refusal),
        Means::Unauthorized
        | Means::Forbidden
        | Means::Gone
        | Means::Refresh
        | Means::Restart
        | Means::Expired
        | Means::None
        | Means::Bad => AuthError::Refused(refusal),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::engine::connector::Connector;

    const NOW: Timestamp = Timestamp::from_micros(1_795_579_000_000_000);

    fn acme(setup: &str, auth: &str) -> Arc<Connector> {
        let text = format!(
            "language: 1\nname: acme\ntitle: Acme\ncategory: crm\nsetup: {setup}\n\
             app: {{ client_id: {{ label: Id }}, client_secret: {{ label: Secret, secret: true }} }}\nauth:\n{auth}\n\
             defaults: {{ base: https://acme.example }}\n\
             resources:\n  crm_contacts: {{ list: {{ call: GET /c, records: . }}, id: .id, map: {{ first_name: .name }} }}\n"
        );
        Arc::new(Connector::read("acme.yaml", &text).unwrap_or_else(|error| panic!("{error}")))
    }

    fn given(connector: &Connector, setup: &[(&str, &str)], app: &[(&str, &str)]) -> Credentials {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        connector.credentials(&map(setup), &map(app)).unwrap()
    }

    fn header(step: &Step) -> &str {
        match step {
            Step::Use(session) => session.with.headers.first().map_or("", |(_, value)| value.as_str()),
            Step::Ask(_) => panic!("a token is asked for"),
        }
    }

    fn body(step: Step) -> String {
        match step {
            Step::Ask(request) => String::from_utf8(request.body.unwrap()).unwrap(),
            Step::Use(_) => panic!("a token is used"),
        }
    }

    fn answer(status: u16, body: &str) -> Answer<'_> {
        Answer { status, headers: &[], body: body.as_bytes() }
    }

    #[test]
    fn the_first_way_whose_fields_are_given_is_taken() {
        let acme = acme(
            "{ key: { label: Key, optional: true }, user: { label: User, optional: true } }",
            "  - basic: { user: $setup.key, password: x }\n  - header: { authorization: 'Token {$setup.user}' }",
        );
        let step = |setup: &[(&str, &str)]| {
            acme.step(Purpose::List, &given(&acme, setup, &[]), &Tokens::default(), None, NOW)
        };
        assert_eq!(header(&step(&[("key", "k")]).unwrap()), "Basic azp4");
        assert_eq!(header(&step(&[("user", "u")]).unwrap()), "Token u");
        let error = step(&[]).unwrap_err().to_string();
        assert_eq!(
            error,
            "the set-up lacks the fields of every way to log in: give setup.key, or setup.user"
        );
    }

    #[test]
    fn a_token_is_got_used_refreshed_and_a_refused_one_is_not_used_again() {
        let acme = acme(
            "{}",
            "  - oauth2: { grant: client_credentials, token: https://acme.example/t, client: form, scopes: [a, b], refresh: rotating }",
        );
        let credentials = given(&acme, &[], &[("client_id", "i"), ("client_secret", "s")]);
        let mut tokens = Tokens::default();
        let step = |tokens: &Tokens, refused: Option<&Session>, now| {
            acme.step(Purpose::List, &credentials, tokens, refused, now).unwrap()
        };
        assert_eq!(
            body(step(&tokens, None, NOW)),
            "grant_type=client_credentials&scope=a+b&client_id=i&client_secret=s"
        );
        let first = r#"{"access_token":"t1","refresh_token":"r1","expires_in":3600}"#;
        acme.answered(Purpose::List, &credentials, &mut tokens, answer(200, first), NOW).unwrap();
        let used = step(&tokens, None, NOW);
        assert_eq!(header(&used), "Bearer t1");
        let late = NOW.plus(Duration::from_secs(3_550));
        assert!(body(step(&tokens, None, late)).starts_with("grant_type=refresh_token&refresh_token=r1"));
        let Step::Use(session) = used else { panic!("a token") };
        assert!(body(step(&tokens, Some(&session), NOW)).contains("refresh_token=r1"), "it was refused");
        acme.answered(
            Purpose::List,
            &credentials,
            &mut tokens,
            answer(200, r#"{"access_token":"t2","refresh_token":"r2"}"#),
            NOW,
        )
        .unwrap();
        assert_eq!(
            header(&step(&tokens, Some(&session), NOW)),
            "Bearer t2",
            "the refusal was of the one before"
        );
        let read: Tokens = serde_json::from_str(&serde_json::to_string(&tokens).unwrap()).unwrap();
        assert_eq!(read, tokens);
    }

    #[test]
    fn a_refused_login_says_so_and_shows_nothing() {
        let acme = acme(
            "{ user: { label: User }, password: { label: Password, secret: true } }",
            "  - login: { call: POST /login, json: { u: $setup.user, p: $setup.password }, take: { token: .token }, send: { header: { x-token: $auth.token } } }",
        );
        let credentials = given(&acme, &[("user", "u"), ("password", "hunter2")], &[]);
        let mut tokens = Tokens::default();
        for (status, text, refused) in
            [(401, "{}", true), (200, r#"{"error":"hunter2"}"#, true), (503, "{}", false)]
        {
            let error = acme
                .answered(Purpose::List, &credentials, &mut tokens, answer(status, text), NOW)
                .unwrap_err();
            assert_eq!(matches!(error, AuthError::Refused(_)), refused, "{status}");
            assert!(!format!("{error} {error:?} {credentials:?} {tokens:?}").contains("hunter2"));
        }
        acme.answered(Purpose::List, &credentials, &mut tokens, answer(200, r#"{"token":"t"}"#), NOW)
            .unwrap();
        let used = acme.step(Purpose::List, &credentials, &tokens, None, NOW).unwrap();
        assert_eq!(header(&used), "t");
    }

    #[test]
    fn a_consent_is_bound_by_its_state_and_verifier() {
        let acme = acme(
            "{}",
            "  - oauth2: { grant: code, authorize: 'https://acme.example/a', token: 'https://acme.example/t', scopes: [x], pkce: true }",
        );
        let credentials = given(&acme, &[], &[("client_id", "i"), ("client_secret", "s")]);
        let unconnected = acme.step(Purpose::List, &credentials, &Tokens::default(), None, NOW);
        assert_eq!(unconnected, Err(AuthError::Unconnected));
        // The verifier and challenge of RFC 7636, appendix B.
        let consent = Consent {
            redirect: "https://us.example/cb",
            state: "st",
            verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        };
        let url = acme.consent_url(&credentials, &consent).unwrap();
        let query: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!(query["code_challenge"], "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert_eq!((query["state"].as_str(), query["scope"].as_str()), ("st", "x"));
        let request = acme.exchange(&credentials, "c0de", &consent).unwrap();
        assert!(String::from_utf8(request.body.unwrap()).unwrap().contains("code_verifier=dBjft"));
        let mut tokens = Tokens::default();
        acme.connected(&credentials, &mut tokens, answer(200, r#"{"access_token":"t"}"#), NOW).unwrap();
        assert_eq!(header(&acme.step(Purpose::List, &credentials, &tokens, None, NOW).unwrap()), "Bearer t");
    }
}
