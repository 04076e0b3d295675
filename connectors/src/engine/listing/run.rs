//! One run through a listing, as a state machine: which request comes next, and what its answer means.
//!
//! Nothing is believed that was not seen: a run is complete only if every listing in it ended properly. A record without
//! an id, a `where` that fails and a parent that fails make it *partial*: nothing is taken for absent.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use tributary_schemas::time::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use super::{By, Changed, Each, Found, Level, Parentage, Parents, Resource, Source, Tombstones, What};
use crate::{
    definition::{
        errors::Means,
        request::{Format, Missing},
    },
    engine::{
        Trouble, TroubleKind,
        auth::Session,
        connector::Connector,
        names::{Name, Names},
        outcome::{Answer, Refusal, Standing, names_of},
        page::{Lie, Pager, Turn, Turned},
        position::{Position, spelt},
        read::{self, Bounds},
        request::{Call, Request, Unmade},
        value::Value,
    },
};

/// Tries of one request that the provider has trouble with.
const TRIES: u32 = 5;
/// The provider's clock is believed within so much of ours.
const CLOCK_MOST: Duration = Duration::from_secs(86_400);

/// What a run lists.
#[derive(Debug, Clone, PartialEq)]
pub enum Scope {
    /// Everything.
    Full,
    /// What changed since a position.
    Changes(Position),
}

/// What a run may cost.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Pages of one listing.
    pub pages: u64,
    /// Bytes of an answer that is held.
    pub held: usize,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Send this, then [`Listing::answer`] or [`Listing::unanswered`].
    Request(Request),
    /// Log in, then [`Listing::authorize`]. With a session: it was refused just now, so another is wanted.
    Authorize(Option<Session>),
    /// Wait so long (the place in the listing is kept), then ask again.
    Wait(Duration),
    /// It is over.
    Done(Ended),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// Every listing in it ended properly.
    Complete(Complete),
    /// It broke off: it says nothing of what it did not list.
    Failed(Failure),
}

/// A run that ended properly.
#[derive(Debug, Clone, PartialEq)]
pub struct Complete {
    /// Why absence is not sure; nothing where it is.
    pub doubts: Vec<String>,
    /// Why nothing can be taken for absent.
    pub partial: Vec<String>,
    /// How many records, deletions and parents made it so.
    pub nameless: u64,
    /// Records found, gone ones not counted.
    pub records: u64,
    /// Where the next run of changes goes on. Kept only if every record of a delta could be read.
    pub position: Option<Position>,
    /// Records that could not be read whole.
    pub unread: u64,
}

/// Why a run broke off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of end it is (design §5).
    pub kind: FailureKind,
    /// What happened, in words, without values.
    pub words: String,
    /// How long the provider asks to wait.
    pub wait: Option<Duration>,
}

/// Kinds of ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The credentials are refused.
    Unauthorized,
    /// This resource is refused.
    Forbidden,
    /// The provider wants us to wait.
    Limited,
    /// The provider is in trouble, or does not answer.
    Unreachable,
    /// An answer is not what the definition says.
    BadAnswer,
    /// The listing does not end.
    Endless,
    /// The listing, or an answer, is larger than allowed.
    TooLarge,
    /// The position is not kept any more: a full run, at once.
    Expired,
    /// The listing has to begin anew.
    Restart,
}

/// A run under way.
pub struct Listing {
    connector: Arc<Connector>,
    resource: Arc<Resource>,
    scope: Scope,
    base: Names,
    most: Most,
    begun: Timestamp,
    session: Option<Session>,
    refused: Option<Session>,
    refusals: u32,
    phase: Phase,
    frames: Vec<Frame>,
    pending: Option<Pending>,
    tries: u32,
    limited: u32,
    wait: Option<Duration>,
    queue: VecDeque<Queued>,
    found: Vec<Found>,
    ended: Option<Ended>,
    state: State,
}

/// What was noticed on the way.
#[derive(Default)]
struct State {
    ids: HashSet<u64>,
    items: u64,
    total: Option<u64>,
    partial: Vec<String>,
    nameless: u64,
    children_failed: Option<Failure>,
    children_listed: u64,
    records: u64,
    unread: u64,
    clock: Option<Timestamp>,
    token: Option<Value>,
    covered: Option<String>,
    gone_covered: Option<String>,
    /// Records that are parents too, and were listed under.
    descended: HashSet<u64>,
    /// Values that a capped query went on from.
    from: HashSet<u64>,
    capped: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Start,
    Feed,
    Walk,
}

/// A level under way; the innermost is the listing itself.
struct Frame {
    pager: Pager,
    more: bool,
    items: VecDeque<Value>,
    names: Names,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pending {
    Start,
    Feed,
    Level(usize),
    Page,
    Fetch,
    Enrich(usize),
}

/// What a page told, in its order: of the same id the later counts, within a page too.
enum Queued {
    Record(Waiting),
    Gone(Found),
}

/// A record on its way.
struct Waiting {
    id: tributary_schemas::id::RemoteId,
    record: Value,
    names: Names,
    fetched: bool,
    enriched: usize,
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listing({}, {:?}, {} found)", self.resource.name, self.phase, self.state.records)
    }
}

