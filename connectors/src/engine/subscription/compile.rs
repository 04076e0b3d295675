//! From `subscription` as written to its steps.

use std::{sync::Arc, time::Duration};

use tributary_schemas::resource::{Action as Happens, EventName};

use super::{Asking, Renewal, Rule, Subscriptions};
use crate::{
    definition::{
        Definition, Problem,
        changed::TimeSpelling,
        events::{Rule as WrittenRule, Subscribe},
        keys::Named,
        request::{Format, Request as WrittenRequest},
        subscription::{
            Create as WrittenCreate, Listed as WrittenListed, Look as WrittenLook, Renew, SecretOf, Step,
            Subscription as Written,
        },
        text::Expression as WrittenExpression,
        unified,
    },
    engine::{
        expression::Expression,
        jq::Helpers,
        listing::Resource,
        names::{Name, Scope},
        page::Paging,
        request::Call,
        template::{Place, Template},
    },
};

/// Makes one.
#[derive(Debug)]
pub(super) struct Create {
    pub(super) call: Call,
    pub(super) id: Expression,
    pub(super) secret: Option<Whose>,
    pub(super) ask: Option<(Duration, TimeSpelling)>,
    pub(super) ends: Option<Expression>,
    pub(super) take: Vec<(String, Expression)>,
    pub(super) duplicate: Option<(u16, Option<Expression>)>,
}

/// Whose secret it is.
#[derive(Debug)]
pub(super) enum Whose {
    Ours,
    Theirs(Expression),
}

/// A request at one that is there.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) call: Call,
    pub(super) gone: Vec<u16>,
    pub(super) ends: Option<Expression>,
    pub(super) secret: Option<Whose>,
}

/// What is read of one that is shown.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) id: Option<Expression>,
    pub(super) url: Option<Expression>,
    pub(super) event: Option<Expression>,
    pub(super) events: Option<Expression>,
    pub(super) paused: Option<Expression>,
    pub(super) says: Option<Expression>,
    pub(super) ends: Option<Expression>,
}

impl Seen {
    pub(super) fn tells_url(&self) -> bool {
        self.url.is_some()
    }
}

/// Lists all.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) call: Call,
    pub(super) paging: Paging,
    pub(super) format: Format,
    pub(super) records: Expression,
    pub(super) seen: Seen,
}

/// Looks at one.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) call: Call,
    pub(super) gone: Vec<u16>,
    pub(super) seen: Seen,
}

/// How long a list may lag, unless `defaults.settle` says otherwise.
const SETTLE: Duration = Duration::from_secs(120);

struct Compiler<'a> {
    scope: Scope,
    answered: Scope,
    helpers: &'a Helpers,
}

impl Subscriptions {
    /// Compiles a definition's `subscription`, if it has one. `resource` gives a compiled resource.
    ///
    /// # Errors
    /// What is wrong with it, and where in it.
    pub(crate) fn compile(
        definition: &Definition,
        scope: &Scope,
        helpers: &Helpers,
        resource: impl Fn(&str) -> Option<Arc<Resource>>,
    ) -> Result<Option<Self>, Problem> {
        let Some(written) = &definition.subscription else { return Ok(None) };
        let names = [
            Name::Url,
            Name::Secret,
            Name::Event,
            Name::Events,
            Name::Expires,
            Name::Uuid,
            Name::Subscription,
            Name::Token,
        ];
        let scope = names.into_iter().fold(scope.clone(), Scope::and);
        let answered = scope.clone().and(Name::Status).and(Name::Headers);
        let compiler = Compiler { scope, answered, helpers };
        compiler
            .subscriptions(definition, written, resource)
            .map(Some)
            .map_err(|problem| problem.at("subscription"))
    }
}

