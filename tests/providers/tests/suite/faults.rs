//! What a provider does wrong: each fault, in a full run and in a run of changes, tells nothing that is not so, ends, ends as
//! it should, and costs no event once it is over.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tributary_connectors::engine::listing::{Ended, FailureKind};
use tributary_providers::{Row, Sim, row};
use tributary_schemas::resource::Resource;

use crate::{account::Account, book::Run, life::chosen};

/// How a run may end under a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum May {
    /// Whole: the fault was got over.
    End,
    /// Whole, but not believed about absence.
    Doubt,
    Fail(FailureKind),
}

use FailureKind::{BadAnswer, Endless, Expired, Forbidden, Restart, Unreachable};
use May::{Doubt, End, Fail};

/// A fault's name, what the simulator is told, and how a run may end that it bit.
type Fault = (&'static str, Value, &'static [May]);

/// What no reader can tell from records that went: a cursor that its provider keeps in order, and did not, or that says it is
/// at its end, and is not. What went wrong heals with the next run, and how much is bounded by the share that a run may lose
/// (which the poller holds, not the engine).
const LIES: [&str; 2] = ["is empty from page 2 on", "turns its order"];

/// A fault, as the simulator is told of it, and how a run may end that it bit.
fn faults() -> Vec<Fault> {
    vec![
        ("breaks once", json!({"fault": "break", "at": 1}), &[End, Doubt]),
        ("breaks at page 2", json!({"fault": "break", "at": 2, "status": 503}), &[End, Doubt]),
        (
            "stays broken",
            json!({"fault": "break", "at": 2, "times": 0}),
            &[Fail(Unreachable), Fail(BadAnswer), Doubt],
        ),
        (
            "repeats a cursor",
            json!({"fault": "repeat_cursor", "at": 2, "times": 0}),
            &[Fail(Endless), End, Doubt],
        ),
        ("its token ends", json!({"fault": "expire_token", "at": 2}), &[End, Doubt]),
        (
            "loses a scope",
            json!({"fault": "lose_scope", "at": 2, "times": 0}),
            &[Fail(Forbidden), Fail(FailureKind::Unauthorized), Doubt],
        ),
        ("is empty", json!({"fault": "empty", "at": 1}), &[End, Doubt]),
        ("is empty from page 2 on", json!({"fault": "empty", "at": 2, "times": 0}), &[End, Doubt]),
        (
            "turns its order",
            json!({"fault": "order", "at": 2}),
            &[End, Doubt, Fail(BadAnswer), Fail(Endless)],
        ),
        ("deletes in mid-scan", json!({"fault": "skip_while_deleting", "at": 2}), &[End, Doubt]),
        ("is late", json!({"fault": "delay", "at": 1, "milliseconds": 30}), &[End, Doubt]),
        (
            "is a year ahead",
            json!({"fault": "date", "at": 1, "times": 0, "seconds": 34_560_000}),
            &[End, Doubt],
        ),
        ("is hours behind", json!({"fault": "date", "at": 1, "times": 0, "seconds": -10_800}), &[End, Doubt]),
        ("is limited", json!({"fault": "limited", "at": 2, "seconds": 7}), &[End, Doubt]),
        (
            "is limited until a date",
            json!({"fault": "limited", "at": 1, "seconds": 7, "retry_after": "date"}),
            &[End, Doubt],
        ),
        (
            "is limited until a moment",
            json!({"fault": "limited", "at": 1, "seconds": 7, "retry_after": "epoch"}),
            &[End, Doubt],
        ),
        (
            "is limited without a word",
            json!({"fault": "limited", "at": 1, "seconds": 7, "retry_after": "none"}),
            &[End, Doubt],
        ),
        ("breaks off in a body", json!({"fault": "half_body", "at": 2}), &[End, Doubt]),
        (
            "says well and means ill",
            json!({"fault": "error_body", "at": 2}),
            &[Fail(BadAnswer), Fail(Unreachable), Doubt],
        ),
        ("shows a page for people", json!({"fault": "html", "at": 1}), &[Fail(BadAnswer), Doubt]),
        ("counts wrongly", json!({"fault": "total", "at": 1, "times": 0, "by": 7}), &[End, Doubt]),
        (
            "forgets its cursors",
            json!({"fault": "forget_cursors", "at": 2}),
            &[End, Doubt, Fail(Expired), Fail(Restart), Fail(BadAnswer)],
        ),
    ]
}

fn ended(run: &Run) -> May {
    match &run.ended {
        Ended::Complete(complete)
            if complete.partial.is_empty() && complete.unread == 0 && complete.doubts.is_empty() =>
        {
            End
        }
        Ended::Complete(_) => Doubt,
        Ended::Failed(failure) => Fail(failure.kind),
    }
}

impl Account {
    /// The ids that a resource has in truth.
    async fn there(&self, resource: Resource) -> BTreeSet<String> {
        let truth = self.truth().await;
        let is = |kind: &str| self.seen_as(kind).contains(&resource);
        truth.into_iter().filter(|((kind, _), _)| is(kind)).map(|(_, id)| id).collect()
    }

