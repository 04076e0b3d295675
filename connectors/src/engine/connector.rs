//! What the stages ask of a provider's definition, compiled.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value as Json;
use tributary_schemas::{resource::Resource as Unified, time::Timestamp};

use super::{
    auth::{Asked, Auth, AuthError, Consent, Credentials, Session, Step, Tokens},
    events::Native,
    jq::Helpers,
    limits::Limits,
    listing::{Listing, Most, Resource, RunScope},
    names::{Name, Names, Scope},
    outcome::{Answer, Errors, Refusal, Standing},
    request::{Call, Request, Shared, Unmade},
    subscription::{self, Automatic, Subject, Subscriptions, Walk},
    trouble::Trouble,
    value::Value,
};
use crate::definition::{
    Definition, DefinitionError, Problem, Written, auth::Purpose, keys::Named, request::Format,
    setup::SetupKind, unified,
};

/// The shortest interval of a resource whose changes can be asked for (design §5).
const WITH_CHANGES: Duration = Duration::from_secs(300);
/// The shortest interval of one that is listed whole each time.
const WITHOUT_CHANGES: Duration = Duration::from_secs(3_600);

/// A provider, ready to be asked and listened to.
#[derive(Debug)]
pub struct Connector {
    written: Written,
    pub(crate) shared: Shared,
    pub(crate) errors: Errors,
    auth: Auth,
    limits: Limits,
    check: Option<Call>,
    resources: BTreeMap<Unified, Arc<Resource>>,
    native: Option<Native>,
    subscriptions: Option<Subscriptions>,
}

impl Connector {
    /// Reads and compiles a definition. `file` names it in errors.
    ///
    /// # Errors
    /// File, line and key of the first thing that is wrong, and what was expected.
    pub fn read(file: &str, text: &str) -> Result<Self, DefinitionError> {
        Self::compile(Written::read(file, text)?)
    }