impl Listing {
    pub(crate) fn new(
        connector: Arc<Connector>,
        resource: Arc<Resource>,
        scope: Scope,
        base: Names,
        most: Most,
        begun: Timestamp,
    ) -> Self {
        let mut listing = Self {
            phase: if scope == Scope::Full { Phase::Start } else { Phase::Feed },
            frames: Vec::new(),
            connector,
            resource,
            base,
            most,
            begun,
            session: None,
            refused: None,
            refusals: 0,
            pending: None,
            tries: 0,
            limited: 0,
            wait: None,
            queue: VecDeque::new(),
            found: Vec::new(),
            ended: None,
            state: State::default(),
            scope,
        };
        listing.base = listing.times();
        listing.frames = vec![Frame::new(listing.base.clone())];
        listing
    }

    /// What was found since it was asked last.
    pub fn take(&mut self) -> Vec<Found> {
        std::mem::take(&mut self.found)
    }

    /// The provider's clock at the first answer, where it can be believed; else ours, at the beginning.
    pub fn began(&self) -> Timestamp {
        self.state.clock.unwrap_or(self.begun)
    }

    /// The session that requests go with from now on.
    pub fn authorize(&mut self, session: Session) {
        self.session = Some(session);
    }

    /// One can't log in.
    pub fn unauthorized(&mut self, words: String) {
        self.end(FailureKind::Unauthorized, words, None);
    }

    /// What to do next.
    #[expect(clippy::should_implement_trait, reason = "it is told answers between two calls")]
    pub fn next(&mut self) -> Next {
        if let Some(ended) = &self.ended {
            return Next::Done(ended.clone());
        }
        if let Some(wait) = self.wait.take() {
            return Next::Wait(wait);
        }
        let Some(session) = self.session.clone() else { return Next::Authorize(self.refused.take()) };
        loop {
            let pending = match self.pending {
                Some(pending) => pending,
                None => match self.plan() {
                    Some(pending) => pending,
                    None => return self.complete(),
                },
            };
            self.pending = Some(pending);
            match self.make(pending, &session) {
                Ok(request) => return Next::Request(request),
                Err(unmade) => self.unmade(pending, &unmade),
            }
            if let Some(ended) = &self.ended {
                return Next::Done(ended.clone());
            }
        }
    }

    /// What is wanted next of the provider; nothing at the end.
    fn plan(&mut self) -> Option<Pending> {
        loop {
            if let Some(pending) = self.next_of_queue() {
                return Some(pending);
            }
            match self.phase {
                Phase::Start => {
                    self.phase = Phase::Walk;
                    if self.resource.changed.as_ref().is_some_and(|changed| changed.start.is_some()) {
                        return Some(Pending::Start);
                    }
                }
                Phase::Feed => {
                    let more = self.frames.last().is_some_and(|frame| frame.more);
                    if self.resource.feed.is_some() && more {
                        return Some(Pending::Feed);
                    }
                    self.frames = vec![Frame::new(self.base.clone())];
                    self.phase = Phase::Walk;
                }
                Phase::Walk => match self.walk() {
                    Walked::Ask(pending) => return Some(pending),
                    Walked::On => {}
                    Walked::End => return None,
                },
            }
        }
    }

    fn walk(&mut self) -> Walked {
        let depth = self.frames.len();
        let Some(frame) = self.frames.last_mut() else { return Walked::End };
        if depth > self.resource.levels.len() {
            if frame.more {
                return Walked::Ask(Pending::Page);
            }
            self.frames.pop();
            return Walked::On;
        }
        let level = &self.resource.levels[depth - 1];
        if !frame.items.is_empty() {
            let bound = match level.batch {
                None => frame.items.pop_front().unwrap_or_else(Value::null),
                Some(size) => {
                    let batch = frame.items.drain(..size.min(frame.items.len())).collect::<Vec<_>>();
                    Value::list(batch).unwrap_or_else(|_| Value::null())
                }
            };
            let names = frame.names.clone().with(Name::Named(Arc::clone(&level.name)), bound.detached());
            self.frames.push(Frame::new(names));
            return Walked::On;
        }
        if !frame.more {
            self.frames.pop();
            return Walked::On;
        }
        match &level.each {
            Each::List(_) => Walked::Ask(Pending::Level(depth - 1)),
            Each::Fixed(values) => {
                frame.items = values.iter().cloned().collect();
                frame.more = false;
                Walked::On
            }
            Each::Value(value) => {
                frame.more = false;
                match value.each(&Value::null(), &frame.names) {
                    Ok(items) => frame.items = items.into(),
                    Err(trouble) => {
                        let words = format!("over {}: {trouble}", level.name);
                        self.end(FailureKind::BadAnswer, words, None);
                        return Walked::End;
                    }
                }
                Walked::On
            }
        }
    }

    /// Goes on with the records of the last page: each is fetched and enriched before the next.
    fn next_of_queue(&mut self) -> Option<Pending> {
        loop {
            let front = match self.queue.front_mut()? {
                Queued::Record(waiting) => waiting,
                Queued::Gone(_) => {
                    if let Some(Queued::Gone(found)) = self.queue.pop_front() {
                        self.found.push(found);
                    }
                    continue;
                }
            };
            if !front.fetched {
                return Some(Pending::Fetch);
            }
            while let Some(enrich) = self.resource.enrich.get(front.enriched) {
                let wanted = match &enrich.unless {
                    Some(unless) => !unless.holds(&front.record, &front.names).unwrap_or(false),
                    None => true,
                };
                if wanted {
                    return Some(Pending::Enrich(front.enriched));
                }
                front.enriched += 1;
            }
            if let Some(Queued::Record(done)) = self.queue.pop_front() {
                let what = What::Record(done.record, Parentage(done.names));
                self.state.records += 1;
                self.found.push(Found { remote_id: done.id, what });
            }
        }
    }

