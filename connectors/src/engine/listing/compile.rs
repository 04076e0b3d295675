//! From a resource as written to its listing.

use std::time::Duration;

use tributary_schemas::resource::Resource as Unified;

use super::{By, Changed, Each, Enrich, Feed, Get, Id, Level, Parents, Resource, Source, Tombstones};
use crate::{
    definition::{
        Definition, Problem, Written as Whole,
        changed::Changed as WrittenChanged,
        gone::{AbsenceMeans, Gone as WrittenGone},
        over::{Each as WrittenEach, Over},
        page::Page as WrittenPage,
        request::{Format, List, Missing},
        resource::{Id as WrittenId, Resource as Written},
        text::Expression as WrittenExpression,
    },
    engine::{
        expression::Expression,
        jq::Helpers,
        names::{Name, Scope},
        page::Paging,
        record::Content,
        request::Call,
        value::Value,
    },
};

/// How long after a native event a run is not to be trusted about its record, where nothing else is said.
const SETTLE: Duration = Duration::from_secs(120);
/// Levels of a listing at the most, those of its parents included.
const LEVELS_MOST: usize = 6;

struct Compiler<'d> {
    definition: &'d Definition,
    helpers: &'d Helpers,
}

impl Resource {
    /// Compiles a resource. `scope` holds the names that requests have everywhere.
    ///
    /// # Errors
    /// What is wrong with it, and where in it.
    pub(crate) fn compile(
        name: Unified,
        written: &Written,
        whole: &Whole,
        everywhere: &Scope,
        helpers: &Helpers,
    ) -> Result<Self, Problem> {
        let definition = &whole.definition;
        let compiler = Compiler { definition, helpers };
        let mut scope = requests(everywhere);
        let mut levels = Vec::new();
        compiler.levels(&written.over, written, &mut scope, &mut levels, name.name())?;
        let source = compiler.source(written.list.as_ref(), written.page.as_ref(), &scope, "list")?;
        let id = compiler.id(written.id.as_ref(), &scope, "id")?;
        let changed = match &written.changed {
            Some(changed) => {
                let compiled = compiler.changed(changed, written, &levels, &source, &scope);
                Some(compiled.map_err(|problem| problem.at("changed"))?)
            }
            None => None,
        };
        let gone = written.gone.as_ref();
        let named = levels.iter().fold(everywhere.clone(), |scope, level: &Level| scope.named(&level.name));
        Ok(Self {
            name,
            content: Content::compile(name, written, whole, &named, helpers)?,
            settle: written.settle.unwrap_or(SETTLE),
            every: written.every,
            filter: compiler.optional(written.filter.as_ref(), &scope, "where")?,
            tombstone: gone
                .map(|gone| compiler.tombstones(gone, &scope))
                .transpose()
                .map_err(|it| it.at("gone"))?,
            feed: compiler.feed(gone, &scope).map_err(|problem| problem.at("gone"))?,
            ignores_absence: gone.is_some_and(|gone| gone.absence == AbsenceMeans::Ignored),
            enrich: compiler.enrich(written, &scope)?,
            get: compiler.get(written, &scope)?,
            with: constants(written),
            levels,
            source,
            id,
            changed,
        })
    }
}

/// `$with`.
fn constants(written: &Written) -> Value {
    Value::from_json(&written.with.iter().map(|(key, value)| (key.to_owned(), value.clone())).collect())
}

/// The names of a listing's requests.
fn requests(scope: &Scope) -> Scope {
    [Name::Size, Name::Cursor, Name::Since, Name::Until, Name::Token]
        .into_iter()
        .fold(scope.clone(), Scope::and)
}

