//! A resource's listing, compiled: what it is repeated over, its pages, what of it a record is, what is asked for besides.
//!
//! [`Listing`] is the state machine that goes through it. How far absence is to be believed follows from the parts
//! ([`Resource::doubts`]): it is sure only where the paging is, and every level that the listing is repeated over.

mod compile;
mod run;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use tributary_schemas::{
    id::{ProjectionVersion, RemoteId},
    record_id,
    resource::Resource as Unified,
    time::Timestamp,
};

pub use run::{Complete, Ended, Failure, FailureKind, Listing, Most, Next, Scope as RunScope};

use super::{
    Trouble,
    expression::{Expression, Helpers},
    map::Mapping,
    names::{Names, Scope},
    page::Paging,
    record::Content,
    request::Call,
    value::Value,
};
use crate::definition::{
    Problem,
    changed::TimeSpelling,
    request::{Format, Missing},
    resource::Id as WrittenId,
    text,
};

/// A resource, compiled.
#[derive(Debug)]
pub struct Resource {
    pub(crate) name: Unified,
    levels: Vec<Level>,
    source: Source,
    filter: Option<Expression>,
    pub(crate) id: Id,
    tombstone: Option<Tombstones>,
    feed: Option<Feed>,
    ignores_absence: bool,
    enrich: Vec<Enrich>,
    get: Option<Get>,
    changed: Option<Changed>,
    with: Value,
    pub(crate) content: Content,
    settle: Duration,
    every: Option<Duration>,
}

/// A listing: a request and its pages.
#[derive(Debug)]
struct Source {
    call: Call,
    paging: Paging,
    format: Format,
    gzip: bool,
    records: Expression,
    missing: Missing,
    total: Option<Expression>,
}

/// A level that a listing is repeated over.
#[derive(Debug)]
struct Level {
    name: Arc<str>,
    each: Each,
    batch: Option<usize>,
    stable: bool,
    skip: Vec<u16>,
    /// What of each record is a parent too.
    descend: Option<Expression>,
}

#[derive(Debug)]
enum Each {
    Fixed(Vec<Value>),
    Value(Expression),
    List(Box<Parents>),
}

/// A listing whose records are parents.
#[derive(Debug)]
struct Parents {
    source: Source,
    filter: Option<Expression>,
    gone: Option<Expression>,
    /// The constants of the resource that they are; of a listing that is written here, the child's.
    with: Option<Value>,
}

/// A record's id, compiled.
#[derive(Debug)]
pub(crate) enum Id {
    First(Vec<Expression>),
    Parts(Vec<(String, Expression)>),
}

/// Which items say that a record is gone.
#[derive(Debug)]
struct Tombstones {
    when: Option<Expression>,
    id: Option<Id>,
    at: Option<Expression>,
}

/// A feed of deletions.
#[derive(Debug)]
struct Feed {
    source: Source,
    covered: Option<Expression>,
}

#[derive(Debug)]
struct Enrich {
    call: Call,
    into: String,
    record: Option<Expression>,
    unless: Option<Expression>,
    missing: Vec<u16>,
}

#[derive(Debug)]
struct Get {
    call: Call,
    record: Option<Expression>,
    gone: Vec<u16>,
}

/// How what changed is asked for.
#[derive(Debug)]
struct Changed {
    by: By,
    start: Option<(Call, Expression)>,
    overlap: Duration,
    back: Option<Duration>,
    covered: Option<Expression>,
    cap: Option<(u64, Expression)>,
    condition: Option<Expression>,
    source: Option<Source>,
    record: Option<Expression>,
    id: Option<Id>,
    tombstone: Option<Tombstones>,
    fetch: bool,
    expired: Vec<u16>,
}

#[derive(Debug)]
enum By {
    Time(TimeSpelling),
    Token(Expression),
    /// The changed parents of this level.
    Parents {
        level: usize,
        changed: Box<Parents>,
        record: Option<Expression>,
        spelling: TimeSpelling,
    },
}

/// What a run found. `Debug` shows ids only.
#[derive(Clone, PartialEq)]
pub struct Found {
    /// The provider's name for the record.
    pub remote_id: RemoteId,
    /// What was found of it.
    pub what: What,
}

/// What was found of a record.
#[derive(Clone, PartialEq)]
pub enum What {
    /// It is there: the record, and the parents that it was listed under.
    Record(Value, Parentage),
    /// It is there, but could not be read whole.
    Unread(Trouble),
    /// It is gone, since then.
    Gone(Option<Timestamp>),
}

/// The parents that a record was listed under: what `$company` means in its map.
#[derive(Clone, Default)]
pub struct Parentage(pub(crate) Names);

impl Parentage {
    /// The names.
    pub fn names(&self) -> &Names {
        &self.0
    }
}

impl PartialEq for Parentage {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.what {
            What::Record(..) => "record",
            What::Unread(_) => "unread",
            What::Gone(_) => "gone",
        };
        write!(f, "{} {what}", self.remote_id)
    }
}

impl Resource {
    /// Which resource it is.
    pub fn name(&self) -> Unified {
        self.name
    }

