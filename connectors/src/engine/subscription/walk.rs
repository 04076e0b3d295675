//! A step, request by request.

use std::{sync::Arc, time::Duration};

use serde_json::Value as Json;
use tributary_schemas::time::Timestamp;

use super::{
    Asked, Outcome, Refused, RefusedAs, Registered, Renewal, Shown, Subject, Subscriptions,
    compile::{Action, Look, Seen, Whose},
};
use crate::{
    definition::{errors::Means, request::Format},
    engine::{
        Trouble,
        auth::{Credentials, Session},
        connector::Connector,
        expression::Expression,
        names::{Name, Names},
        outcome::{Answer, Refusal, Standing, names_of, wait_of},
        page::{Pager, Turn, Turned},
        position::spelt,
        read::{self, Bounds},
        request::{Request, Unmade, plain},
        value::Value,
    },
};

/// Pages that a list of subscriptions may have.
const PAGES_MOST: u64 = 200;
/// The most of a refusal's body that is read.
const BODY_MOST: usize = 1 << 20;
/// The provider's clock is believed within so much of ours.
const CLOCK_MOST: Duration = Duration::from_secs(86_400);

/// What is done at a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Makes one.
    Create,
    /// Changes what one asks for, and where it calls.
    Update,
    /// Makes one live longer.
    Renew,
    /// Makes one speak that was paused.
    Resume,
    /// Gives one another secret.
    Rotate,
    /// Ends one.
    Delete,
    /// Looks at one.
    Look,
    /// Lists all.
    List,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Next {
    /// Send it, then [`Walk::answered`] or [`Walk::unanswered`].
    Send(Request),
    /// It is over.
    Done(Outcome),
}

/// Where a walk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Token,
    Prepare,
    Only,
    Activate,
    Undo,
}

/// A step under way.
#[derive(Debug)]
pub struct Walk {
    connector: Arc<Connector>,
    step: Step,
    names: Names,
    at: At,
    asked: Option<Duration>,
    made: Option<Outcome>,
    why: Option<Refused>,
    shown: Vec<Shown>,
    pager: Pager,
    done: Option<Outcome>,
}

impl Walk {
    pub(crate) fn new(
        connector: Arc<Connector>,
        step: Step,
        subject: &Subject,
        credentials: &Credentials,
        now: Timestamp,
    ) -> Self {
        let mut names = connector.names(credentials);
        let it = connector.subscriptions();
        let texts = subject.asks.iter().map(Asked::value);
        names.set(Name::Url, Value::text(&subject.url));
        names.set(Name::Uuid, Value::text(&subject.uuid));
        names.set(Name::Secret, subject.secret.as_deref().map_or(Value::null(), Value::text));
        names.set(Name::Event, subject.asks.first().map_or(Value::null(), Asked::value));
        names.set(Name::Events, Value::list(texts).unwrap_or(Value::null()));
        let mut asked = None;
        if let Some((ask, spelling)) = it.and_then(|it| it.create.ask.as_ref()) {
            names.set(Name::Expires, spelt(now.plus(*ask), spelling));
            asked = Some(*ask);
        }
        if let Some(registered) = &subject.registered {
            let mut known = registered.taken.clone();
            known.insert("id".into(), Json::from(registered.id.as_str()));
            names.set(Name::Subscription, Value::from_json(&Json::Object(known)));
        }
        let at = match (step, it) {
            (Step::Create, Some(it)) if it.token.is_some() => At::Token,
            (Step::Create, Some(it)) if it.prepare.is_some() => At::Prepare,
            (_, _) => At::Only,
        };
        Self {
            connector,
            step,
            names,
            at,
            asked,
            made: None,
            why: None,
            shown: Vec::new(),
            pager: Pager::default(),
            done: None,
        }
    }