impl Compiler<'_> {
    fn expression(
        &self,
        written: &WrittenExpression,
        scope: &Scope,
        key: &str,
    ) -> Result<Expression, Problem> {
        Expression::compile(written, scope, self.helpers).map_err(|problem| problem.at(key))
    }

    fn optional(
        &self,
        written: Option<&WrittenExpression>,
        scope: &Scope,
        key: &str,
    ) -> Result<Option<Expression>, Problem> {
        written.map(|written| self.expression(written, scope, key)).transpose()
    }

    fn source(
        &self,
        list: Option<&List>,
        page: Option<&WrittenPage>,
        scope: &Scope,
        key: &str,
    ) -> Result<Source, Problem> {
        let list = list.ok_or_else(|| Problem::new("the key `list` is missing"))?;
        let at = |problem: Problem| problem.at(key);
        let records =
            list.records.as_ref().ok_or_else(|| at(Problem::new("the key `records` is missing")))?;
        let answered = scope.clone().and(Name::Status).and(Name::Headers);
        Ok(Source {
            call: Call::compile(&list.request, scope, self.helpers).map_err(at)?,
            paging: Paging::compile(page, scope, self.helpers).map_err(|problem| problem.at("page"))?,
            format: list.format.unwrap_or(Format::Json),
            gzip: list.gzip,
            records: self.expression(records, &answered, "records").map_err(at)?,
            missing: list.missing.unwrap_or(Missing::Bad),
            total: self.optional(list.total.as_ref(), &answered, "total").map_err(at)?,
        })
    }

    fn id(&self, written: Option<&WrittenId>, scope: &Scope, key: &str) -> Result<Id, Problem> {
        let compiled = match written {
            None => Err(Problem::new("is missing: what a record's id is")),
            Some(written) => Id::compile(written, scope, self.helpers),
        };
        compiled.map_err(|problem| problem.at(key))
    }

    /// The levels of a listing; those of a parent that is itself listed over others come before it.
    fn levels(
        &self,
        over: &[Over],
        resource: &Written,
        scope: &mut Scope,
        levels: &mut Vec<Level>,
        child: &str,
    ) -> Result<(), Problem> {
        for (index, level) in over.iter().enumerate() {
            let at = |problem: Problem| problem.at(index.to_string()).at("over");
            if levels.len() >= LEVELS_MOST {
                return Err(at(Problem::new(format!(
                    "more than {LEVELS_MOST} levels, or resources over each other"
                ))));
            }
            let each = match &level.each {
                WrittenEach::Fixed(values) => Each::Fixed(values.iter().map(Value::from_json).collect()),
                WrittenEach::Value(value) => Each::Value(self.expression(value, scope, "each").map_err(at)?),
                WrittenEach::List(list) => {
                    let page = list_page(list, resource);
                    let source = self.source(Some(list), page, scope, "each").map_err(at)?;
                    Each::List(Box::new(Parents { source, filter: None, gone: None, with: None }))
                }
                WrittenEach::Resource(name) => {
                    let parent = self.definition.resources.get(name).ok_or_else(|| {
                        at(Problem::unknown("resource", name, self.definition.resources.names()).at("each"))
                    })?;
                    if name == child {
                        return Err(at(Problem::new("a resource can't be listed over itself").at("each")));
                    }
                    self.levels(&parent.over, parent, scope, levels, child).map_err(at)?;
                    Each::List(Box::new(self.parents(parent, parent.list.as_ref(), scope).map_err(at)?))
                }
            };
            let inside = scope.clone().named(&level.name);
            let descend = self.optional(level.descend.as_ref(), &inside, "descend").map_err(at)?;
            levels.push(Level {
                descend,
                name: level.name.as_str().into(),
                each,
                batch: level.batch.map(|batch| batch.max(1) as usize),
                stable: level.stable.as_ref().is_some_and(|reason| reason.trim().len() >= 8),
                skip: level.skip.clone(),
            });
            *scope = scope.clone().named(&level.name);
        }
        Ok(())
    }

    fn parents(&self, parent: &Written, list: Option<&List>, scope: &Scope) -> Result<Parents, Problem> {
        let gone = parent.gone.as_ref().and_then(|gone| gone.when.as_ref());
        Ok(Parents {
            source: self.source(list, parent.page.as_ref(), scope, "each")?,
            filter: self.optional(parent.filter.as_ref(), scope, "where")?,
            gone: self.optional(gone, scope, "gone")?,
            with: Some(constants(parent)),
        })
    }

    fn tombstones(&self, gone: &WrittenGone, scope: &Scope) -> Result<Tombstones, Problem> {
        Ok(Tombstones {
            when: self.optional(gone.when.as_ref(), scope, "when")?,
            id: gone.id.as_ref().map(|id| self.id(Some(id), scope, "id")).transpose()?,
            at: self.optional(gone.at.as_ref(), scope, "at")?,
        })
    }

    fn feed(&self, gone: Option<&WrittenGone>, scope: &Scope) -> Result<Option<Feed>, Problem> {
        let Some(gone) = gone.filter(|gone| gone.list.is_some()) else { return Ok(None) };
        Ok(Some(Feed {
            source: self.source(gone.list.as_ref(), gone.page.as_ref(), scope, "list")?,
            covered: self.optional(gone.covered.as_ref(), scope, "covered")?,
        }))
    }

    fn enrich(&self, written: &Written, scope: &Scope) -> Result<Vec<Enrich>, Problem> {
        let compile = |(index, enrich): (usize, &crate::definition::resource::Enrich)| {
            let at = |problem: Problem| problem.at(index.to_string()).at("enrich");
            Ok(Enrich {
                call: Call::compile(&enrich.request, scope, self.helpers).map_err(at)?,
                into: enrich.into.clone(),
                record: self.optional(enrich.record.as_ref(), scope, "record").map_err(at)?,
                unless: self.optional(enrich.unless.as_ref(), scope, "unless").map_err(at)?,
                missing: enrich.missing.clone(),
            })
        };
        written.enrich.iter().enumerate().map(compile).collect()
    }

    fn get(&self, written: &Written, scope: &Scope) -> Result<Option<Get>, Problem> {
        let Some(get) = &written.get else { return Ok(None) };
        let compiled = Get {
            call: Call::compile(&get.request, scope, self.helpers).map_err(|problem| problem.at("get"))?,
            record: self
                .optional(get.record.as_ref(), scope, "record")
                .map_err(|problem| problem.at("get"))?,
            gone: get.gone.clone(),
        };
        Ok(Some(compiled))
    }

    fn changed(
        &self,
        changed: &WrittenChanged,
        written: &Written,
        levels: &[Level],
        full: &Source,
        scope: &Scope,
    ) -> Result<Changed, Problem> {
        let answered = scope.clone().and(Name::Status).and(Name::Headers);
        let page = changed.page.as_ref().or(written.page.as_ref());
        let source = match &changed.list {
            Some(list) => Some(self.source(Some(list), page, scope, "list")?),
            None => None,
        };
        let by = if let Some(spelling) = &changed.time {
            By::Time(spelling.clone())
        } else if let Some(token) = &changed.token {
            By::Token(self.expression(token, &answered, "token")?)
        } else {
            self.by_parents(written, levels, scope)?
        };
        let asks = source.as_ref().unwrap_or(full);
        if matches!(by, By::Time(_)) && !asks.call.uses(&Name::Since) {
            return Err(
                Problem::new("the request does not ask for `$since`: it would list everything").at("time")
            );
        }
        if matches!(by, By::Token(_)) && !asks.call.uses(&Name::Token) {
            return Err(
                Problem::new("the request does not ask for `$token`: it would list everything").at("token")
            );
        }
        let start = match &changed.start {
            Some(start) => {
                let at = |problem: Problem| problem.at("start");
                let call = Call::compile(&start.request, scope, self.helpers).map_err(at)?;
                Some((call, self.expression(&start.token, &answered, "token").map_err(at)?))
            }
            None => None,
        };
        let cap = match &changed.cap {
            Some(cap) => {
                Some((cap.records, self.expression(&cap.from, scope, "from").map_err(|it| it.at("cap"))?))
            }
            None => None,
        };
        Ok(Changed {
            by,
            start,
            overlap: changed.overlap,
            back: changed.back,
            covered: self.optional(changed.covered.as_ref(), &answered, "covered")?,
            cap,
            condition: self.optional(changed.condition.as_ref(), scope, "if")?,
            source,
            record: self.optional(changed.record.as_ref(), scope, "record")?,
            id: changed.id.as_ref().map(|id| self.id(Some(id), scope, "id")).transpose()?,
            tombstone: changed.gone.as_ref().map(|gone| self.tombstones(gone, scope)).transpose()?,
            fetch: changed.fetch,
            expired: changed.expired.clone(),
        })
    }

    /// The innermost level that is a resource which tells its changes by time.
    fn by_parents(&self, written: &Written, levels: &[Level], scope: &Scope) -> Result<By, Problem> {
        let nobody = || Problem::new("no resource of `over` tells its changes by time").at("parents");
        let (over, name) = written
            .over
            .iter()
            .rev()
            .find_map(|over| match &over.each {
                WrittenEach::Resource(name) => Some((over, name)),
                WrittenEach::Fixed(_) | WrittenEach::Value(_) | WrittenEach::List(_) => None,
            })
            .ok_or_else(nobody)?;
        let parent = self.definition.resources.get(name).ok_or_else(nobody)?;
        let changed = parent.changed.as_ref().ok_or_else(nobody)?;
        let spelling = changed.time.clone().ok_or_else(nobody)?;
        let level = levels.iter().position(|level| *level.name == *over.name).ok_or_else(nobody)?;
        let list = changed.list.as_ref().or(parent.list.as_ref());
        Ok(By::Parents {
            level,
            changed: Box::new(self.parents(parent, list, scope)?),
            record: self.optional(changed.record.as_ref(), scope, "record")?,
            spelling,
        })
    }
}

/// A listing inside has the resource's paging where its own request asks for pages.
fn list_page<'r>(list: &List, resource: &'r Written) -> Option<&'r WrittenPage> {
    let call = format!("{:?}{:?}{:?}", list.request.query, list.request.json, list.request.call);
    ["$cursor", "$size"].iter().any(|name| call.contains(name)).then_some(resource.page.as_ref()).flatten()
}
