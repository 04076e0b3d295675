//! A run through a resource: its listing, and the digest of each record that it names.
//!
//! It says what to do next ([`Run::next`]) and is told what came of it; what it has read is taken after that
//! ([`Run::take`]), in the order in which it was told: of the same id the later counts. Records are in memory only from one
//! answer to the next, unless they are asked for ([`Keep::Records`]).

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::{Map, Value as Json};
use tributary_schemas::{
    observation::{Content, Listed, Tombstone},
    resource::Resource as Unified,
    time::Timestamp,
};

use super::{
    Trouble,
    auth::{Credentials, Session},
    connector::Connector,
    listing::{Complete, Ended, Found, Listing, Most, Next, Resource, RunScope, What},
    outcome::Answer,
    projection::Keyed,
};

/// Kinds of trouble with records that a run tells apart; of more it counts only how many records had some.
const TROUBLES_MOST: usize = 20;

/// What a run asks for, and by whom it is asked.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Which resource.
    pub resource: Unified,
    /// Everything, or what changed.
    pub scope: RunScope,
    /// What logging in and requests need.
    pub credentials: &'a Credentials,
    /// What it may cost.
    pub most: Most,
    /// When it begins.
    pub begun: Timestamp,
}

/// How records are hashed, and whether they are kept.
#[derive(Debug, Clone)]
pub struct Digests {
    /// The account's key.
    pub key: Keyed,
    /// Fields that the project leaves out.
    pub ignored: Vec<String>,
    /// Whether records are kept beside their digests.
    pub keep: Keep,
}

/// Whether records are kept beside their digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// Their digests alone: what polling keeps.
    Digests,
    /// The unified records too, for whose project's record ids begin so.
    Records {
        /// The beginning.
        id_prefix: String,
    },
}

/// What a run was told of a record. `Debug` shows ids only.
#[derive(Clone, PartialEq)]
pub enum Sighting {
    /// It is there; the unified record, where it is kept.
    Listed(Listed, Option<Map<String, Json>>),
    /// It is gone.
    Gone(Tombstone),
}

impl fmt::Debug for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(Listed { remote_id, content: Content::Hash(_) }, _) => write!(f, "{remote_id}"),
            Self::Listed(Listed { remote_id, content: Content::Unread }, _) => write!(f, "{remote_id}?"),
            Self::Gone(tombstone) => write!(f, "-{}", tombstone.remote_id),
        }
    }
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Answers that were read.
    pub answers: u64,
    /// Records and deletions that were told.
    pub sightings: u64,
}

/// A run under way.
#[derive(Debug)]
pub struct Run {
    listing: Listing,
    resource: Arc<Resource>,
    digests: Digests,
    delta: bool,
    progress: Progress,
    told: Vec<Sighting>,
    unread: u64,
    troubles: BTreeMap<String, u64>,
}

impl Run {
    /// A run that has asked for nothing yet; `None` where the connector does not list the resource.
    pub fn begin(connector: &Arc<Connector>, asked: Asked<'_>, digests: Digests) -> Option<Self> {
        let resource = Arc::clone(connector.resource(asked.resource)?);
        let delta = asked.scope != RunScope::Full;
        let listing =
            connector.list(asked.resource, asked.scope, asked.credentials, asked.most, asked.begun)?;
        Some(Self {
            listing,
            resource,
            digests,
            delta,
            progress: Progress::default(),
            told: Vec::new(),
            unread: 0,
            troubles: BTreeMap::new(),
        })
    }

    /// What to do next.
    #[expect(clippy::should_implement_trait, reason = "it is told answers between two calls")]
    pub fn next(&mut self) -> Next {
        let next = self.listing.next();
        for found in self.listing.take() {
            self.progress.sightings += 1;
            let sighting = self.sighted(found);
            self.told.push(sighting);
        }
        match next {
            Next::Done(Ended::Complete(complete)) => Next::Done(Ended::Complete(self.judged(complete))),
            next @ (Next::Request(_) | Next::Authorize(_) | Next::Wait(_) | Next::Done(Ended::Failed(_))) => {
                next
            }
        }
    }

    /// The session that requests go with from now on.
    pub fn authorize(&mut self, session: Session) {
        self.listing.authorize(session);
    }

    /// One can't log in, in words without values.
    pub fn unauthorized(&mut self, words: String) {
        self.listing.unauthorized(words);
    }

    /// The request had no answer.
    pub fn unanswered(&mut self, why: &str) {
        self.listing.unanswered(why);
    }

    /// The answer to the request.
    pub fn answer(&mut self, answer: Answer<'_>, now: Timestamp) {
        self.progress.answers += 1;
        self.listing.answer(answer, now);
    }