    /// Compiles a definition.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn compile(written: Written) -> Result<Self, DefinitionError> {
        match Compiled::of(&written) {
            Ok(Compiled { shared, errors, auth, limits, check, resources, native, subscriptions }) => {
                Ok(Self { shared, errors, auth, limits, check, resources, native, subscriptions, written })
            }
            Err(problem) => Err(written.error(problem)),
        }
    }

    /// What it is compiled from.
    pub fn definition(&self) -> &Definition {
        &self.written.definition
    }

    /// The provider's name.
    pub fn name(&self) -> &str {
        &self.written.definition.name
    }

    /// The name that people know.
    pub fn title(&self) -> &str {
        &self.written.definition.title
    }

    /// What it says, without comments and whatever the order of its keys.
    pub fn canonical(&self) -> Vec<u8> {
        self.written.tree.canonical()
    }

    /// How often one may ask.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A resource that can be listed.
    pub fn resource(&self, resource: Unified) -> Option<&Arc<Resource>> {
        self.resources.get(&resource)
    }

    /// The resources that can be listed.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// What goes before a request: log in, or send it with this. `refused` is the session that was refused just now.
    ///
    /// # Errors
    /// When one can't log in.
    pub fn step(
        &self,
        purpose: Purpose,
        credentials: &Credentials,
        tokens: &Tokens,
        refused: Option<&Session>,
        now: Timestamp,
    ) -> Result<Step, AuthError> {
        let names = self.names(credentials);
        let asked = Asked { purpose, name: None, credentials, names: &names };
        self.auth.step(&asked, tokens, refused, &self.shared, now)
    }

    /// Reads the answer to a request for a token, into `tokens`.
    ///
    /// # Errors
    /// When the provider gave none.
    pub fn answered(
        &self,
        purpose: Purpose,
        credentials: &Credentials,
        tokens: &mut Tokens,
        answer: Answer<'_>,
        now: Timestamp,
    ) -> Result<(), AuthError> {
        let names = self.names(credentials);
        let asked = Asked { purpose, name: None, credentials, names: &names };
        self.auth.answered(&asked, tokens, answer, &self.errors, now)
    }

    /// Where a person consents, for providers that want one.
    ///
    /// # Errors
    /// When there is no such way to log in, or its fields are not given.
    pub fn consent_url(
        &self,
        credentials: &Credentials,
        consent: &Consent<'_>,
    ) -> Result<url::Url, AuthError> {
        let oauth2 = self.auth.consent().ok_or(AuthError::Unconnected)?;
        oauth2.consent_url(&self.names(credentials), consent)
    }

    /// The request that turns a consent's code into tokens; its answer is for [`connected`](Self::connected).
    ///
    /// # Errors
    /// As [`consent_url`](Self::consent_url).
    pub fn exchange(
        &self,
        credentials: &Credentials,
        code: &str,
        consent: &Consent<'_>,
    ) -> Result<Request, AuthError> {
        let oauth2 = self.auth.consent().ok_or(AuthError::Unconnected)?;
        oauth2.exchange(&self.names(credentials), code, consent)
    }

    /// Reads the answer to [`exchange`](Self::exchange), into `tokens`.
    ///
    /// # Errors
    /// When the provider gave none.
    pub fn connected(
        &self,
        credentials: &Credentials,
        tokens: &mut Tokens,
        answer: Answer<'_>,
        now: Timestamp,
    ) -> Result<(), AuthError> {
        let names = self.names(credentials);
        let asked = Asked { purpose: Purpose::List, name: None, credentials, names: &names };
        self.auth.take_consent(&asked, tokens, answer, &self.errors, now)
    }

    /// Whether a refresh token is used once: who asks with it must be alone.
    pub fn rotates(&self) -> bool {
        self.auth.consent().is_some_and(|oauth2| oauth2.rotates())
    }

    /// What its webhooks tell.
    pub fn native(&self) -> Option<&Native> {
        self.native.as_ref()
    }

    /// What expressions know of an account.
    pub fn named(&self, credentials: &Credentials) -> Names {
        self.names(credentials)
    }

    /// The request that shows whether the account can be read; `None` where the definition has none.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn check(&self, credentials: &Credentials, session: &Session) -> Option<Result<Request, Unmade>> {
        let call = self.check.as_ref()?;
        let names = self.names(credentials).with(Name::Auth, Value::from_json(&session.auth));
        Some(call.make(&self.shared, &Value::null(), &names, &session.with))
    }

    /// Reads the answer to [`check`](Self::check).
    ///
    /// # Errors
    /// What it means, where it did not pass.
    pub fn checked(
        &self,
        credentials: &Credentials,
        answer: Answer<'_>,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        self.errors.read(answer, Format::Json, Standing::Whole, &self.names(credentials), now)
    }

    /// The shortest interval at which a resource may be polled (design §5).
    pub fn shortest_interval(&self, resource: Unified) -> Duration {
        match self.resource(resource).and_then(|resource| resource.overlap()) {
            Some(_) => WITH_CHANGES,
            None => WITHOUT_CHANGES,
        }
    }

    /// A run through a resource's listing.
    pub fn list(
        self: &Arc<Self>,
        resource: Unified,
        scope: RunScope,
        credentials: &Credentials,
        most: Most,
        begun: Timestamp,
    ) -> Option<Listing> {
        let resource = Arc::clone(self.resource(resource)?);
        let names = self.names(credentials);
        let names =
            names.with(Name::With, resource.with()).with(Name::Fields, resource.content.fields.clone());
        Some(Listing::new(Arc::clone(self), resource, scope, names, most, begun))
    }

    /// Whether what changed can be asked for, for this account.
    pub fn tells_changes(&self, resource: Unified, credentials: &Credentials) -> bool {
        self.resource(resource).is_some_and(|resource| resource.tells_changes(&self.names(credentials)))
    }

    /// How subscriptions are kept at the provider, where its definition says so.
    pub fn subscriptions(&self) -> Option<&Subscriptions> {
        self.subscriptions.as_ref()
    }

    /// What an account's subscriptions can ask for, with what it is told as.
    ///
    /// # Errors
    /// What can't be made of the account's set-up.
    pub fn automatic(&self, credentials: &Credentials) -> Result<Vec<Automatic>, Trouble> {
        match &self.subscriptions {
            Some(subscriptions) => subscriptions.automatic(&self.names(credentials)),
            None => Ok(Vec::new()),
        }
    }

    /// A step at a subscription.
    pub fn walk(
        self: &Arc<Self>,
        step: subscription::Step,
        subject: &Subject,
        credentials: &Credentials,
        now: Timestamp,
    ) -> Walk {
        Walk::new(Arc::clone(self), step, subject, credentials, now)
    }

    /// What linking an account gave, as the definition has it: defaults filled in, rows as rows, no slash behind a URL.
    ///
    /// # Errors
    /// The field that is missing, unknown or not as the definition says.
    pub fn credentials(
        &self,
        setup: &BTreeMap<String, String>,
        app: &BTreeMap<String, String>,
    ) -> Result<Credentials, Problem> {
        let definition = &self.written.definition;
        if let Some(unknown) = setup.keys().find(|name| definition.setup.get(name).is_none()) {
            return Err(Problem::unknown("set-up field", unknown, definition.setup.names()));
        }
        let mut credentials = Credentials::default();
        for (name, field) in definition.setup.iter() {
            let given = setup.get(name).filter(|text| !text.is_empty()).or(field.default.as_ref());
            let Some(given) = given else {
                if field.optional {
                    continue;
                }
                return Err(Problem::new(format!("is missing: {}", field.label)).at(name));
            };
            let value = setup_value(field, given).map_err(|problem| problem.at(name))?;
            credentials.setup.insert(name.to_owned(), value);
        }
        credentials.app =
            app.iter().map(|(name, value)| (name.clone(), Json::from(value.as_str()))).collect();
        Ok(credentials)
    }

    pub(crate) fn names(&self, credentials: &Credentials) -> Names {
        let object = |fields: &serde_json::Map<String, Json>| Value::from_json(&Json::Object(fields.clone()));
        Names::new().with(Name::Setup, object(&credentials.setup)).with(Name::App, object(&credentials.app))
    }
}

