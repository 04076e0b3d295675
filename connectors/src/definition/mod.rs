//! `connector.yaml`, as it is written: a file a section. [`Connector`](crate::Connector) is what it compiles to.
//!
//! What is read is whole: no key is unknown, of alternatives exactly one is set, and what has to be there is there. What
//! texts mean is the engine's. Nothing here knows of the engine.

pub mod auth;
pub mod changed;
pub mod defaults;
pub mod errors;
pub mod events;
pub mod gone;
pub mod keys;
pub mod limits;
pub mod manual;
pub mod map;
pub mod node;
pub mod over;
pub mod overlay;
pub mod page;
mod problem;
pub mod request;
pub mod resource;
pub mod schema;
pub mod setup;
pub mod short;
pub mod subscription;
pub mod text;
pub mod verify;

pub use problem::{DefinitionError, Problem, nearest};

use tributary_schemas::{id::ProviderId, resource::Resource as Unified};

use keys::{Named, Read, keys, words};
use node::Node;

/// The language that this release speaks: one more with every key that is added. What a key means never changes.
pub const LANGUAGE: u32 = 1;

keys! {
    /// A provider.
    pub struct Definition {
        /// The language of the file.
        language: u32,
        /// The provider's name: lower case, as in URLs.
        name: String,
        /// The name that people know.
        title: String,
        /// What kind of product it is.
        category: Category,
        /// Where its documentation is, and what was verified.
        docs: Option<Docs>,
        /// Whether it takes the place of one that ships under its name.
        replaces: bool = false,
        /// What linking an account asks for, in this order.
        setup: Named<setup::SetupField>,
        /// What a project registers at the provider.
        app: Named<setup::AppField>,
        /// How one logs in: the first of its use whose fields are given.
        auth: Vec<auth::Auth>,
        /// Hosts, beside that of `base`, whose URLs are followed.
        hosts: Vec<String>,
        /// What is tried when an account is linked.
        check: Option<short::Short<request::Request>>,
        /// Whose data it is.
        identity: Option<setup::Identity>,
        /// How often one may ask.
        limits: Vec<limits::Limit>,
        /// What answers mean beside their status.
        errors: Vec<errors::ErrorRule>,
        /// jq definitions; none recursive.
        helpers: Option<String>,
        /// What resources inherit.
        defaults: Option<defaults::Defaults>,
        /// Maps that resources and rules share.
        maps: Named<map::Map>,
        /// What can be listed.
        resources: Named<resource::Resource>,
        /// What the provider's webhooks tell.
        events: Option<events::Events>,
        /// How webhooks are registered.
        subscription: Option<subscription::Subscription>,
        /// How a person registers a webhook.
        manual: Option<manual::Manual>,
        /// Whether a project or an account may add fields.
        overlay: Option<overlay::Overlay>,
    }
    /// Where a provider's documentation is, and what was verified.
    pub struct Docs {
        /// Where it is.
        see: String,
        /// Against what the definition was verified.
        verified: String,
    }
}

words! {
    /// What kind of product a provider is.
    pub enum Category {
        /// Human resources.
        Hris = "hris",
        /// Applicants.
        Ats = "ats",
        /// Customers.
        Crm = "crm",
        /// Learning.
        Lms = "lms",
        /// Files.
        Documents = "documents",
    }
}

/// A definition, with the tree that it was read from: inheritance done, lines kept.
#[derive(Debug, Clone)]
pub struct Written {
    /// The file, as the caller named it.
    pub file: String,
    /// What it says.
    pub definition: Definition,
    /// The tree.
    pub tree: Node,
}

