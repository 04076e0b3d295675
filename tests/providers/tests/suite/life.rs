//! A record's life at each provider: listed, created, changed, deleted; each told once, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tributary_connectors::engine::listing::Ended;
use tributary_providers::{ROWS, Sim};
use tributary_schemas::{record_id, resource::Resource};

use crate::account::Account;

/// Records of a kind to begin with.
const FIRST: usize = 5;

/// The truth at a provider: by kind and the simulator's id, ours.
type Truth = BTreeMap<(String, String), String>;

impl Account {
    /// The kinds that the simulator has of this provider, those that others stand in first.
    pub(crate) async fn kinds(&self) -> Vec<String> {
        let all = self.sim.control("GET", "providers", &Value::Null).await.unwrap();
        let mine = all.as_array().unwrap().iter().find(|it| it["provider"] == self.row.provider).unwrap();
        let kinds = mine["kinds"].as_array().unwrap().iter();
        kinds.map(|kind| kind["resource"].as_str().unwrap().to_owned()).collect()
    }

    /// The resources that show a kind's records, if the definition has any.
    pub(crate) fn seen_as(&self, kind: &str) -> Vec<Resource> {
        let also = self.row.also.iter().filter(|(of, _)| *of == kind).map(|(_, as_)| *as_);
        let all = std::iter::once(kind).chain(also);
        all.map(|name| name.parse::<Resource>().unwrap()).filter(|it| self.books.contains_key(it)).collect()
    }

    async fn records(&self, kind: &str) -> Vec<(String, Value)> {
        let path = self.tenant.path(&format!("records/{kind}"));
        let all = self.sim.control("GET", &path, &Value::Null).await.unwrap();
        let all = all.as_array().unwrap().iter();
        all.map(|it| (it["id"].as_str().unwrap().to_owned(), it["body"].clone())).collect()
    }

    pub(crate) async fn truth(&self) -> Truth {
        let mut truth = Truth::new();
        for kind in self.kinds().await {
            for (id, body) in self.records(&kind).await {
                let ours = self.our_id(&kind, &id, &body);
                truth.insert((kind.clone(), id), ours);
            }
        }
        truth
    }

    fn our_id(&self, kind: &str, id: &str, body: &Value) -> String {
        match self.row.ids.iter().find(|(of, _)| *of == kind) {
            None => id.to_owned(),
            Some((_, paths)) => {
                let part = |path: &&str| {
                    if let Some(text) = path.strip_prefix('=') {
                        return text.replace("{id}", id);
                    }
                    let value = path.split('.').fold(body, |value, step| &value[step]);
                    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
                };
                let parts: Vec<String> = paths.iter().map(part).collect();
                record_id::join(parts.iter().map(String::as_str))
            }
        }
    }

    /// Makes a record; the simulator's id. The `turn`-th of a kind may stand in the `turn`-th of another.
    pub(crate) async fn make(&self, kind: &str, turn: usize) -> (String, Vec<Change>) {
        let mut body = serde_json::json!({});
        if let Some((_, made)) = self.row.made.iter().find(|(of, _)| *of == kind) {
            body = serde_json::from_str(&made.replace("{nn}", &format!("{:02}", turn + 1))).unwrap();
            for value in body.as_object_mut().unwrap().values_mut() {
                let of = value.as_str().and_then(|it| it.strip_prefix('{')?.strip_suffix('}'));
                if let Some(of) = of.map(str::to_owned) {
                    let all = self.records(&of).await;
                    let id = &all[turn.min(all.len() - 1)].0;
                    *value = id
                        .parse::<u64>()
                        .ok()
                        .filter(|_| id.len() < 16)
                        .map_or(id.as_str().into(), Value::from);
                }
            }
        }
        let changes = self.change("POST", kind, "", &body).await;
        (changes[0].id.clone(), changes)
    }

    pub(crate) async fn change(&self, method: &str, kind: &str, id: &str, body: &Value) -> Vec<Change> {
        let slash = if id.is_empty() { "" } else { "/" };
        let path = self.tenant.path(&format!("records/{kind}{slash}{id}"));
        let answer = self.sim.control(method, &path, body).await.unwrap();
        let changes = answer["changes"].as_array().unwrap().iter();
        changes
            .map(|change| {
                let event = change["hear"]["event"].as_str().unwrap();
                let (kind, action) = event.split_once('.').unwrap();
                Change { kind: kind.into(), action: action.into(), id: change["id"].as_str().unwrap().into() }
            })
            .collect()
    }

    /// How many of a kind there are to begin with: one fewer, so that the next has something to stand in, where it stands in
    /// one of another kind.
    fn first(&self, kind: &str) -> usize {
        let at = self.row.made.iter().position(|(of, _)| *of == kind);
        FIRST - at.map_or(0, |at| at + 1)
    }

    /// What a subscriber must hear of changes, as [`Account::poll`] says it.
    fn must_hear(&self, changes: &[Change], truth: &Truth) -> BTreeSet<String> {
        let hear = |change: &Change| {
            let id =
                truth.get(&(change.kind.clone(), change.id.clone())).cloned().unwrap_or(change.id.clone());
            let (kind, action) = (change.kind.clone(), change.action.clone());
            let event = format!("{kind}.{action}");
            let unseen = self.row.unseen.iter().any(|(what, _)| *what == kind || *what == event);
            let seen = if unseen { Vec::new() } else { self.seen_as(&kind) };
            seen.into_iter().map(move |resource| format!("{resource} {action} {id}"))
        };
        changes.iter().flat_map(hear).collect()
    }