    /// What was told since this was called last.
    pub fn take(&mut self) -> Vec<Sighting> {
        std::mem::take(&mut self.told)
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// What was wrong with records that could not be read, in words without values, and how many had it.
    pub fn troubles(&self) -> impl Iterator<Item = (&str, u64)> {
        self.troubles.iter().map(|(words, count)| (words.as_str(), *count))
    }

    fn sighted(&mut self, found: Found) -> Sighting {
        let Found { remote_id, what } = found;
        let listed = |content| Listed { remote_id: remote_id.clone(), content };
        match what {
            What::Gone(deleted_at) => Sighting::Gone(Tombstone { remote_id, deleted_at }),
            What::Unread(trouble) => {
                self.note(&trouble);
                Sighting::Listed(listed(Content::Unread), None)
            }
            What::Record(record, parents) => {
                let Digests { key, ignored, keep } = &self.digests;
                let mapping = self.resource.mapping();
                let hash = mapping.hash(&record, parents.names(), ignored, key);
                let kept = match keep {
                    Keep::Digests => Ok(None),
                    Keep::Records { id_prefix } => mapping.map(&record, parents.names(), id_prefix).map(Some),
                };
                match hash.and_then(|hash| kept.map(|kept| (hash, kept))) {
                    Ok((hash, kept)) => Sighting::Listed(listed(Content::Hash(hash)), kept),
                    Err(trouble) => {
                        self.unread += 1;
                        self.note(&trouble);
                        Sighting::Listed(listed(Content::Unread), None)
                    }
                }
            }
        }
    }

    fn note(&mut self, trouble: &Trouble) {
        let words = trouble.to_string();
        if self.troubles.len() < TROUBLES_MOST || self.troubles.contains_key(&words) {
            *self.troubles.entry(words).or_default() += 1;
        }
    }

    /// A delta of which something could not be read or named is asked for again: it does not move the position.
    fn judged(&self, mut complete: Complete) -> Complete {
        complete.unread += self.unread;
        if self.delta && (complete.unread > 0 || !complete.partial.is_empty()) {
            complete.position = None;
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        definition::auth::Purpose,
        engine::{
            auth::{Step, Tokens},
            position::Position,
        },
    };

    const NOW: Timestamp = Timestamp::from_micros(1_795_579_000_000_000);

    fn connector(resource: &str) -> Arc<Connector> {
        let text = format!(
            "language: 1\nname: acme\ntitle: Acme\ncategory: crm\nsetup: {{ key: {{ label: Key, secret: true }} }}\n\
             auth: [{{ header: {{ x-key: $setup.key }} }}]\ndefaults: {{ base: https://acme.example, id: .id }}\n\
             resources:\n  crm_contacts:\n    list: {{ call: GET /c, query: {{ since: $since }}, records: .d }}\n    page: none\n{resource}"
        );
        Arc::new(Connector::read("acme.yaml", &text).unwrap_or_else(|error| panic!("{error}")))
    }

    /// What a run makes of one answer.
    fn play(
        connector: &Arc<Connector>,
        scope: RunScope,
        keep: Keep,
        body: &str,
    ) -> (Vec<Sighting>, Complete, Run) {
        let setup = BTreeMap::from([("key".to_owned(), "k".to_owned())]);
        let credentials = connector.credentials(&setup, &BTreeMap::new()).unwrap();
        let asked = Asked {
            resource: Unified::CrmContacts,
            scope,
            credentials: &credentials,
            most: Most { pages: 10, held: 1 << 20 },
            begun: NOW,
        };
        let digests = Digests { key: Keyed::new(&[7; 32]), ignored: Vec::new(), keep };
        let mut run = Run::begin(connector, asked, digests).unwrap();
        loop {
            match run.next() {
                Next::Authorize(refused) => {
                    let step = connector.step(
                        Purpose::List,
                        &credentials,
                        &Tokens::default(),
                        refused.as_ref(),
                        NOW,
                    );
                    match step.unwrap() {
                        Step::Use(session) => run.authorize(session),
                        Step::Ask(_) => panic!("no login here"),
                    }
                }
                Next::Request(request) => {
                    assert!(request.headers.contains(&("x-key".into(), "k".into())));
                    run.answer(Answer { status: 200, headers: &[], body: body.as_bytes() }, NOW);
                }
                Next::Wait(_) => {}
                Next::Done(Ended::Complete(complete)) => return (run.take(), complete, run),
                Next::Done(Ended::Failed(failure)) => panic!("{failure:?}"),
            }
        }
    }

    const MAP: &str = "    map: { first_name: .name, company_name: .odd }\n";
    const CHANGED: &str =
        "    map: { first_name: .name }\n    changed: { time: rfc3339 }\n    gone: { when: .dead }\n";

    fn since() -> RunScope {
        RunScope::Changes(Position::Since { begun: NOW, covered: None, gone_covered: None })
    }

    #[test]
    fn records_are_hashed_as_they_come_and_kept_only_where_asked() {
        let acme = connector("    map: { first_name: .name }\n");
        let body = r#"{"d":[{"id":1,"name":"Ada","x":1},{"id":2,"name":"Bo"}]}"#;
        let (told, complete, run) = play(&acme, RunScope::Full, Keep::Digests, body);
        assert_eq!(format!("{told:?}"), "[1, 2]");
        assert!(complete.doubts.is_empty() && complete.partial.is_empty() && complete.unread == 0);
        assert_eq!(run.progress(), Progress { answers: 1, sightings: 2 });
        let Sighting::Listed(Listed { content: Content::Hash(one), .. }, None) = &told[0] else { panic!() };
        // Another field of the record, and another order, are no change.
        let again = r#"{"d":[{"x":2,"name":"Ada","id":1}]}"#;
        let keep = Keep::Records { id_prefix: "tr1!".into() };
        let (told, ..) = play(&acme, RunScope::Full, keep, again);
        let Sighting::Listed(Listed { content: Content::Hash(hash), .. }, Some(record)) = &told[0] else {
            panic!()
        };
        assert_eq!((hash, record["first_name"].as_str()), (one, Some("Ada")));
    }

    #[test]
    fn a_record_that_cannot_be_mapped_exists_and_holds_a_delta_back() {
        let acme = connector(CHANGED);
        let good = r#"{"d":[{"id":1,"name":"Ada"},{"id":2,"dead":true},{"id":1,"name":"Bo"}]}"#;
        let (told, complete, _) = play(&acme, since(), Keep::Digests, good);
        assert_eq!(format!("{told:?}"), "[1, -2, 1]", "as it was told: the later counts");
        assert!(complete.position.is_some());
        let bad = r#"{"d":[{"id":1,"name":"Ada"},{"id":2,"name":{"first":"Secretname"}}]}"#;
        let (told, complete, run) = play(&acme, since(), Keep::Digests, bad);
        assert_eq!(format!("{told:?}"), "[1, 2?]");
        assert_eq!((complete.unread, complete.position.is_some()), (1, false), "it is asked for again");
        let troubles: Vec<_> = run.troubles().collect();
        assert!(
            troubles.len() == 1
                && troubles[0].0.contains("first_name")
                && !troubles[0].0.contains("Secretname"),
            "{troubles:?}"
        );
        let nameless = r#"{"d":[{"id":1,"name":"Ada"},{"name":"Bo"}]}"#;
        let (_, complete, _) = play(&acme, since(), Keep::Digests, nameless);
        assert_eq!((complete.nameless, complete.position.is_some()), (1, false), "who it was is not known");
        let (_, complete, _) = play(&acme, RunScope::Full, Keep::Digests, bad);
        assert!(complete.position.is_some(), "a full run has listed everything");
    }

    #[test]
    fn identity_and_content_are_told_apart() {
        let version = |resource: &str, ignored: &[String]| {
            connector(resource).resource(Unified::CrmContacts).unwrap().projection(ignored)
        };
        let base = version(MAP, &[]);
        assert_eq!(version(&format!("{MAP}    every: 2h\n    changed: {{ time: rfc3339 }}\n"), &[]), base);
        assert_eq!(
            version("    map: { company_name: .odd, first_name: .name }\n", &[]),
            base,
            "keys have no order"
        );
        for (change, ignored) in [
            ("    map: { first_name: .title }\n".to_owned(), vec![]),
            (format!("{MAP}    volatile: [first_name]\n"), vec![]),
            (MAP.to_owned(), vec!["first_name".to_owned()]),
            (format!("{MAP}    enrich: [{{ call: GET /e, into: more }}]\n"), vec![]),
        ] {
            let changed = version(&change, &ignored);
            assert!(changed.identity == base.identity && changed.content != base.content, "{change}");
        }
        for change in [
            format!("{MAP}    where: .name\n"),
            format!("{MAP}    id: .uid\n"),
            format!("{MAP}    gone: {{ when: .dead }}\n"),
            format!("{MAP}    over: [{{ each: [a, b], as: kind }}]\n"),
            format!("{MAP}    with: {{ a: b }}\n"),
        ] {
            let changed = version(&change, &[]);
            assert!(changed.identity != base.identity && changed.content == base.content, "{change}");
        }
    }
}