    /// A fault at a resource; what was wrong with what became of it.
    async fn suffer(
        &mut self,
        resource: Resource,
        full: bool,
        fresh: bool,
        fault: &Fault,
    ) -> Result<bool, String> {
        let (name, fault, may) = fault;
        let kind = resource.name();
        let plain =
            self.kinds().await.iter().any(|it| it == kind) && self.row.made.iter().all(|(of, _)| *of != kind);
        if plain && !full && fresh {
            self.make(kind, 0).await;
        }
        let before: BTreeSet<String> = self.books[&resource].known.keys().cloned().collect();
        self.sim.fault(&self.tenant, fault).await.map_err(|it| it.to_string())?;
        let (run, told) = self.poll(resource, full).await;
        let bitten = self.sim.heal(&self.tenant).await.map_err(|it| it.to_string())?;
        let how = ended(&run);
        if bitten > 0 && !may.contains(&how) {
            return Err(format!("ended as {how:?}: {:?}", run.ended));
        }
        // It is over: what changed is heard now, and nothing else.
        let (mut heard, mut sure) = (told, false);
        for (at, full) in [false, true, true, true].into_iter().enumerate() {
            if at > 1 && sure && self.books[&resource].is_settled() {
                break;
            }
            let (run, told) = self.poll(resource, full).await;
            if let Ended::Failed(failure) = &run.ended
                && (full || failure.kind != Expired)
            {
                return Err(format!("afterwards: {failure:?}"));
            }
            if let Ended::Failed(_) = &run.ended {
                self.books.get_mut(&resource).map(|book| book.position.take());
            }
            sure = ended(&run) == End;
            heard.extend(told);
        }
        let there = self.there(resource).await;
        // What is made of another resource's records moves with those: its life is the other's.
        if self.kinds().await.iter().all(|kind| !self.seen_as(kind).contains(&resource)) {
            return Ok(bitten > 0);
        }
        let mut must: Vec<String> =
            there.difference(&before).map(|id| format!("{resource} created {id}")).collect();
        must.extend(before.difference(&there).map(|id| format!("{resource} deleted {id}")));
        if LIES.contains(name) {
            let known: BTreeSet<String> = self.books[&resource].known.keys().cloned().collect();
            return if known == there { Ok(bitten > 0) } else { Err("does not heal".into()) };
        }
        heard.sort();
        must.sort();
        if heard != must {
            return Err(format!("must be heard {must:?}, was heard {heard:?}"));
        }
        Ok(bitten > 0)
    }

    /// Every fault at every resource; how many bit.
    async fn suffer_all(&mut self) -> Result<usize, String> {
        self.begin().await?;
        let (mut wrong, mut bitten) = (Vec::new(), 0);
        for resource in self.books.keys().copied().collect::<Vec<_>>() {
            for (at, fault) in faults().into_iter().enumerate() {
                for full in [false, true] {
                    match self.suffer(resource, full, at % 3 == 0, &fault).await {
                        Ok(bit) => bitten += usize::from(bit),
                        Err(words) => {
                            let run = if full { "a full run" } else { "changes" };
                            wrong.push(format!("{resource} {}, {run}: {words}", fault.0));
                            self.begin_anew().await;
                        }
                    }
                }
            }
            // The last fault was that all positions were forgotten, those of the others too.
            self.books.values_mut().for_each(|book| drop(book.position.take()));
        }
        if wrong.is_empty() { Ok(bitten) } else { Err(wrong.join("\n  ")) }
    }

    /// Takes everything over in silence, so that what went wrong is not seen again with the next fault.
    async fn begin_anew(&mut self) {
        let _ = self.sim.heal(&self.tenant).await;
        for resource in self.books.keys().copied().collect::<Vec<_>>() {
            self.books.insert(resource, crate::book::Book::default());
            self.poll(resource, true).await;
        }
    }
}

async fn over(rows: Vec<&'static Row>) {
    let sim = Sim::start().await.unwrap();
    let all = rows.into_iter().map(|row| {
        let sim = sim.clone();
        let all = tokio::spawn(async move { Account::link(&sim, row, "acme").await.suffer_all().await });
        (row.provider, all)
    });
    let mut wrong = Vec::new();
    for (provider, all) in all.collect::<Vec<_>>() {
        match all.await {
            Ok(Ok(bitten)) => assert!(bitten > 0, "{provider}: no fault bit"),
            Ok(Err(words)) => wrong.push(format!("{provider}:\n  {words}")),
            Err(panic) => wrong.push(format!("{provider}: {panic}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One provider for each way of paging and each kind of delta.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute"]
async fn no_fault_does_harm_to_any_way_of_paging() {
    let kinds = [
        "hibob",           // one answer; no delta
        "bamboohr",        // page numbers; by time, with a feed of deletions
        "recruitee",       // offset; by time
        "hubspot",         // cursor; by time, capped, with deletions listed
        "ashby",           // cursor; by token
        "personio",        // the next URL in the answer; by time
        "360learning",     // Link; by time
        "microsoft_graph", // the next URL; by token, with tombstones
    ];
    over(kinds.iter().filter_map(|name| row(name)).collect()).await;
}

/// All faults at all providers: `cargo test -p tributary-providers -- --ignored`; `PROVIDERS=lever,box` chooses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn no_fault_does_harm_to_any_provider() {
    over(chosen()).await;
}