impl Written {
    /// Reads a definition.
    ///
    /// # Errors
    /// File, line and key of the first thing that is wrong, and what was expected.
    pub fn read(file: &str, text: &str) -> Result<Self, DefinitionError> {
        let mut tree = Node::parse(text).map_err(|(line, problem)| DefinitionError {
            file: file.to_owned(),
            line,
            problem: problem.to_string(),
        })?;
        if tree.language > LANGUAGE {
            let what = format!(
                "language: {} is newer than this release, which speaks {LANGUAGE}: upgrade Tributary",
                tree.language
            );
            return Err(Problem::new(what).of(file, &tree));
        }
        inherit(&mut tree);
        let read = Definition::read(&tree).and_then(|definition| definition.check().map(|()| definition));
        match read {
            Ok(definition) => Ok(Self { file: file.to_owned(), definition, tree }),
            Err(problem) => Err(problem.of(file, &tree)),
        }
    }

    /// A problem that the engine found, with file and line.
    pub fn error(&self, problem: Problem) -> DefinitionError {
        problem.of(&self.file, &self.tree)
    }

    /// A resource's tree, with what it inherits.
    pub fn resource(&self, name: &str) -> Option<&Node> {
        self.tree.get("resources").and_then(|resources| resources.get(name))
    }
}

fn inherit(tree: &mut Node) {
    let defaults = tree.get("defaults").cloned();
    let Some(mut resources) = tree.get("resources").cloned() else { return };
    for (name, resource) in tree.get("resources").map_or(&[][..], Node::entries) {
        if matches!(resource.kind, node::Kind::Map(_)) {
            resources.set(name, defaults::inherit(defaults.as_ref(), resource));
        }
    }
    tree.set("resources", resources);
}

impl Definition {
    fn check(&self) -> Result<(), Problem> {
        let named =
            self.name.parse::<ProviderId>().is_ok() && !self.name.bytes().any(|it| it.is_ascii_uppercase());
        if !named {
            let what =
                format!("`{}` is no name: expected lower-case letters, digits, `-` and `_`", self.name);
            return Err(Problem::new(what).at("name"));
        }
        if self.resources.is_empty() && self.events.is_none() {
            return Err(Problem::new("expected `resources` or `events`: there is nothing to tell"));
        }
        self.check_setup()?;
        for (index, auth) in self.auth.iter().enumerate() {
            auth.check().map_err(|problem| problem.at(index.to_string()).at("auth"))?;
        }
        for (index, limit) in self.limits.iter().enumerate() {
            limit.check().map_err(|problem| problem.at(index.to_string()).at("limits"))?;
        }
        if let Some(check) = &self.check {
            check.check().map_err(|problem| problem.at("check"))?;
        }
        if let Some(identity) = &self.identity {
            keys::exactly_one(&[("check", identity.check.is_some()), ("auth", identity.auth.is_some())])
                .map_err(|problem| problem.at("identity"))?;
            if identity.check.is_some() && self.check.is_none() {
                return Err(Problem::new("the key `check` is missing: `identity` reads its answer"));
            }
        }
        for (name, resource) in self.resources.iter() {
            unified(name).map_err(|problem| problem.at(name).at("resources"))?;
            self.check_resource(resource).map_err(|problem| problem.at(name).at("resources"))?;
        }
        self.check_events()?;
        match &self.subscription {
            Some(subscription) => subscription.check().map_err(|problem| problem.at("subscription")),
            None => Ok(()),
        }
    }