    /// The record under way.
    fn under_way(&self) -> Option<&Waiting> {
        match self.queue.front()? {
            Queued::Record(waiting) => Some(waiting),
            Queued::Gone(_) => None,
        }
    }

    fn under_way_mut(&mut self) -> Option<&mut Waiting> {
        match self.queue.front_mut()? {
            Queued::Record(waiting) => Some(waiting),
            Queued::Gone(_) => None,
        }
    }

    fn call<'s>(&'s self, pending: Pending) -> Option<(&'s Call, Names, Value)> {
        let source = |source: &'s Source| {
            let frame: &Frame = self.frames.last()?;
            let paging = &source.paging;
            let call = match &paging.then {
                Some(then) if frame.pager.has_turned() => then,
                Some(_) | None => &source.call,
            };
            Some((call, paging.names(&frame.pager, &frame.names), Value::null()))
        };
        match pending {
            Pending::Start => {
                let (call, _) = self.resource.changed.as_ref()?.start.as_ref()?;
                Some((call, self.base.clone(), Value::null()))
            }
            Pending::Feed => source(&self.resource.feed.as_ref()?.source),
            Pending::Level(at) => {
                let parents = self.parents(at)?;
                let (call, names, dot) = source(&parents.source)?;
                Some((call, parents.names(names), dot))
            }
            Pending::Page => source(self.source()),
            Pending::Fetch => {
                let front = self.under_way()?;
                Some((&self.resource.get.as_ref()?.call, front.names.clone(), front.record.clone()))
            }
            Pending::Enrich(at) => {
                let front = self.under_way()?;
                Some((&self.resource.enrich.get(at)?.call, front.names.clone(), front.record.clone()))
            }
        }
    }

    fn make(&self, pending: Pending, session: &Session) -> Result<Request, Unmade> {
        let (call, names, dot) =
            self.call(pending).ok_or_else(|| Unmade::Trouble("nothing to ask for".into()))?;
        let names = names.with(Name::Auth, Value::from_json(&session.auth));
        let shared = &self.connector.shared;
        let url = match pending {
            Pending::Feed | Pending::Level(_) | Pending::Page => {
                let paging = match pending {
                    Pending::Feed => self.resource.feed.as_ref().map(|feed| &feed.source.paging),
                    Pending::Level(at) => self.parents(at).map(|parents| &parents.source.paging),
                    Pending::Page | Pending::Start | Pending::Fetch | Pending::Enrich(_) => {
                        Some(&self.source().paging)
                    }
                };
                self.frames.last().and_then(|frame| paging?.url(&frame.pager))
            }
            Pending::Start | Pending::Fetch | Pending::Enrich(_) => None,
        };
        match url {
            Some(url) => call.follow(url, shared, &dot, &names, &session.with),
            None => call.make(shared, &dot, &names, &session.with),
        }
    }

    fn unmade(&mut self, pending: Pending, unmade: &Unmade) {
        let refusal = Refusal::bad(0, unmade.to_string());
        self.failed(pending, refusal);
    }

    /// Whether the run is of changes.
    fn is_delta(&self) -> bool {
        self.scope != Scope::Full
    }

    fn changed(&self) -> Option<&Changed> {
        self.resource.changed.as_ref().filter(|_| self.is_delta())
    }

    /// The listing of the records, in this scope.
    fn source(&self) -> &Source {
        self.changed().and_then(|changed| changed.source.as_ref()).unwrap_or(&self.resource.source)
    }

    /// The listing of a level's parents, in this scope.
    fn parents(&self, at: usize) -> Option<&Parents> {
        if let Some(Changed { by: By::Parents { level, changed, .. }, .. }) = self.changed()
            && *level == at
        {
            return Some(changed);
        }
        match &self.resource.levels.get(at)?.each {
            Each::List(parents) => Some(parents),
            Each::Fixed(_) | Each::Value(_) => None,
        }
    }

    /// `$since`, `$until` and `$token` of this scope.
    fn times(&self) -> Names {
        let names = self.base.clone();
        let (Scope::Changes(position), Some(changed)) = (&self.scope, &self.resource.changed) else {
            return names;
        };
        let spelling = match &changed.by {
            By::Time(spelling) | By::Parents { spelling, .. } => spelling.clone(),
            By::Token(_) => crate::definition::changed::TimeSpelling::Rfc3339,
        };
        match position {
            Position::Token(token) => names.with(Name::Token, Value::from_json(token)),
            Position::Since { begun, covered, .. } => {
                let since = match covered {
                    Some(covered) => Value::text(covered),
                    None => spelt(begun.minus(changed.overlap), &spelling),
                };
                names.with(Name::Since, since).with(Name::Until, spelt(self.begun, &spelling))
            }
        }
    }

    fn standing(&self, pending: Pending) -> Standing {
        let child = self.frames.len() > 1;
        match pending {
            Pending::Start => Standing::Whole,
            Pending::Enrich(_) | Pending::Fetch => Standing::Part,
            Pending::Feed | Pending::Level(_) | Pending::Page if self.is_delta() || child => Standing::Part,
            Pending::Feed | Pending::Level(_) | Pending::Page => Standing::Whole,
        }
    }

    /// The request had no answer.
    pub fn unanswered(&mut self, why: &str) {
        if let Some(pending) = self.pending {
            let refusal = Refusal {
                means: Means::Transient,
                wait: None,
                says: None,
                status: 0,
                what: Some(format!("the provider does not answer: {why}")),
            };
            self.failed(pending, refusal);
        }
    }

    /// The answer to the request.
    pub fn answer(&mut self, answer: Answer<'_>, now: Timestamp) {
        let Some(pending) = self.pending else { return };
        if self.state.clock.is_none()
            && let Some(date) = answer.date()
        {
            let off = now.since(date).max(date.since(now));
            // The run began before its first answer: by so much earlier on the provider's clock too.
            let passed = now.since(self.begun);
            self.state.clock = Some(if off <= CLOCK_MOST { date.minus(passed) } else { self.begun });
        }
        let (format, gzip) = match pending {
            Pending::Feed => {
                self.resource.feed.as_ref().map_or((Format::Json, false), |feed| feed.source.form())
            }
            Pending::Level(at) => {
                self.parents(at).map_or((Format::Json, false), |parents| parents.source.form())
            }
            Pending::Page => self.source().form(),
            Pending::Start | Pending::Fetch | Pending::Enrich(_) => (Format::Json, false),
        };
        let names = self.names_at(pending);
        // A gzip file is no JSON: of what it holds the reader of pages tells.
        let looked =
            if gzip && (200..300).contains(&answer.status) { Answer { body: b"", ..answer } } else { answer };
        let body = self.connector.errors.read(looked, format, self.standing(pending), &names, now);
        match body {
            Ok(body) => {
                self.refusals = 0;
                (self.tries, self.limited) = (0, 0);
                self.pending = None;
                self.read(pending, answer, body, &names_of(answer, &names));
            }
            Err(refusal) => self.failed(pending, refusal),
        }
    }

    fn names_at(&self, pending: Pending) -> Names {
        let names = self.call(pending).map_or_else(|| self.base.clone(), |(_, names, _)| names);
        let auth = self.session.as_ref().map_or_else(Value::null, |session| Value::from_json(&session.auth));
        names.with(Name::Auth, auth)
    }

    fn read(&mut self, pending: Pending, answer: Answer<'_>, body: Value, names: &Names) {
        match pending {
            Pending::Start => {
                let start = self.resource.changed.as_ref().and_then(|changed| changed.start.as_ref());
                let token = start.and_then(|(_, token)| token.one(&body, names).ok());
                match token.filter(|token| !token.is_null()) {
                    Some(token) => self.state.token = Some(token.detached()),
                    None => self.end(
                        FailureKind::BadAnswer,
                        "changed.start: the answer holds no token".into(),
                        None,
                    ),
                }
            }
            Pending::Feed | Pending::Level(_) | Pending::Page => self.read_page(pending, answer, names),
            Pending::Fetch => {
                let record = self.resource.get.as_ref().and_then(|get| get.record.as_ref());
                let read = record.map_or(Ok(body.clone()), |record| record.one(&body, names));
                match (read, self.under_way_mut()) {
                    (Ok(record), Some(front)) if !record.is_null() => {
                        front.record = record;
                        front.fetched = true;
                    }
                    (Ok(_), _) => self.unread(TroubleKind::Absent.into()),
                    (Err(trouble), _) => self.unread(trouble),
                }
            }
            Pending::Enrich(at) => {
                let enrich = &self.resource.enrich[at];
                let got = match &enrich.record {
                    Some(record) => record.one(&body, names),
                    None => Ok(body),
                };
                self.enriched(got);
            }
        }
    }

    fn enriched(&mut self, got: Result<Value, Trouble>) {
        let Some(at) = self.under_way().map(|front| front.enriched) else { return };
        let into = self.resource.enrich.get(at).map(|enrich| enrich.into.clone()).unwrap_or_default();
        let Some(front) = self.under_way_mut() else { return };
        match got.and_then(|got| front.record.with(&into, &got)) {
            Ok(record) => {
                front.record = record;
                front.enriched += 1;
            }
            Err(trouble) => self.unread(trouble.of(&into)),
        }
    }

    /// The record under way exists, but can't be read whole.
    fn unread(&mut self, trouble: Trouble) {
        if let Some(Queued::Record(front)) = self.queue.pop_front() {
            self.state.unread += 1;
            self.state.records += 1;
            self.found.push(Found { remote_id: front.id, what: What::Unread(trouble) });
        }
    }

    fn read_page(&mut self, pending: Pending, answer: Answer<'_>, names: &Names) {
        let resource = Arc::clone(&self.resource);
        let source = match pending {
            Pending::Feed => resource.feed.as_ref().map(|feed| &feed.source),
            Pending::Level(at) => self.level_source(&resource, at),
            Pending::Page | Pending::Start | Pending::Fetch | Pending::Enrich(_) => {
                Some(match &resource.changed {
                    Some(Changed { source: Some(source), .. }) if self.is_delta() => source,
                    Some(_) | None => &resource.source,
                })
            }
        };
        let Some(source) = source else { return };
        let bounds = Bounds::whole(self.most.held);
        let page = match read::page(source.format, source.gzip, answer.body, &source.records, names, bounds) {
            Ok(page) => page,
            Err(trouble) => {
                let refusal = Refusal::bad(answer.status, format!("records: {trouble}"));
                self.pending = Some(pending);
                return self.failed(pending, refusal);
            }
        };
        // An empty body, 204 and 304 are pages without records.
        let nothing = answer.body.iter().all(u8::is_ascii_whitespace);
        let items = match page.records {
            Some(records) => records,
            None if nothing || source.missing == Missing::None => Vec::new(),
            None => {
                self.pending = Some(pending);
                let refusal = Refusal::bad(answer.status, "the path to the records is not there");
                return self.failed(pending, refusal);
            }
        };
        let last = items.last().cloned();
        let count = items.len() as u64;
        let fresh = match pending {
            Pending::Page => self.records(&resource, items, names),
            Pending::Level(at) => self.level(&resource, at, items),
            Pending::Feed | Pending::Start | Pending::Fetch | Pending::Enrich(_) => {
                self.tombstones(&resource, items, names)
            }
        };
        if self.ended.is_some() {
            return;
        }
        let turned = Turned { body: &page.body, answer, items: count, last: last.as_ref(), fresh };
        let Some(frame) = self.frames.last_mut() else { return };
        match source.paging.turn(&mut frame.pager, &turned, names, self.most.pages) {
            Ok(Turn::More) => self.capped(&resource, pending, count, last.as_ref()),
            Ok(Turn::End) => {
                frame.more = false;
                self.ended_listing(&resource, pending, source, &page.body, names);
                self.capped(&resource, pending, count, last.as_ref());
            }
            Err(lie) => self.lied(lie),
        }
    }

    fn level_source<'r>(&self, resource: &'r Resource, at: usize) -> Option<&'r Source> {
        if let Some(Changed { by: By::Parents { level, changed, .. }, .. }) = &resource.changed
            && *level == at
            && self.is_delta()
        {
            return Some(&changed.source);
        }
        match &resource.levels.get(at)?.each {
            Each::List(parents) => Some(&parents.source),
            Each::Fixed(_) | Each::Value(_) => None,
        }
    }

    /// What a listing's last page says of the run.
    fn ended_listing(
        &mut self,
        resource: &Resource,
        pending: Pending,
        source: &Source,
        body: &Value,
        names: &Names,
    ) {
        let text = |value: Result<Value, Trouble>| {
            value.ok().and_then(|value| value.as_text().map(|it| it.into_owned()))
        };
        if pending == Pending::Feed {
            let covered = resource.feed.as_ref().and_then(|feed| feed.covered.as_ref());
            self.state.gone_covered = covered.and_then(|covered| text(covered.one(body, names)));
            return;
        }
        if pending != Pending::Page {
            return;
        }
        if self.frames.len() > 1 {
            self.state.children_listed += 1;
        }
        if let Some(total) = &source.total {
            let said = text(total.one(body, names)).and_then(|text| text.parse::<u64>().ok());
            self.state.total = said.or(self.state.total);
        }
        let Some(changed) = &resource.changed else { return };
        if let Some(covered) = changed.covered.as_ref().filter(|_| self.is_delta()) {
            self.state.covered = text(covered.one(body, names));
        }
        if let By::Token(token) = &changed.by
            && (self.is_delta() || changed.start.is_none())
        {
            let token = token.one(body, names).ok().filter(Value::truthy);
            self.state.token = token.map(|token| token.detached());
        }
    }

    /// The cap of a query is reached: another begins at the last record's value.
    fn capped(&mut self, resource: &Resource, pending: Pending, count: u64, last: Option<&Value>) {
        let cap = resource.changed.as_ref().filter(|_| self.is_delta() && pending == Pending::Page);
        let Some((most, from)) = cap.and_then(|changed| changed.cap.as_ref()) else { return };
        self.state.capped += count;
        if self.state.capped < *most {
            return;
        }
        self.state.capped = 0;
        let Some(frame) = self.frames.last_mut() else { return };
        let next = last.and_then(|last| from.one(last, &frame.names).ok()).filter(|next| !next.is_null());
        match next {
            Some(next) if self.state.from.insert(xxh3_64(next.json().as_bytes())) => {
                let next = next.detached();
                frame.names.set(Name::Since, next);
                frame.pager = Pager::default();
                frame.more = true;
            }
            Some(_) | None => {
                let words = "changed.cap: a query of the most records does not get on";
                self.end(FailureKind::Endless, words.into(), None);
            }
        }
    }

    /// Takes a page of the listing itself; whether any of it was new.
    fn records(&mut self, resource: &Resource, items: Vec<Value>, names: &Names) -> bool {
        let mut fresh = false;
        let delta = self.is_delta();
        let changed = resource.changed.as_ref().filter(|_| delta);
        let names = self.frames.last().map_or_else(|| names.clone(), |frame| frame.names.clone());
        let tombstone =
            changed.and_then(|changed| changed.tombstone.as_ref()).or(resource.tombstone.as_ref());
        let item_id = changed.and_then(|changed| changed.id.as_ref());
        let fetch = changed.is_some_and(|changed| changed.fetch);
        for item in items {
            self.state.items += 1;
            // Judged on the raw item, before anything else.
            match gone(tombstone, item_id.unwrap_or(&resource.id), &item, &names) {
                Ok(None) => {}
                Ok(Some(Some(tombstone))) => {
                    fresh |= self.is_new(&tombstone);
                    self.queue.push_back(Queued::Gone(tombstone));
                    continue;
                }
                Ok(Some(None)) => {
                    self.partial("a deletion without an id");
                    continue;
                }
                Err(trouble) => {
                    self.partial(&format!("gone: {trouble}"));
                    continue;
                }
            }
            self.descend(resource, &item, &names);
            let record = match changed.and_then(|changed| changed.record.as_ref()) {
                Some(record) => record.one(&item, &names),
                None => Ok(item.clone()),
            };
            let Ok(record) = record else {
                self.partial("a change without its record");
                continue;
            };
            let id = if fetch {
                item_id.map_or_else(|| plain_id(&item, &resource.id, &names), |id| id.of(&item, &names))
            } else {
                resource.id.of(&record, &names)
            };
            let id = match id {
                Ok(Some(id)) => id,
                Ok(None) if !fetch && self.is_not_ours(resource, &record, &names) => continue,
                Ok(None) => {
                    self.partial("a record without an id");
                    continue;
                }
                Err(trouble) => {
                    self.partial(&format!("id: {trouble}"));
                    continue;
                }
            };
            fresh |= self.state.ids.insert(xxh3_64(id.as_str().as_bytes()));
            if let Some(filter) = resource.filter.as_ref().filter(|_| !fetch) {
                match filter.holds(&record, &names) {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(trouble) => {
                        self.partial(&format!("where: {trouble}"));
                        continue;
                    }
                }
            }
            let record = if fetch { asked_for(&id, &resource.id) } else { record };
            let waiting = Waiting { id, record, names: names.clone(), fetched: !fetch, enriched: 0 };
            self.queue.push_back(Queued::Record(waiting));
        }
        fresh
    }

    /// A record that is a parent too is listed under after the others, once.
    fn descend(&mut self, resource: &Resource, item: &Value, names: &Names) {
        let depth = self.frames.len();
        let (Some(level), true) = (resource.levels.last(), depth == resource.levels.len() + 1) else {
            return;
        };
        let Some(descend) = &level.descend else { return };
        let here = names.get(&Name::Named(Arc::clone(&level.name))).clone();
        match descend.each(item, names) {
            Ok(parents) => {
                for parent in parents.into_iter().filter(|parent| !parent.is_null() && *parent != here) {
                    if self.state.descended.insert(xxh3_64(parent.json().as_bytes())) {
                        self.frames[depth - 2].items.push_back(parent.detached());
                    }
                }
            }
            Err(trouble) => self.partial(&format!("over {}: descend: {trouble}", level.name)),
        }
    }

    fn is_new(&mut self, found: &Found) -> bool {
        self.state.ids.insert(xxh3_64(found.remote_id.as_str().as_bytes()))
    }

    fn is_not_ours(&self, resource: &Resource, record: &Value, names: &Names) -> bool {
        resource.filter.as_ref().is_some_and(|filter| filter.holds(record, names) == Ok(false))
    }

    /// Takes a page of parents: those that are gone, or not of their resource, have no children to ask for.
    fn level(&mut self, resource: &Resource, at: usize, items: Vec<Value>) -> bool {
        let delta = self.is_delta();
        let (parents, record) = match &resource.changed {
            Some(Changed { by: By::Parents { level, changed, record, .. }, .. }) if *level == at && delta => {
                (Some(changed.as_ref()), record.as_ref())
            }
            Some(_) | None => match resource.levels.get(at).map(|level| &level.each) {
                Some(Each::List(parents)) => (Some(parents.as_ref()), None),
                Some(Each::Fixed(_) | Each::Value(_)) | None => (None, None),
            },
        };
        let (Some(parents), Some(names)) = (parents, self.frames.last().map(|frame| frame.names.clone()))
        else {
            return false;
        };
        let names = parents.names(names);
        let mut fresh = false;
        for item in items {
            fresh |= self.state.ids.insert(xxh3_64(item.json().as_bytes()));
            if parents.gone.as_ref().is_some_and(|gone| gone.holds(&item, &names).unwrap_or(false)) {
                continue;
            }
            let parent = record.map_or(Ok(item.clone()), |record| record.one(&item, &names));
            let ours = parent.and_then(|parent| {
                let ours =
                    parents.filter.as_ref().map_or(Ok(true), |filter| filter.holds(&parent, &names))?;
                Ok((parent, ours))
            });
            match ours {
                Ok((parent, true)) => {
                    if let Some(frame) = self.frames.last_mut() {
                        frame.items.push_back(parent.detached());
                    }
                }
                Ok((_, false)) => {}
                Err(trouble) => self.partial(&format!("a parent's where: {trouble}")),
            }
        }
        fresh
    }

    /// Takes a page of a feed of deletions.
    fn tombstones(&mut self, resource: &Resource, items: Vec<Value>, names: &Names) -> bool {
        let mut fresh = false;
        let tombstone = resource.tombstone.as_ref();
        for item in items {
            let at = tombstone.and_then(|tombstone| tombstone.at.as_ref());
            let id = tombstone.and_then(|tombstone| tombstone.id.as_ref()).unwrap_or(&resource.id);
            match id.of(&item, names) {
                Ok(Some(remote_id)) => {
                    let found = Found {
                        remote_id,
                        what: What::Gone(at.and_then(|at| moment(&at.one(&item, names).ok()?))),
                    };
                    fresh |= self.is_new(&found);
                    self.found.push(found);
                }
                Ok(None) | Err(_) => self.partial("a deletion without an id"),
            }
        }
        // The changes are new again, whatever the deletions named.
        fresh
    }

    fn partial(&mut self, why: &str) {
        self.state.nameless += 1;
        if !self.state.partial.iter().any(|known| known == why) && self.state.partial.len() < 20 {
            self.state.partial.push(why.to_owned());
        }
    }

    fn lied(&mut self, lie: Lie) {
        match lie {
            Lie::Endless(words) => self.end(FailureKind::Endless, words.into(), None),
            Lie::TooLarge => {
                self.end(FailureKind::TooLarge, "more records than `page.most` allows".into(), None)
            }
            Lie::Bad(words) => self.end(FailureKind::BadAnswer, words, None),
        }
    }

    fn end(&mut self, kind: FailureKind, words: String, wait: Option<Duration>) {
        self.pending = None;
        self.ended = Some(Ended::Failed(Failure { kind, words, wait }));
    }

    /// The request failed: again later, without this parent or record, or not at all.
    fn failed(&mut self, pending: Pending, refusal: Refusal) {
        let means = self.sharpened(pending, &refusal);
        let words = self.words(pending, &refusal);
        match means {
            // However often: how long a run may wait is its driver's to say.
            Means::Limited => {
                self.limited = self.limited.saturating_add(1);
                self.wait = Some(refusal.wait.unwrap_or_else(|| backoff(self.limited)));
            }
            Means::Transient if self.tries + 1 < TRIES => {
                self.tries += 1;
                self.wait = Some(refusal.wait.unwrap_or_else(|| backoff(self.tries)));
            }
            Means::Transient => self.end(FailureKind::Unreachable, words, refusal.wait),
            Means::Refresh | Means::Unauthorized => {
                let renews = self.session.as_ref().is_some_and(|session| session.renews);
                if renews && self.refusals == 0 {
                    self.refusals += 1;
                    self.refused = self.session.take();
                } else {
                    self.end(FailureKind::Unauthorized, words, None);
                }
            }
            Means::Expired if self.is_delta() => self.end(FailureKind::Expired, words, None),
            Means::Restart | Means::Expired => self.end(FailureKind::Restart, words, None),
            Means::None => self.nothing(pending),
            Means::Forbidden | Means::Gone | Means::Bad => self.refused_part(pending, &refusal, words),
        }
    }

    fn sharpened(&self, pending: Pending, refusal: &Refusal) -> Means {
        let position = matches!(pending, Pending::Page | Pending::Feed);
        if let (Some(changed), true) = (self.changed(), position)
            && changed.expired.contains(&refusal.status)
        {
            return Means::Expired;
        }
        refusal.means
    }

    fn words(&self, pending: Pending, refusal: &Refusal) -> String {
        let section = match pending {
            Pending::Start => "changed.start".to_owned(),
            Pending::Feed => "gone.list".into(),
            Pending::Level(at) => format!("over.{at}"),
            Pending::Page => "list".into(),
            Pending::Fetch => "get".into(),
            Pending::Enrich(at) => format!("enrich.{at}"),
        };
        let words = match (&refusal.what, refusal.status) {
            (Some(what), 0) => what.clone(),
            _ => refusal.words(),
        };
        format!("{section}: {words}")
    }

    /// There is nothing: an unchanged delta, a parent without children, a record without more.
    fn nothing(&mut self, pending: Pending) {
        self.pending = None;
        self.tries = 0;
        match pending {
            Pending::Enrich(_) => self.enriched(Ok(Value::null())),
            Pending::Fetch => self.unread(TroubleKind::Absent.into()),
            Pending::Start => {
                self.end(FailureKind::BadAnswer, "changed.start: the answer holds no token".into(), None)
            }
            Pending::Feed | Pending::Level(_) | Pending::Page => {
                if let Some(frame) = self.frames.last_mut() {
                    frame.more = false;
                }
                // Unchanged: the position stays good.
                if let (Pending::Page, Scope::Changes(Position::Token(token))) = (pending, &self.scope) {
                    self.state.token.get_or_insert_with(|| Value::from_json(token));
                }
            }
        }
    }

    /// What is refused for good: a record is unread, a parent makes the run partial, the listing itself ends it.
    fn refused_part(&mut self, pending: Pending, refusal: &Refusal, words: String) {
        let status = refusal.status;
        match pending {
            Pending::Enrich(at) if self.resource.enrich[at].missing.contains(&status) => {
                self.nothing(pending)
            }
            Pending::Enrich(_) | Pending::Fetch => {
                self.pending = None;
                self.unread(TroubleKind::Absent.into());
            }
            Pending::Page | Pending::Level(_) if self.frames.len() > 1 => self.parent_failed(refusal, words),
            Pending::Start | Pending::Feed | Pending::Level(_) | Pending::Page => {
                let kind = match refusal.means {
                    Means::Forbidden => FailureKind::Forbidden,
                    _ => FailureKind::BadAnswer,
                };
                self.end(kind, words, refusal.wait);
            }
        }
    }

    fn parent_failed(&mut self, refusal: &Refusal, words: String) {
        self.pending = None;
        // The innermost parent is the one whose listing this was.
        let at = self.frames.len() - 2;
        let skipped =
            self.resource.levels.get(at).is_some_and(|level: &Level| level.skip.contains(&refusal.status));
        self.frames.pop();
        if skipped {
            self.state.children_listed += 1;
            return;
        }
        self.partial(&format!("a parent failed: {words}"));
        let kind = match refusal.means {
            Means::Forbidden => FailureKind::Forbidden,
            _ => FailureKind::BadAnswer,
        };
        self.state.children_failed = Some(Failure { kind, words, wait: refusal.wait });
    }

    fn complete(&mut self) -> Next {
        if self.ended.is_none() {
            let ended = self.judge();
            self.ended = Some(ended);
        }
        self.pending = None;
        self.ended.clone().map_or(Next::Wait(Duration::ZERO), Next::Done)
    }

    fn judge(&mut self) -> Ended {
        let state = &self.state;
        if let Some(failure) = state.children_failed.as_ref().filter(|_| state.children_listed == 0) {
            return Ended::Failed(failure.clone());
        }
        let mut doubts = self.resource.doubts();
        let distinct = state.ids.len() as u64;
        if self.resource.levels.is_empty() && state.total.is_some_and(|total| total != distinct) {
            doubts.push("the listing's total is not what it listed".into());
        }
        let position = match self.resource.changed.as_ref().map(|changed| &changed.by) {
            None => None,
            Some(By::Token(_)) => match &state.token {
                Some(token) => Some(Position::Token(token.to_json())),
                None => {
                    let words = "changed.token: the last page holds no token".to_owned();
                    return Ended::Failed(Failure { kind: FailureKind::BadAnswer, words, wait: None });
                }
            },
            Some(By::Time(_) | By::Parents { .. }) => Some(Position::Since {
                begun: self.began(),
                covered: state.covered.clone(),
                gone_covered: state.gone_covered.clone(),
            }),
        };
        if position.as_ref().is_some_and(|position| !position.fits()) {
            let words = "changed.token: a position larger than 16 KiB".to_owned();
            return Ended::Failed(Failure { kind: FailureKind::TooLarge, words, wait: None });
        }
        Ended::Complete(Complete {
            doubts,
            partial: state.partial.clone(),
            nameless: state.nameless,
            records: state.records,
            position,
            unread: state.unread,
        })
    }
}