    /// The next request, with what goes with it; the same again until it is answered.
    pub fn next(&mut self, session: &Session) -> Next {
        if let Some(done) = &self.done {
            return Next::Done(done.clone());
        }
        let names = self.names.clone().with(Name::Auth, Value::from_json(&session.auth));
        match self.make(&names, session) {
            Ok(Some(request)) => Next::Send(request),
            Ok(None) => Next::Done(refused(RefusedAs::ProviderError, "the provider has no such step")),
            // Nothing was sent, so nothing was done.
            Err(unmade) => Next::Done(refused(RefusedAs::ProviderError, &unmade.to_string())),
        }
    }

    fn make(&self, names: &Names, session: &Session) -> Result<Option<Request>, Unmade> {
        let Some(it) = self.connector.subscriptions() else { return Ok(None) };
        let call = match (self.at, self.step) {
            (At::Token, _) => it.token.as_ref().and_then(|resource| resource.start()).map(|(call, _)| call),
            (At::Prepare, _) => it.prepare.as_ref(),
            (At::Activate, _) => it.activate.as_ref().map(|action| &action.call),
            (At::Undo, _) => Some(&it.delete.call),
            (At::Only, Step::Create) => Some(&it.create.call),
            (At::Only, Step::List) => it.list.as_ref().map(|list| &list.call),
            (At::Only, Step::Look) => it.look.as_ref().map(|look| &look.call),
            (At::Only, step) => action(it, step).map(|action| &action.call),
        };
        let Some(call) = call else { return Ok(None) };
        let (shared, nothing) = (&self.connector.shared, Value::null());
        let listed = it.list.as_ref().filter(|_| self.at == At::Only && self.step == Step::List);
        match listed {
            Some(list) => {
                let names = list.paging.names(&self.pager, names);
                match list.paging.url(&self.pager) {
                    Some(url) => call.follow(url, shared, &nothing, &names, &session.with),
                    None => call.make(shared, &nothing, &names, &session.with),
                }
            }
            None => call.make(shared, &nothing, names, &session.with),
        }
        .map(Some)
    }

    /// Nobody answered, or what came could not be read.
    pub fn unanswered(&mut self) {
        const WORDS: &str = "the provider did not answer";
        self.done = Some(match (self.step, self.at) {
            // These change nothing, or nothing that is ours.
            (Step::List | Step::Look, _) | (_, At::Token | At::Prepare) => {
                refused(RefusedAs::ProviderError, WORDS)
            }
            (_, At::Only | At::Activate | At::Undo) => Outcome::Unclear(WORDS.into()),
        });
    }

    /// Takes an answer.
    pub fn answered(&mut self, answer: Answer<'_>, now: Timestamp) {
        let connector = Arc::clone(&self.connector);
        let Some(it) = connector.subscriptions() else { return };
        let names = names_of(answer, &self.names);
        match self.at {
            At::Token => match self.read(answer, now) {
                Ok(body) => {
                    let token = it.token.as_ref().and_then(|resource| resource.start());
                    match token.map(|(_, token)| token.one(&body, &names)) {
                        Some(Ok(token)) if !token.is_null() => {
                            self.names.set(Name::Token, token);
                            self.at = if it.prepare.is_some() { At::Prepare } else { At::Only };
                        }
                        Some(_) | None => {
                            self.done = Some(refused(RefusedAs::ProviderError, "the answer holds no token"));
                        }
                    }
                }
                Err(refusal) => self.done = Some(self.refusal(it, &refusal, answer)),
            },
            At::Prepare => match self.acted(answer, now) {
                Ok(_) => self.at = At::Only,
                Err(refusal) => self.done = Some(self.refusal(it, &refusal, answer)),
            },
            At::Activate => match self.acted(answer, now) {
                Ok(_) => self.done = self.made.take(),
                Err(refusal) => {
                    if let Outcome::Refused(why) = self.refusal(it, &refusal, answer) {
                        self.why = Some(why);
                    }
                    self.at = At::Undo;
                }
            },
            At::Undo => {
                let gone = self.is_gone(&it.delete, answer) || self.acted(answer, now).is_ok();
                let why = self.why.take();
                self.done = Some(match (gone, why) {
                    (true, Some(why)) => Outcome::Refused(why),
                    (_, _) => Outcome::Unclear("it was made, and can neither speak nor be taken away".into()),
                });
            }
            At::Only => match self.step {
                Step::Create => self.created(it, answer, &names, now),
                Step::List => self.listed(it, answer, &names, now),
                Step::Look => self.done = Some(self.looked(it, answer, &names, now)),
                step @ (Step::Update | Step::Renew | Step::Resume | Step::Rotate | Step::Delete) => {
                    if let Some(action) = action(it, step) {
                        self.done = Some(self.done_by(it, action, answer, &names, now));
                    }
                }
            },
        }
    }