    fn check_setup(&self) -> Result<(), Problem> {
        let name = |name: &str| match name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_') {
            true => Ok(()),
            false => Err(Problem::new(format!("`{name}` is no name: expected letters, digits and `_`"))),
        };
        for (field, form) in self.setup.iter() {
            let checked = name(field).and_then(|()| match &form.pattern {
                Some(pattern) => regex_lite::Regex::new(pattern)
                    .map(|_| ())
                    .map_err(|error| Problem::new(format!("no regular expression: {error}")).at("pattern")),
                None => Ok(()),
            });
            checked.map_err(|problem| problem.at(field).at("setup"))?;
            if form.secret && form.tenant {
                let what = "says whose data it is, so it can't be secret";
                return Err(Problem::new(what).at("tenant").at(field).at("setup"));
            }
        }
        self.app.names().try_for_each(|field| name(field).map_err(|problem| problem.at(field).at("app")))
    }

    fn check_resource(&self, resource: &resource::Resource) -> Result<(), Problem> {
        let list = resource.list.as_ref().ok_or_else(|| Problem::new("the key `list` is missing"))?;
        list.request.check().map_err(|problem| problem.at("list"))?;
        if list.records.is_none() {
            return Err(Problem::new("the key `records` is missing: where the records are").at("list"));
        }
        if resource.id.is_none() {
            return Err(Problem::new("the key `id` is missing: what a record's id is"));
        }
        if resource.map.is_none() {
            return Err(Problem::new("the key `map` is missing: the unified record"));
        }
        if let Some(get) = &resource.get {
            get.request.check().map_err(|problem| problem.at("get"))?;
        }
        for (index, enrich) in resource.enrich.iter().enumerate() {
            enrich.request.check().map_err(|problem| problem.at(index.to_string()).at("enrich"))?;
        }
        if let Some(changed) = &resource.changed {
            self.check_changed(resource, changed).map_err(|problem| problem.at("changed"))?;
        }
        if let Some(gone) = &resource.gone {
            check_gone(gone).map_err(|problem| problem.at("gone"))?;
        }
        for (index, over) in resource.over.iter().enumerate() {
            self.check_over(over).map_err(|problem| problem.at(index.to_string()).at("over"))?;
        }
        Ok(())
    }

    fn check_changed(
        &self,
        resource: &resource::Resource,
        changed: &changed::Changed,
    ) -> Result<(), Problem> {
        changed.check()?;
        if changed.fetch && resource.get.is_none() {
            return Err(Problem::new("the resource has no `get` to fetch by").at("fetch"));
        }
        if changed.parents && resource.over.is_empty() {
            return Err(Problem::new("the resource has no `over`: it has no parents").at("parents"));
        }
        if let Some(list) = &changed.list {
            list.request.check().map_err(|problem| problem.at("list"))?;
        }
        changed.gone.as_ref().map_or(Ok(()), |gone| check_gone(gone).map_err(|problem| problem.at("gone")))
    }

    fn check_over(&self, over: &over::Over) -> Result<(), Problem> {
        match &over.each {
            over::Each::Resource(name) if self.resources.get(name).is_none() => {
                Err(Problem::unknown("resource", name, self.resources.names()).at("each"))
            }
            over::Each::List(list) => {
                list.request.check().map_err(|problem| problem.at("each"))?;
                match list.records {
                    Some(_) => Ok(()),
                    None => {
                        Err(Problem::new("the key `records` is missing: where the parents are").at("each"))
                    }
                }
            }
            over::Each::Resource(_) | over::Each::Fixed(_) | over::Each::Value(_) => Ok(()),
        }
    }

    fn check_events(&self) -> Result<(), Problem> {
        let Some(events) = &self.events else {
            return match (&self.subscription, &self.manual) {
                (None, None) => Ok(()),
                (Some(_), _) => {
                    Err(Problem::new("the key `events` is missing: what the webhooks tell")
                        .at("subscription"))
                }
                (None, Some(_)) => {
                    Err(Problem::new("the key `events` is missing: what the webhooks tell").at("manual"))
                }
            };
        };
        events.verify.check().map_err(|problem| problem.at("verify").at("events"))?;
        let at_rule = |index: usize, problem: Problem| problem.at(index.to_string()).at("rules").at("events");
        for (index, rule) in events.rules.iter().enumerate() {
            rule.check().map_err(|problem| at_rule(index, problem))?;
            for name in &rule.trigger {
                if self.resources.get(name).is_none() {
                    let problem = Problem::unknown("resource", name, self.resources.names()).at("trigger");
                    return Err(at_rule(index, problem));
                }
            }
            if !rule.event.0.is_empty() && events.event.is_none() {
                let what = "the key `event` is missing: the provider's name of what happened";
                return Err(Problem::new(what).at("events"));
            }
            let fetched = rule.emit.filter(|_| rule.fetch).map(|emit| emit.0.resource.name());
            if let Some(name) =
                fetched.filter(|name| self.resources.get(name).is_none_or(|it| it.get.is_none()))
            {
                let problem = Problem::new(format!("{name} has no `get` to fetch by")).at("fetch");
                return Err(at_rule(index, problem));
            }
        }
        let tells = events.rules.iter().any(|rule| rule.emit.is_some() || !rule.trigger.is_empty());
        if tells && self.subscription.is_none() && self.manual.is_none() {
            return Err(Problem::new("expected `subscription` or `manual`: how webhooks are registered"));
        }
        Ok(())
    }
}

