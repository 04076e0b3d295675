//! From `events` as written to [`Native`].

use std::time::Duration;

use tributary_schemas::{record_id, resource::Resource};

use super::{
    Delivery, Handshake, Items, Native, Rule,
    rule::{Becomes, Emits},
};
use crate::{
    definition::{
        Definition, Problem, Written,
        events::{Delivery as WrittenDelivery, Emits as Event, Events, Rule as WrittenRule},
        keys::Named,
        map::Map,
        resource::Id as WrittenId,
        text::Expression as WrittenExpression,
        unified,
    },
    engine::{
        date::Dates,
        expression::{Expression, Helpers},
        inbound::{Asked, NAMES},
        listing::Id,
        map::{Mapping, Parts},
        names::{Name, Scope},
        value::Value,
        verify::Verify,
    },
};

/// How long a run is not to be trusted about a record after a native event of it, unless the definition says.
const SETTLE: Duration = Duration::from_secs(120);

struct Compiler<'d> {
    definition: &'d Definition,
    events: &'d Events,
    helpers: &'d Helpers,
    /// What rules may name: what ingest and unify both know.
    scope: Scope,
    /// The headers that go on.
    keep: Vec<String>,
}

impl Native {
    /// Compiles what a definition's webhooks tell, if it has any.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(crate) fn compile(written: &Written, helpers: &Helpers) -> Result<Option<Self>, Problem> {
        let definition = &written.definition;
        let Some(events) = &definition.events else { return Ok(None) };
        let compiler = Compiler {
            definition,
            events,
            helpers,
            scope: Scope::of(&[Name::With, Name::Headers]),
            keep: events.keep.iter().map(|name| name.to_ascii_lowercase()).collect(),
        };
        compiler.native().map(Some).map_err(|problem| problem.at("events"))
    }
}