impl Compiler<'_> {
    fn subscriptions(
        &self,
        definition: &Definition,
        written: &Written,
        resource: impl Fn(&str) -> Option<Arc<Resource>>,
    ) -> Result<Subscriptions, Problem> {
        if !written.over.is_empty() {
            return Err(Problem::new("subscriptions can't be repeated over anything yet").at("over"));
        }
        let create = self.create(&written.create).map_err(|problem| problem.at("create"))?;
        let tells_url = |request: &WrittenRequest| Ok::<_, Problem>(self.call(request)?.uses(&Name::Url));
        if !create.call.uses(&Name::Url)
            && !written.prepare.as_ref().map_or(Ok(false), |prepare| tells_url(&prepare.0))?
        {
            return Err(Problem::new("no request asks for `$url`: the provider has to know where to call"));
        }
        let optional = |step: &Option<Step>, key: &'static str| {
            step.as_ref().map(|step| self.step(step)).transpose().map_err(|problem| problem.at(key))
        };
        let rules = definition.events.as_ref().map_or(&[][..], |events| &events.rules);
        let mut compiled = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let at = |problem: Problem| problem.at(index.to_string()).at("rules").at("events");
            compiled.extend(self.rule(rule).map_err(at)?);
        }
        let refused = written.refused.iter().enumerate().map(|(index, rule)| {
            let when = self.expression(&rule.when, "when");
            let when = when.map_err(|problem| problem.at(index.to_string()).at("refused"));
            when.map(|when| (when, rule.reason))
        });
        let token = if create.call.uses(&Name::Token) {
            let mut triggered = rules.iter().flat_map(|rule| &rule.trigger);
            let started =
                triggered.find_map(|name| resource(name).filter(|resource| resource.start().is_some()));
            Some(started.ok_or_else(|| {
                Problem::new("`$token` asks for a `trigger` whose resource has `changed.start`").at("create")
            })?)
        } else {
            None
        };
        Ok(Subscriptions {
            per: written.per,
            prepare: match &written.prepare {
                Some(prepare) => Some(self.call(&prepare.0).map_err(|problem| problem.at("prepare"))?),
                None => None,
            },
            activate: optional(&written.activate, "activate")?,
            update: optional(&written.update, "update")?,
            list: written
                .list
                .as_ref()
                .map(|list| self.listed(list, definition))
                .transpose()
                .map_err(|problem| problem.at("list"))?,
            look: written
                .look
                .as_ref()
                .map(|look| self.look(look))
                .transpose()
                .map_err(|problem| problem.at("look"))?,
            renew: self.renewal(written)?,
            resume: optional(&written.resume, "resume")?,
            rotate: match &written.rotate {
                None => None,
                Some(rotate) => {
                    let at = |problem: Problem| problem.at("rotate");
                    Some(Action {
                        call: self.call(&rotate.request).map_err(at)?,
                        gone: rotate.gone.clone(),
                        ends: None,
                        secret: self.whose(rotate.secret.as_ref()).map_err(at)?,
                    })
                }
            },
            delete: self.step(&written.delete).map_err(|problem| problem.at("delete"))?,
            limit: written.limit,
            scopes: written.scopes.clone(),
            refused: refused.collect::<Result<_, _>>()?,
            rules: compiled,
            token,
            settle: definition.defaults.as_ref().and_then(|it| it.resource.settle).unwrap_or(SETTLE),
            create,
        })
    }

    fn expression(&self, written: &WrittenExpression, key: &str) -> Result<Expression, Problem> {
        Expression::compile(written, &self.answered, self.helpers).map_err(|problem| problem.at(key))
    }

    fn optional(
        &self,
        written: &Option<WrittenExpression>,
        key: &str,
    ) -> Result<Option<Expression>, Problem> {
        written.as_ref().map(|written| self.expression(written, key)).transpose()
    }

    fn call(&self, written: &WrittenRequest) -> Result<Call, Problem> {
        Call::compile(written, &self.scope, self.helpers)
    }

    fn step(&self, step: &Step) -> Result<Action, Problem> {
        Ok(Action { call: self.call(&step.request)?, gone: step.gone.clone(), ends: None, secret: None })
    }

    fn whose(&self, secret: Option<&SecretOf>) -> Result<Option<Whose>, Problem> {
        Ok(match secret {
            None => None,
            Some(SecretOf::Ours) => Some(Whose::Ours),
            Some(SecretOf::Theirs(path)) => Some(Whose::Theirs(self.expression(path, "secret")?)),
        })
    }

    fn create(&self, written: &WrittenCreate) -> Result<Create, Problem> {
        let id = written
            .id
            .as_ref()
            .ok_or_else(|| Problem::new("the key `id` is missing: where the answer has it"))?;
        let take = |take: &Named<WrittenExpression>| {
            take.iter()
                .map(|(name, path)| Ok((name.to_owned(), self.expression(path, name)?)))
                .collect::<Result<Vec<_>, Problem>>()
                .map_err(|problem| problem.at("take"))
        };
        let expires = written.expires.as_ref();
        let call = self.call(&written.request)?;
        Ok(Create {
            id: self.expression(id, "id")?,
            secret: self.whose(written.secret.as_ref())?,
            ask: expires.and_then(|it| Some((it.ask?, it.spelling.clone()))),
            ends: match expires {
                Some(expires) => self.optional(&expires.at, "at").map_err(|problem| problem.at("expires"))?,
                None => None,
            },
            take: take(&written.take)?,
            duplicate: match &written.duplicate {
                None => None,
                Some(duplicate) => {
                    let id = self.optional(&duplicate.id, "id").map_err(|problem| problem.at("duplicate"))?;
                    Some((duplicate.status, id))
                }
            },
            call,
        })
    }

    fn renewal(&self, written: &Written) -> Result<Renewal, Problem> {
        Ok(match &written.renew {
            None if written.create.expires.is_some() => Renewal::Again,
            None => Renewal::Endless,
            Some(Renew::Again) => Renewal::Again,
            Some(Renew::By(by)) => {
                let at = |problem: Problem| problem.at("renew");
                Renewal::By(Box::new(Action {
                    call: self.call(&by.request).map_err(at)?,
                    gone: by.gone.clone(),
                    ends: self.optional(&by.expires, "expires").map_err(at)?,
                    secret: None,
                }))
            }
        })
    }

    fn listed(&self, written: &WrittenListed, definition: &Definition) -> Result<Listed, Problem> {
        let list = &written.list;
        let records = list
            .records
            .as_ref()
            .ok_or_else(|| Problem::new("the key `records` is missing: where the answer has them"))?;
        let scope = self.scope.clone().and(Name::Size).and(Name::Cursor);
        let call = Call::compile(&list.request, &scope, self.helpers)?;
        // Pages as the resources' are, where the request asks for them.
        let page = definition.defaults.as_ref().and_then(|it| it.resource.page.as_ref());
        let page = page.filter(|_| call.uses(&Name::Cursor) || call.uses(&Name::Size));
        Ok(Listed {
            call,
            paging: Paging::compile(page, &scope, self.helpers)?,
            format: list.format.unwrap_or(Format::Json),
            records: self.expression(records, "records")?,
            seen: Seen {
                id: Some(self.expression(&written.id, "id")?),
                url: self.optional(&written.url, "url")?,
                event: self.optional(&written.event, "event")?,
                events: self.optional(&written.events, "events")?,
                paused: self.optional(&written.paused, "paused")?,
                says: self.optional(&written.says, "says")?,
                ends: self.optional(&written.expires, "expires")?,
            },
        })
    }

    fn look(&self, written: &WrittenLook) -> Result<Look, Problem> {
        Ok(Look {
            call: self.call(&written.request)?,
            gone: written.gone.clone(),
            seen: Seen {
                id: None,
                url: self.optional(&written.url, "url")?,
                event: self.optional(&written.event, "event")?,
                events: self.optional(&written.events, "events")?,
                paused: self.optional(&written.paused, "paused")?,
                says: self.optional(&written.says, "says")?,
                ends: self.optional(&written.expires, "expires")?,
            },
        })
    }

    /// What a rule asks for, if it is automatic and tells of records.
    fn rule(&self, rule: &WrittenRule) -> Result<Option<Rule>, Problem> {
        if rule.by_hand {
            return Ok(None);
        }
        let mut emits: Vec<EventName> = rule.emit.iter().map(|emit| emit.0).collect();
        for name in &rule.trigger {
            let resource = unified(name).map_err(|problem| problem.at("trigger"))?;
            emits.extend(Happens::ALL.map(|action| EventName { resource, action }));
        }
        if emits.is_empty() {
            return Ok(None);
        }
        let asks = match &rule.subscribe {
            None => Asking::Names(rule.event.0.clone()),
            Some(Subscribe::One(template)) => Asking::One(
                Template::compile(template, Place::Json, &self.scope, self.helpers)
                    .map_err(|problem| problem.at("subscribe"))?,
            ),
            Some(Subscribe::Each(each)) => {
                let at = |problem: Problem| problem.at("subscribe");
                Asking::Each(
                    Expression::compile(&each.each, &self.scope, self.helpers).map_err(at)?,
                    Template::compile(&each.value, Place::Json, &self.scope, self.helpers).map_err(at)?,
                )
            }
        };
        Ok(Some(Rule { asks, emits }))
    }
}