    /// Why absence is not sure, whatever an answer says; nothing where it is.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        if !self.source.paging.sure {
            doubts.push("a record can be skipped between two pages".to_owned());
        }
        for level in &self.levels {
            let sure = match &level.each {
                Each::Fixed(_) => false,
                Each::Value(_) => level.stable,
                Each::List(parents) => level.stable && parents.source.paging.sure,
            };
            if !sure {
                doubts.push(format!("a record can move between two of `{}`", level.name));
            }
        }
        if self.ignores_absence {
            doubts.push("the list only looks back so far".to_owned());
        }
        doubts
    }

    /// Whether what changed can be asked for, with these set-up fields.
    pub fn tells_changes(&self, names: &Names) -> bool {
        self.changed.as_ref().is_some_and(|changed| match &changed.condition {
            Some(condition) => condition.holds(&Value::null(), names).unwrap_or(false),
            None => true,
        })
    }

    /// How far back beyond the last run's start a delta looks.
    pub fn overlap(&self) -> Option<Duration> {
        self.changed.as_ref().map(|changed| changed.overlap)
    }

    /// How far back the provider remembers.
    pub fn back(&self) -> Option<Duration> {
        self.changed.as_ref().and_then(|changed| changed.back)
    }

    /// Whether one record can be got.
    pub fn gets(&self) -> bool {
        self.get.is_some()
    }

    /// Whether an answer to `get` with this status says that the record is gone.
    pub fn is_gone(&self, status: u16) -> bool {
        self.get.as_ref().is_some_and(|get| get.gone.contains(&status))
    }

    /// Requests of a full run beside its pages: one for each parent, and for each record.
    pub fn multiplies(&self) -> (usize, usize) {
        (self.levels.len(), self.enrich.len())
    }

    /// What is made of a record.
    pub fn mapping(&self) -> &Mapping {
        &self.content.mapping
    }

    /// The digests of what makes the projection, where the project leaves out these fields besides.
    pub fn projection(&self, ignored: &[String]) -> ProjectionVersion {
        self.content.version(ignored)
    }

    /// How long after a native event a run is not to be trusted about its record.
    pub fn settle(&self) -> Duration {
        self.settle
    }

    /// How often it is looked at, where the definition says so.
    pub fn every(&self) -> Option<Duration> {
        self.every
    }

    /// The name of the key field in `record_id`.
    pub fn key_name(&self) -> String {
        self.id.key_name()
    }

    /// Where a change feed begins, if that is asked for before a listing: the request, and the token in its answer.
    pub(crate) fn start(&self) -> Option<(&Call, &Expression)> {
        self.changed.as_ref()?.start.as_ref().map(|(call, token)| (call, token))
    }

    /// `$with`.
    pub(crate) fn with(&self) -> Value {
        self.with.clone()
    }
}

impl Id {
    /// Compiles an id.
    ///
    /// # Errors
    /// When a part of it is no expression.
    pub(crate) fn compile(written: &WrittenId, scope: &Scope, helpers: &Helpers) -> Result<Self, Problem> {
        let read = |one: &text::Expression| Expression::compile(one, scope, helpers);
        match written {
            WrittenId::One(one) => Ok(Self::First(vec![read(one)?])),
            WrittenId::First(all) => all.iter().map(read).collect::<Result<_, _>>().map(Self::First),
            WrittenId::Parts(parts) => parts
                .iter()
                .map(|(name, part)| Ok((name.to_owned(), read(part).map_err(|it| it.at(name))?)))
                .collect::<Result<_, Problem>>()
                .map(Self::Parts),
        }
    }

    /// The name of the key field in `record_id`.
    pub(crate) fn key_name(&self) -> String {
        match self {
            Self::First(_) => "id".into(),
            Self::Parts(parts) => record_id::join(parts.iter().map(|(name, _)| name.as_str())),
        }
    }

    /// The id of a record: of texts and numbers that are not empty. `42` and `42.0` are one.
    pub(crate) fn of(&self, record: &Value, names: &Names) -> Result<Option<RemoteId>, Trouble> {
        match self {
            Self::First(all) => {
                for one in all {
                    if let Some(text) = id_text(&one.one(record, names)?) {
                        return Ok(Some(RemoteId::new(text)));
                    }
                }
                Ok(None)
            }
            Self::Parts(parts) => {
                let mut texts = Vec::new();
                for (_, part) in parts {
                    match id_text(&part.one(record, names)?) {
                        Some(text) => texts.push(text),
                        None => return Ok(None),
                    }
                }
                Ok(Some(RemoteId::new(record_id::join(texts.iter().map(String::as_str)))))
            }
        }
    }
}

/// An id as text: digits of any length as they came, without a fraction of zero.
fn id_text(value: &Value) -> Option<String> {
    let text = value.as_text()?;
    let number = value.kind() == super::Kind::Number;
    let text = match text.split_once('.') {
        Some((whole, fraction)) if number && fraction.bytes().all(|byte| byte == b'0') => whole,
        _ => &text,
    };
    (!text.is_empty()).then(|| text.to_owned())
}