impl Compiler<'_> {
    fn native(self) -> Result<Native, Problem> {
        let Self { definition, events, helpers, .. } = self;
        let over = NAMES.into_iter().fold(Scope::of(&[Name::Setup, Name::App, Name::Identity]), Scope::and);
        let verify = Verify::compile(&events.verify, &over, helpers).map_err(|it| it.at("verify"))?;
        let handshake = |(index, written)| {
            Handshake::compile(written, &over, helpers)
                .map_err(|problem| problem.at(usize::to_string(&index)).at("handshakes"))
        };
        let handshakes: Vec<_> =
            events.handshakes.iter().enumerate().map(handshake).collect::<Result<_, _>>()?;
        if !(200..=299).contains(&events.answer) {
            return Err(Problem::new("expected a status of success").at("answer"));
        }
        let delivery = match &events.delivery {
            None | Some(WrittenDelivery::None) => Delivery::None,
            Some(WrittenDelivery::Digest) => Delivery::Digest,
            Some(WrittenDelivery::Value(value)) => {
                Delivery::Value(Expression::compile(value, &over, helpers).map_err(|it| it.at("delivery"))?)
            }
        };
        let asks = |name: &Name| {
            verify.uses(name)
                || handshakes.iter().any(|handshake| handshake.uses(name))
                || matches!(&delivery, Delivery::Value(value) if value.uses(name))
        };
        let (body, account_is_asked_for) = (Asked::of(asks(&Name::Body)), asks(&Name::Setup));
        let defaults = definition.defaults.as_ref();
        let dates = defaults.and_then(|defaults| defaults.resource.dates.as_ref());
        let rule = |(index, written): (usize, &WrittenRule)| {
            self.rule(written).map_err(|problem| problem.at(index.to_string()).at("rules"))
        };
        let rules = events.rules.iter().enumerate().map(rule).collect::<Result<_, _>>()?;
        Ok(Native {
            items: Items(self.optional(events.items.as_ref(), "items")?),
            account: self.optional(events.account.as_ref(), "account")?,
            event: self.optional(events.event.as_ref(), "event")?,
            at: self.optional(events.at.as_ref(), "at")?,
            dates: dates.map_or(Ok(Dates::default()), Dates::compile).map_err(|it| it.at("dates"))?,
            settle: defaults.and_then(|defaults| defaults.resource.settle).unwrap_or(SETTLE),
            automatic: definition.subscription.is_some(),
            steps: definition.manual.as_ref().map_or_else(Vec::new, |manual| manual.steps.clone()),
            answer: events.answer,
            body,
            account_is_asked_for,
            verify,
            handshakes,
            keep: self.keep,
            delivery,
            rules,
        })
    }

    fn optional(
        &self,
        written: Option<&WrittenExpression>,
        key: &str,
    ) -> Result<Option<Expression>, Problem> {
        let Some(written) = written else { return Ok(None) };
        let compiled = Expression::compile(written, &self.scope, self.helpers);
        let compiled = compiled.and_then(|compiled| self.kept(&compiled).map(|()| compiled));
        compiled.map(Some).map_err(|problem| problem.at(key))
    }

    /// That a header goes on which a rule reads: unify sees no other.
    fn kept(&self, expression: &Expression) -> Result<(), Problem> {
        match expression.named() {
            Some((Name::Headers, path)) => match path.split_first() {
                Some((name, _)) if !self.keep.iter().any(|kept| kept == name) => {
                    Err(Problem::new(format!("the header `{name}` does not go on: add it to `keep`")))
                }
                Some(_) | None => Ok(()),
            },
            Some(_) | None => Ok(()),
        }
    }

    fn rule(&self, written: &WrittenRule) -> Result<Rule, Problem> {
        let becomes = if let Some(event) = written.emit {
            Becomes::Event(Box::new(self.emits(written, event)?))
        } else if let Some(lifecycle) = written.lifecycle {
            Becomes::Lifecycle(lifecycle)
        } else if written.ignore {
            Becomes::Ignored
        } else {
            let resources = written.trigger.iter().map(|name| unified(name));
            Becomes::Trigger(resources.collect::<Result<_, _>>().map_err(|it| it.at("trigger"))?)
        };
        Ok(Rule {
            events: written.event.0.clone(),
            when: self.optional(written.when.as_ref(), "when")?,
            by_hand: written.by_hand,
            becomes,
        })
    }

    fn emits(&self, written: &WrittenRule, Event(event): Event) -> Result<Emits, Problem> {
        let id = written.id.as_ref();
        let id = id.ok_or_else(|| Problem::new("the key `id` is missing: which record it happened to"))?;
        let id = Id::compile(id, &self.scope, self.helpers).map_err(|problem| problem.at("id"))?;
        let resource = self.definition.resources.get(event.resource.name());
        let key_name = id.key_name();
        if let Some(own) = resource.and_then(|resource| resource.id.as_ref())
            && key_name != written_key_name(own)
        {
            let what = "its parts are not those of the resource's `id`: a record has one id";
            return Err(Problem::new(what).at("id"));
        }
        Ok(Emits {
            each: self.optional(written.each.as_ref(), "each")?,
            at: self.optional(written.at.as_ref(), "at")?,
            mapping: match &written.map {
                Some(map) => Some(self.mapping(event.resource, map).map_err(|it| it.at("map"))?),
                None => None,
            },
            with: resource.map_or(Value::null(), |resource| {
                Value::from_json(
                    &resource.with.iter().map(|(key, value)| (key.to_owned(), value.clone())).collect(),
                )
            }),
            fetch: written.fetch,
            event,
            id,
            key_name,
        })
    }

    /// A resource's map, one of `maps`, or the rule's own.
    fn mapping(&self, emits: Resource, map: &Map) -> Result<Mapping, Problem> {
        let definition = self.definition;
        let defaults = definition.defaults.as_ref();
        let nothing = Named::default();
        let resource = match map {
            Map::Named(name) => definition.resources.get(name),
            Map::Fields(_) => None,
        };
        let label = defaults.map_or(&[][..], |defaults| &defaults.resource.label);
        let parts = match resource {
            Some(resource) => Parts {
                resource: emits,
                map: resource.map.as_ref().ok_or_else(|| Problem::new("the resource has no `map`"))?,
                maps: &definition.maps,
                dates: resource.dates.as_ref(),
                label: &resource.label,
                volatile: &[],
                sets: &[],
                decode: &resource.decode,
            },
            None => Parts {
                resource: emits,
                map,
                maps: &definition.maps,
                dates: defaults.and_then(|defaults| defaults.resource.dates.as_ref()),
                label,
                volatile: &[],
                sets: &[],
                decode: &nothing,
            },
        };
        Mapping::compile(parts, &self.scope, self.helpers)
    }
}

fn written_key_name(id: &WrittenId) -> String {
    match id {
        WrittenId::One(_) | WrittenId::First(_) => "id".into(),
        WrittenId::Parts(parts) => record_id::join(parts.names()),
    }
}