fn setup_value(field: &crate::definition::setup::SetupField, given: &str) -> Result<Json, Problem> {
    if let Some(columns) = &field.list {
        let rows: Vec<BTreeMap<String, String>> = serde_json::from_str(given)
            .map_err(|_| Problem::new("expected a JSON list of rows, each an object of texts"))?;
        for row in &rows {
            if let Some(unknown) = row.keys().find(|name| columns.get(name).is_none()) {
                return Err(Problem::unknown("column", unknown, columns.names()));
            }
            if let Some((name, _)) =
                columns.iter().find(|(name, column)| !column.optional && !row.contains_key(*name))
            {
                return Err(Problem::new(format!("a row without `{name}`")));
            }
        }
        return Ok(serde_json::to_value(rows).unwrap_or_default());
    }
    if given.contains(char::is_control) && field.kind != SetupKind::Text {
        return Err(Problem::new("expected no control characters"));
    }
    if !field.choices.is_empty() && !field.choices.iter().any(|choice| choice == given) {
        return Err(Problem::new(format!("expected one of {}", field.choices.join(", "))));
    }
    if let Some(pattern) = &field.pattern
        && let Ok(pattern) = regex_lite::Regex::new(&format!("^(?:{pattern})$"))
        && !pattern.is_match(given)
    {
        return Err(Problem::new("is not as its pattern says"));
    }
    let label = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    match field.kind {
        SetupKind::Text => Ok(Json::from(given)),
        SetupKind::Number => serde_json::from_str::<serde_json::Number>(given)
            .map(Json::Number)
            .map_err(|_| Problem::new("expected a number")),
        SetupKind::HostLabel if label(given) => Ok(Json::from(given)),
        SetupKind::HostLabel => Err(Problem::new("expected one label of a host: letters, digits and `-`")),
        SetupKind::Host if given.split('.').all(label) => Ok(Json::from(given)),
        SetupKind::Host => Err(Problem::new("expected a host's name, such as erp.example.com")),
        SetupKind::Url => match url::Url::parse(given) {
            Ok(url)
                if matches!(url.scheme(), "https" | "http")
                    && url.query().is_none()
                    && url.fragment().is_none()
                    && url.username().is_empty()
                    && !given.contains(' ') =>
            {
                Ok(Json::from(given.trim_end_matches('/')))
            }
            Ok(_) | Err(_) => {
                Err(Problem::new("expected a URL without query, such as https://erp.example.com"))
            }
        },
    }
}

struct Compiled {
    shared: Shared,
    errors: Errors,
    auth: Auth,
    limits: Limits,
    check: Option<Call>,
    resources: BTreeMap<Unified, Arc<Resource>>,
    native: Option<Native>,
    subscriptions: Option<Subscriptions>,
}

impl Compiled {
    fn of(written: &Written) -> Result<Self, Problem> {
        let definition = &written.definition;
        let helpers = Helpers::compile(definition.helpers.as_deref().unwrap_or_default())
            .map_err(|problem| problem.at("helpers"))?;
        let everywhere =
            Scope::of(&[Name::Setup, Name::App, Name::Auth, Name::Identity, Name::With, Name::Fields]);
        let none = Named::default();
        let defaults = definition.defaults.as_ref();
        let shared = Shared::compile(
            defaults.and_then(|defaults| defaults.base.as_ref()),
            defaults.map_or(&none, |defaults| &defaults.headers),
            defaults.map_or(Duration::from_secs(30), |defaults| defaults.timeout),
            &definition.hosts,
            &everywhere,
            &helpers,
        )
        .map_err(|problem| problem.at("defaults"))?;
        let mut resources = BTreeMap::new();
        for (name, resource) in definition.resources.iter() {
            let at = |problem: Problem| problem.at(name).at("resources");
            let unified = unified(name).map_err(at)?;
            let compiled =
                Resource::compile(unified, resource, written, &everywhere, &helpers).map_err(at)?;
            resources.insert(unified, Arc::new(compiled));
        }
        let resource = |name: &str| resources.get(&unified(name).ok()?).cloned();
        let subscriptions = Subscriptions::compile(definition, &everywhere, &helpers, resource)?;
        Ok(Self {
            shared,
            subscriptions,
            errors: Errors::compile(&definition.errors, &everywhere, &helpers)
                .map_err(|it| it.at("errors"))?,
            auth: Auth::compile(definition, &written.tree, &everywhere, &helpers)?,
            limits: Limits::compile(&definition.limits, &everywhere, &helpers)
                .map_err(|it| it.at("limits"))?,
            check: definition
                .check
                .as_ref()
                .map(|check| Call::compile(check, &everywhere, &helpers))
                .transpose()
                .map_err(|it| it.at("check"))?,
            resources,
            native: Native::compile(written, &helpers)?,
        })
    }
}