enum Walked {
    Ask(Pending),
    On,
    End,
}

impl Frame {
    fn new(names: Names) -> Self {
        Self { pager: Pager::default(), more: true, items: VecDeque::new(), names }
    }
}

impl Parents {
    /// What names mean in a listing of parents: their constants are their own.
    fn names(&self, names: Names) -> Names {
        match &self.with {
            Some(with) => names.with(Name::With, with.clone()),
            None => names,
        }
    }
}

impl Source {
    fn form(&self) -> (Format, bool) {
        (self.format, self.gzip)
    }
}

/// Whether an item says that its record is gone: nothing if it does not, then its tombstone, if it has an id.
fn gone(
    tombstone: Option<&Tombstones>,
    id: &super::Id,
    item: &Value,
    names: &Names,
) -> Result<Option<Option<Found>>, Trouble> {
    let Some((tombstone, when)) = tombstone.and_then(|it| Some((it, it.when.as_ref()?))) else {
        return Ok(None);
    };
    if !when.holds(item, names)? {
        return Ok(None);
    }
    let id = tombstone.id.as_ref().unwrap_or(id);
    let at = tombstone.at.as_ref().and_then(|at| moment(&at.one(item, names).ok()?));
    Ok(Some(id.of(item, names)?.map(|remote_id| Found { remote_id, what: What::Gone(at) })))
}

