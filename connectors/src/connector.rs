//! A connector: a definition, compiled.

use std::{collections::BTreeMap, time::Duration};

use tributary_schemas::resource::{Action, Mode, Resource};

use crate::{
    conformance,
    expression::Expression,
    legacy::{Definition, DefinitionError, SetupField},
    native::Native,
    polling::{Answer, Login, PollError, Polled, Request, Session, Setup},
};

/// A provider, ready to be polled and listened to.
#[derive(Debug)]
pub struct Connector {
    definition: Definition,
    login: Option<Login>,
    error: Option<Expression>,
    polled: BTreeMap<Resource, Polled>,
    native: Option<Native>,
}

/// The shortest interval of a resource without a time filter (design §5).
const WITHOUT_TIME_FILTER: Duration = Duration::from_secs(3_600);
/// The shortest interval of a resource with one.
const WITH_TIME_FILTER: Duration = Duration::from_secs(300);

impl Connector {
    /// Reads and compiles a definition. `file` names it in errors.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(file: &str, text: &str) -> Result<Self, DefinitionError> {
        let definition = Definition::read(file, text)?;
        Self::compile(definition).map_err(|problem| DefinitionError { file: file.to_owned(), problem })
    }

    fn compile(definition: Definition) -> Result<Self, String> {
        let Definition { prelude, headers, .. } = &definition;
        if definition.name.parse::<tributary_schemas::id::ProviderId>().is_err() {
            return Err(format!(
                "name: `{}` is no name: expected letters, digits, `-` and `_`",
                definition.name
            ));
        }
        let login = match &definition.login {
            Some(login) => Some(Login::compile(login, prelude).map_err(|why| format!("login: {why}"))?),
            None => None,
        };
        let error = match &definition.error {
            Some(text) => Some(Expression::compile(text, prelude).map_err(|why| format!("error: {why}"))?),
            None => None,
        };
        let mut polled = BTreeMap::new();
        for (resource, form) in &definition.polled {
            let compiled = Polled::compile(form, headers, definition.error.as_ref(), prelude)
                .map_err(|why| format!("polled.{resource}: {why}"))?;
            conformance::check_polled(*resource, form).map_err(|why| format!("polled: {why}"))?;
            polled.insert(*resource, compiled);
        }
        let native = match &definition.native {
            Some(form) => {
                let compiled = Native::compile(form, prelude).map_err(|why| format!("native: {why}"))?;
                conformance::check_native(form).map_err(|why| format!("native: {why}"))?;
                Some(compiled)
            }
            None => None,
        };
        Ok(Self { login, error, polled, native, definition })
    }

    /// The provider's name.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// The name that people know.
    pub fn title(&self) -> &str {
        &self.definition.title
    }

    /// `hris`, `ats`, `crm`, `lms` or `documents`.
    pub fn category(&self) -> &str {
        &self.definition.category
    }

    /// What linking an account needs.
    pub fn setup_fields(&self) -> &[SetupField] {
        &self.definition.setup
    }

    /// How long after a native event a run is not to be trusted about its record.
    pub fn settle(&self) -> Duration {
        Duration::from_secs(self.definition.settle)
    }

    /// Requests a second that one account may make.
    pub fn rate(&self) -> u32 {
        self.definition.rate
    }

    /// A resource's polled side.
    pub fn polled(&self, resource: Resource) -> Option<&Polled> {
        self.polled.get(&resource)
    }

    /// The resources that are polled.
    pub fn polled_resources(&self) -> impl Iterator<Item = (Resource, &Polled)> {
        self.polled.iter().map(|(resource, polled)| (*resource, polled))
    }

    /// Whether a set-up field says where a request leads: it is in a URL, or in what opens a session.
    pub fn leads(&self, field: &str) -> bool {
        let name = format!(".setup.{field}");
        let holds = |text: &str| {
            text.match_indices(&name).any(|(at, _)| {
                let rest = text[at + name.len()..].chars().next();
                !rest.is_some_and(|next| next.is_alphanumeric() || next == '_')
            })
        };
        let login = self.definition.login.iter().map(|login| &login.request).any(|request| {
            let texts = request.query.values().chain(request.headers.values()).chain(&request.body);
            holds(&request.url) || texts.into_iter().any(|text| holds(text))
        });
        login || self.definition.polled.values().any(|polled| holds(&polled.request.url))
    }

    /// The native side.
    pub fn native(&self) -> Option<&Native> {
        self.native.as_ref()
    }

    /// How an event reaches us, if it can.
    pub fn mode(&self, resource: Resource, action: Action) -> Option<Mode> {
        let native = self.native.as_ref().filter(|native| native.tells().any(|it| it == (resource, action)));
        match native {
            Some(native) => Some(native.mode()),
            None => self.polled.contains_key(&resource).then_some(Mode::Synthetic),
        }
    }

    /// The shortest interval at which a resource may be polled (design §5).
    pub fn shortest_interval(&self, resource: Resource) -> Duration {
        match self.polled(resource).and_then(Polled::delta_overlap) {
            Some(_) => WITH_TIME_FILTER,
            None => WITHOUT_TIME_FILTER,
        }
    }

    /// The request that opens a session, where the provider wants one.
    ///
    /// # Errors
    /// When the set-up does not make one.
    pub fn login(&self, setup: &Setup) -> Result<Option<Request>, PollError> {
        self.login.as_ref().map(|login| login.request(setup)).transpose()
    }

    /// Reads the answer to [`login`](Self::login).
    ///
    /// # Errors
    /// [`PollError::Unauthorized`] when the credentials are refused.
    pub fn read_login(&self, answer: Answer<'_>) -> Result<Session, PollError> {
        match &self.login {
            Some(login) => login.read(answer, self.error.as_ref()),
            None => Err(PollError::Broken("this provider has no login".into())),
        }
    }
}