    fn created(&mut self, it: &Subscriptions, answer: Answer<'_>, names: &Names, now: Timestamp) {
        if let Some((status, id)) = &it.create.duplicate
            && *status == answer.status
        {
            let id = id.as_ref().and_then(|id| text(id, &body_of(answer), names));
            self.done = Some(Outcome::Duplicate { id });
            return;
        }
        let body = match self.read(answer, now) {
            Ok(body) => body,
            Err(refusal) => {
                self.done = Some(match (refusal.means, answer.status) {
                    // It may have been made all the same.
                    (Means::Transient, _) | (_, 200..=299) if refusal.says.is_none() => {
                        Outcome::Unclear(refusal.words())
                    }
                    (_, _) => self.refusal(it, &refusal, answer),
                });
                return;
            }
        };
        let Some(id) = text(&it.create.id, &body, names) else {
            self.done = Some(Outcome::Unclear("the answer holds no id".into()));
            return;
        };
        let mut taken = serde_json::Map::new();
        for (name, path) in &it.create.take {
            if let Ok(value) = path.one(&body, names) {
                taken.insert(name.clone(), value.to_json());
            }
        }
        let secret = match &it.create.secret {
            Some(Whose::Theirs(path)) => text(path, &body, names),
            Some(Whose::Ours) | None => None,
        };
        let life = life(it.create.ends.as_ref(), &body, names, answer, now).or(self.asked);
        let registered = Registered { id, taken };
        let mut known = registered.taken.clone();
        known.insert("id".into(), Json::from(registered.id.as_str()));
        self.names.set(Name::Subscription, Value::from_json(&Json::Object(known)));
        let made = Outcome::Made { registered, secret, life };
        if it.activate.is_some() {
            self.made = Some(made);
            self.at = At::Activate;
        } else {
            self.done = Some(made);
        }
    }

    fn done_by(
        &self,
        it: &Subscriptions,
        action: &Action,
        answer: Answer<'_>,
        names: &Names,
        now: Timestamp,
    ) -> Outcome {
        if self.is_gone(action, answer) {
            return Outcome::Gone;
        }
        match self.acted(answer, now) {
            Ok(body) => Outcome::Done {
                life: life(action.ends.as_ref(), &body, names, answer, now)
                    .or_else(|| self.asked.filter(|_| self.step == Step::Renew)),
                secret: match &action.secret {
                    Some(Whose::Theirs(path)) => text(path, &body, names),
                    Some(Whose::Ours) | None => None,
                },
            },
            Err(refusal) if refusal.means == Means::Gone => Outcome::Gone,
            Err(refusal) => self.refusal(it, &refusal, answer),
        }
    }