/// The wait before a request is tried again.
fn backoff(tries: u32) -> Duration {
    Duration::from_millis(500) * 2_u32.pow(tries.min(6))
}

/// An item that is an id, or holds it where records do.
fn plain_id(
    item: &Value,
    id: &super::Id,
    names: &Names,
) -> Result<Option<tributary_schemas::id::RemoteId>, Trouble> {
    match super::id_text(item) {
        Some(text) => Ok(Some(tributary_schemas::id::RemoteId::new(text))),
        None => id.of(item, names),
    }
}

/// What `get` is asked with: a record of which only the id is known.
pub(super) fn asked_for(remote_id: &tributary_schemas::id::RemoteId, id: &super::Id) -> Value {
    let text = Value::text(remote_id.as_str());
    let mut entries = vec![("id".to_owned(), text.clone())];
    if let super::Id::First(all) = id {
        for one in all {
            if let [step] = one.reads().first().map(Vec::as_slice).unwrap_or_default()
                && step != "id"
            {
                entries.push((step.clone(), text.clone()));
            }
        }
    }
    Value::object(entries.iter().map(|(key, value)| (key.as_str(), value.clone())))
        .unwrap_or_else(|_| Value::null())
}

/// A moment in the spellings that deletions come in.
fn moment(value: &Value) -> Option<Timestamp> {
    let text = value.as_text()?;
    match text.parse::<i64>() {
        Ok(number) if number.abs() >= 100_000_000_000 => {
            number.checked_mul(1_000).map(Timestamp::from_micros)
        }
        Ok(number) => number.checked_mul(1_000_000).map(Timestamp::from_micros),
        Err(_) => text.parse().ok().or_else(|| crate::engine::outcome::http_date(&text)),
    }
}