    /// Polls what must be heard of: the changes, then, as long as something is missing, everything, twice.
    async fn hear(&mut self, must: &BTreeSet<String>, step: &str) -> Result<(), String> {
        let mut heard = Vec::new();
        let resources: BTreeSet<Resource> =
            must.iter().map(|it| it.split(' ').next().unwrap().parse().unwrap()).collect();
        for full in [false, true, true] {
            for resource in &resources {
                let missing = must.iter().any(|it| it.starts_with(resource.name()) && !heard.contains(it));
                if !full || missing {
                    let (run, told) = self.poll(*resource, full).await;
                    if let Ended::Failed(failure) = &run.ended {
                        return Err(format!("{step}: {resource}: {failure:?}"));
                    }
                    heard.extend(told);
                }
            }
        }
        let told: BTreeSet<String> = heard.iter().cloned().collect();
        if told != *must || told.len() != heard.len() {
            return Err(format!("{step}: must be heard {must:?}, was heard {heard:?}"));
        }
        Ok(())
    }

    /// Makes the first records of every kind, and lists them.
    pub(crate) async fn begin(&mut self) -> Result<(), String> {
        for kind in self.kinds().await {
            for turn in 0..self.first(&kind) {
                self.make(&kind, turn).await;
            }
            if self.seen_as(&kind).is_empty() && !self.row.unseen.iter().any(|(what, _)| *what == kind) {
                return Err(format!("no resource shows {kind}"));
            }
        }
        let truth = self.truth().await;
        let resources: Vec<Resource> = self.books.keys().copied().collect();
        let mut wrong = Vec::new();
        for resource in resources {
            let (run, _) = self.poll(resource, true).await;
            match &run.ended {
                Ended::Failed(failure) => {
                    wrong.push(format!("{resource}: {failure:?}"));
                    continue;
                }
                Ended::Complete(complete) if !complete.partial.is_empty() => {
                    wrong.push(format!("{resource}: partial {:?}", complete.partial));
                }
                Ended::Complete(_) => {}
            }
            let book = &self.books[&resource];
            if !book.unread.is_empty() {
                wrong.push(format!("{resource}: unread {:?}", book.unread));
            }
            let is = |kind: &str| self.seen_as(kind).contains(&resource);
            let unseen = |kind: &str| self.row.unseen.iter().any(|(what, _)| *what == kind);
            let all: BTreeSet<&String> =
                truth.iter().filter(|((kind, _), _)| is(kind) && !unseen(kind)).map(|(_, id)| id).collect();
            let known: BTreeSet<&String> = book.known.keys().collect();
            if !all.is_empty() && all != known {
                wrong.push(format!("{resource}: there is {all:?}, was listed {known:?}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n  ")) }
    }

    /// A record of each kind lives and dies.
    async fn live(&mut self) -> Result<(), String> {
        let mut wrong = Vec::new();
        for kind in self.kinds().await {
            let (id, made) = self.make(&kind, self.first(&kind)).await;
            let truth = self.truth().await;
            let body = self.row.changes.iter().find(|(of, _)| *of == kind).map(|(_, body)| *body);
            let body = body.map_or(Value::Null, |body| serde_json::from_str(body).unwrap());
            let heard = self.hear(&self.must_hear(&made, &truth), &format!("{kind} created")).await;
            wrong.extend(heard.err());
            let changed = self.change("PATCH", &kind, &id, &body).await;
            let heard = self.hear(&self.must_hear(&changed, &truth), &format!("{kind} updated")).await;
            wrong.extend(heard.err());
            let deleted = self.change("DELETE", &kind, &id, &Value::Null).await;
            let heard = self.hear(&self.must_hear(&deleted, &truth), &format!("{kind} deleted")).await;
            wrong.extend(heard.err());
        }
        // And nothing beside.
        for resource in self.books.keys().copied().collect::<Vec<_>>() {
            for _ in 0..2 {
                let (_, told) = self.poll(resource, true).await;
                wrong.extend((!told.is_empty()).then(|| format!("{resource}: told at the end: {told:?}")));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n  ")) }
    }
}

/// What happened to a record at the simulator.
pub(crate) struct Change {
    kind: String,
    action: String,
    id: String,
}

/// The rows that a run is over: all, or those that `PROVIDERS` names.
pub(crate) fn chosen() -> Vec<&'static tributary_providers::Row> {
    let named = std::env::var("PROVIDERS").unwrap_or_default();
    let named: Vec<&str> = named.split([',', ' ']).filter(|it| !it.is_empty()).collect();
    ROWS.iter().filter(|row| named.is_empty() || named.contains(&row.provider)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_record_is_told_once_when_it_comes_changes_and_goes() {
    let sim = Sim::start().await.unwrap();
    let lives = chosen().into_iter().map(|row| {
        let sim = sim.clone();
        let life = tokio::spawn(async move {
            let mut account = Account::link(&sim, row, "acme").await;
            account.begin().await?;
            account.live().await
        });
        (row.provider, life)
    });
    let mut wrong = Vec::new();
    for (provider, life) in lives.collect::<Vec<_>>() {
        match life.await {
            Ok(Ok(())) => {}
            Ok(Err(words)) => wrong.push(format!("{provider}:\n  {words}")),
            Err(panic) => wrong.push(format!("{provider}: {panic}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