    fn looked(&self, it: &Subscriptions, answer: Answer<'_>, names: &Names, now: Timestamp) -> Outcome {
        let Some(Look { gone, seen, .. }) = &it.look else { return Outcome::Gone };
        if gone.contains(&answer.status) {
            return Outcome::Gone;
        }
        match self.read(answer, now) {
            Ok(body) => {
                let id = self.names.get(&Name::Subscription).get("id");
                let id = plain(&id).unwrap_or_default();
                match shown(seen, &body, names, answer, now, Some(id)) {
                    Ok(Some(shown)) => Outcome::Listed(vec![shown]),
                    Ok(None) | Err(_) => refused(RefusedAs::ProviderError, "the answer is not as expected"),
                }
            }
            Err(refusal) if refusal.means == Means::Gone => Outcome::Gone,
            Err(refusal) => self.refusal(it, &refusal, answer),
        }
    }

    fn listed(&mut self, it: &Subscriptions, answer: Answer<'_>, names: &Names, now: Timestamp) {
        let Some(list) = &it.list else { return };
        let read = self.connector.errors.read(answer, list.format, Standing::Whole, &self.names, now);
        let body = match read {
            Ok(body) => body,
            Err(refusal) => {
                self.done = Some(self.refusal(it, &refusal, answer));
                return;
            }
        };
        let turned = self.page(list, &body, answer, names, now);
        match turned {
            Ok(Turn::More) => {}
            Ok(Turn::End) => self.done = Some(Outcome::Listed(std::mem::take(&mut self.shown))),
            Err(words) => self.done = Some(refused(RefusedAs::ProviderError, &words)),
        }
    }

    /// Reads a page of a list: what can't be read ends it, since what it lacks is taken for absent.
    fn page(
        &mut self,
        list: &super::Listed,
        body: &Value,
        answer: Answer<'_>,
        names: &Names,
        now: Timestamp,
    ) -> Result<Turn, String> {
        let wrong = |trouble: Trouble| format!("the list of subscriptions: {trouble}");
        let there = list.records.one(body, names).map_err(wrong)?;
        if there.is_null() {
            return Err("the list of subscriptions is not where the definition says".into());
        }
        let records = list.records.each(body, names).map_err(wrong)?;
        let before = self.shown.len();
        for record in &records {
            let shown = shown(&list.seen, record, names, answer, now, None).map_err(wrong)?;
            let shown = shown.ok_or("the list of subscriptions holds one without an id")?;
            if !self.shown.iter().any(|known| known.id == shown.id) {
                self.shown.push(shown);
            }
        }
        let turned = Turned {
            body,
            answer,
            items: records.len() as u64,
            last: records.last(),
            fresh: self.shown.len() > before,
        };
        list.paging
            .turn(&mut self.pager, &turned, names, PAGES_MOST)
            .map_err(|_| "the list of subscriptions does not end".to_owned())
    }

    fn read(&self, answer: Answer<'_>, now: Timestamp) -> Result<Value, Refusal> {
        self.connector.errors.read(answer, Format::Json, Standing::Whole, &self.names, now)
    }

    /// As [`read`](Self::read), for requests whose success needs no body.
    fn acted(&self, answer: Answer<'_>, now: Timestamp) -> Result<Value, Refusal> {
        match self.read(answer, now) {
            Err(refusal) if refusal.what.is_some() && matches!(answer.status, 200..=299) => Ok(Value::null()),
            read => read,
        }
    }

    fn is_gone(&self, action: &Action, answer: Answer<'_>) -> bool {
        action.gone.contains(&answer.status)
    }

    /// What a refusal is called: as `refused` says, else by what it means.
    fn refusal(&self, it: &Subscriptions, refusal: &Refusal, answer: Answer<'_>) -> Outcome {
        let names = names_of(answer, &self.names);
        let body =
            crate::engine::read::body(Format::Json, answer.body, crate::engine::read::Bounds::whole(1 << 20))
                .unwrap_or(Value::null());
        let said = it.refused.iter().find(|(when, _)| when.holds(&body, &names).unwrap_or(false));
        let reason = said.map_or_else(
            || match refusal.means {
                Means::Unauthorized | Means::Refresh => RefusedAs::CredentialsRefused,
                Means::Forbidden => RefusedAs::MissingScope,
                Means::Gone => RefusedAs::NotFound,
                Means::Limited
                | Means::Transient
                | Means::Restart
                | Means::Expired
                | Means::None
                | Means::Bad => RefusedAs::ProviderError,
            },
            |(_, reason)| *reason,
        );
        Outcome::Refused(Refused { reason, wait: refusal.wait, words: refusal.words() })
    }
}