fn check_gone(gone: &gone::Gone) -> Result<(), Problem> {
    let Some(list) = &gone.list else {
        return match gone.at.is_some() || gone.when.is_some() || gone.absence == gone::AbsenceMeans::Ignored {
            true => Ok(()),
            false => Err(Problem::new("expected `when`, `list` or `absence`: how deletions are told")),
        };
    };
    list.request.check().map_err(|problem| problem.at("list"))?;
    match list.records {
        Some(_) => Ok(()),
        None => Err(Problem::new("the key `records` is missing: where the deletions are").at("list")),
    }
}

/// A resource of the catalogue by its name.
///
/// # Errors
/// Which was probably meant.
pub fn unified(name: &str) -> Result<Unified, Problem> {
    let ours = || Unified::ALL.into_iter().filter(|resource| *resource != Unified::Account);
    ours()
        .find(|resource| resource.name() == name)
        .ok_or_else(|| Problem::unknown("resource", name, ours().map(Unified::name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "language: 1
name: acme
title: Acme
category: hris
defaults: { base: https://acme.example, id: .id }
resources:
  hris_employees:
    list: { call: GET /people, records: .data }
    page: none
    map: { name: .name }
";

    fn error(text: &str) -> String {
        Written::read("acme.yaml", text).unwrap_err().to_string()
    }

    #[test]
    fn a_definition_is_read_with_what_it_inherits() {
        let written = Written::read("acme.yaml", WHOLE).unwrap();
        assert!(written.definition.resources.get("hris_employees").unwrap().id.is_some());
    }

    #[test]
    fn an_error_names_file_line_and_key_and_what_was_expected() {
        for (change, expected) in [
            (
                ("GET /people", "get /people"),
                "acme.yaml:8: resources.hris_employees.list.call: expected a method in capitals",
            ),
            (
                ("page: none", "paje: none"),
                "acme.yaml:9: resources.hris_employees.paje: no key `paje`; did you mean `page`?",
            ),
            (
                ("hris_employees", "hris_employee"),
                "acme.yaml:8: resources.hris_employee: no resource `hris_employee`; did you mean `hris_employees`?",
            ),
            (("id: .id", "idd: .id"), "acme.yaml:5: defaults.idd: no key `idd`; did you mean `id`?"),
            (
                ("id: .id", "every: 1h"),
                "acme.yaml:8: resources.hris_employees: the key `id` is missing: what a record's id is",
            ),
            (
                ("language: 1", "language: 2"),
                "acme.yaml:1: language: 2 is newer than this release, which speaks 1: upgrade Tributary",
            ),
            (("category: hris", "category: hr"), "acme.yaml:4: category: no value `hr`"),
            (
                ("page: none", "over: [{ each: hris_employee, as: x }]"),
                "acme.yaml:9: resources.hris_employees.over.0.each: no resource `hris_employee`",
            ),
            (
                ("page: none", "changed: { parents: true }"),
                "acme.yaml:9: resources.hris_employees.changed.parents: the resource has no `over`",
            ),
            (
                ("page: none", "gone: { id: .id }"),
                "acme.yaml:9: resources.hris_employees.gone: expected `when`, `list` or `absence`",
            ),
            (("title: Acme", "title: {Acme}"), "acme.yaml:3: title: expected a text, found a map: quote it"),
        ] {
            let text = WHOLE.replace(change.0, change.1);
            assert!(error(&text).starts_with(expected), "{}\nis not\n{expected}", error(&text));
        }
    }
}