fn action(it: &Subscriptions, step: Step) -> Option<&Action> {
    match step {
        Step::Update => it.update.as_ref(),
        Step::Renew => match &it.renew {
            Renewal::By(action) => Some(action),
            Renewal::Endless | Renewal::Again => None,
        },
        Step::Resume => it.resume.as_ref(),
        Step::Rotate => it.rotate.as_ref(),
        Step::Delete => Some(&it.delete),
        Step::Create | Step::Look | Step::List => None,
    }
}

/// The body of an answer that is no success; null where it can't be read.
fn body_of(answer: Answer<'_>) -> Value {
    read::body(Format::Json, answer.body, Bounds::whole(BODY_MOST)).unwrap_or(Value::null())
}

fn refused(reason: RefusedAs, words: &str) -> Outcome {
    Outcome::Refused(Refused { reason, wait: None, words: words.to_owned() })
}

fn text(path: &Expression, body: &Value, names: &Names) -> Option<String> {
    path.one(body, names).ok().as_ref().and_then(plain).filter(|text| !text.is_empty())
}

/// How long it lives, by the provider's clock where the answer has it.
fn life(
    ends: Option<&Expression>,
    body: &Value,
    names: &Names,
    answer: Answer<'_>,
    now: Timestamp,
) -> Option<Duration> {
    let said = text(ends?, body, names)?;
    let date = answer.date().filter(|date| date.since(now).max(now.since(*date)) <= CLOCK_MOST);
    let from = date.unwrap_or(now);
    match said.parse::<f64>() {
        Ok(number) if number >= 1e11 => Some(Timestamp::from_micros((number * 1e3) as i64).since(from)),
        Ok(number) if number >= 1e9 => Some(Timestamp::from_micros((number * 1e6) as i64).since(from)),
        Ok(_) => wait_of(&said, from),
        Err(_) => said
            .parse()
            .ok()
            .or_else(|| crate::engine::outcome::http_date(&said))
            .map(|ends: Timestamp| ends.since(from)),
    }
}

fn shown(
    seen: &Seen,
    record: &Value,
    names: &Names,
    answer: Answer<'_>,
    now: Timestamp,
    id: Option<String>,
) -> Result<Option<Shown>, Trouble> {
    let id = match (&seen.id, id) {
        (Some(path), _) => plain(&path.one(record, names)?),
        (None, id) => id,
    };
    let Some(id) = id.filter(|id| !id.is_empty()) else { return Ok(None) };
    let mut asks = Vec::new();
    if let Some(event) = &seen.event {
        let event = event.one(record, names)?;
        if !event.is_null() {
            asks.push(Asked::of(&event));
        }
    }
    if let Some(events) = &seen.events {
        asks.extend(events.each(record, names)?.iter().map(Asked::of));
    }
    asks.sort();
    asks.dedup();
    let code = |path: &Expression| text(path, record, names).filter(|code| is_code(code));
    Ok(Some(Shown {
        id,
        url: seen.url.as_ref().and_then(|url| text(url, record, names)),
        asks,
        paused: match &seen.paused {
            Some(paused) => paused.holds(record, names)?,
            None => false,
        },
        says: seen.says.as_ref().and_then(code),
        life: life(seen.ends.as_ref(), record, names, answer, now),
    }))
}

/// A code: short, without spaces. A sentence may hold values.
fn is_code(text: &str) -> bool {
    text.len() <= 64 && text.chars().all(|it| it.is_ascii_alphanumeric() || "_-.:/".contains(it))
}
