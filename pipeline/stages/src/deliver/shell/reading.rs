//! What heads and sweeps bring.

use tributary_core::deliver::record::{LogKind, Reader};

use super::{super::logs::Read, *};
use crate::kafka::Incoming;

/// Foreign records that a sweep passes before the machine hears of it.
const PASSED: i64 = 1_024;

impl Shell {
    /// Begins to read a partition at its head.
    pub(super) fn read(&mut self, tenure: TenureId, from: i64) {
        if let Some(held) = self.tenures.get(&tenure) {
            self.member.begin(held.at.clone(), from);
        }
    }

    /// The head brings a record.
    pub(super) fn record(&mut self, incoming: Incoming) {
        let Some(Some(tenure)) = self.ours.get(&incoming.at).copied() else { return };
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        let offset = incoming.offset;
        match self.logs.read(held.kind, &incoming) {
            Err(reason) => {
                held.sets_aside(offset);
                let (work, at) = (self.work.clone(), incoming.at);
                self.spawn(async move {
                    work.set_unread_aside(&at, offset, &reason).await;
                    Said::SetAside { tenure, offset }
                });
                self.feed(Input::HeadAt { tenure, next: offset + 1 });
            }
            Ok(Read { record, due }) => {
                if let Some(webhook) = &record.to {
                    self.subscribers.belongs(webhook, &record.event.project);
                }
                let early = due.filter(|due| *due > now() || !held.early.is_empty());
                if let Some(due) = early {
                    if held.early.is_empty() {
                        self.member.hold(&held.at);
                    }
                    held.early.push_back((due, record));
                } else {
                    held.given = offset + 1;
                    self.feed(Input::Head { tenure, record });
                }
            }
        }
    }

    /// What was read too early has come due.
    pub(super) fn come_due(&mut self) {
        let now = now();
        let waiting = self.tenures.iter().filter(|(_, it)| !it.early.is_empty());
        for tenure in waiting.map(|(tenure, _)| *tenure).collect::<Vec<_>>() {
            while let Some(held) = self.tenures.get_mut(&tenure)
                && held.early.front().is_some_and(|(due, _)| *due <= now)
                && let Some((_, record)) = held.early.pop_front()
            {
                held.given = record.offset + 1;
                if held.early.is_empty() {
                    self.member.release(&held.at);
                }
                self.feed(Input::Head { tenure, record });
            }
        }
    }

    /// Begins a sweep.
    pub(super) fn sweep(&mut self, tenure: TenureId, number: u64, from: i64) {
        let Some(held) = self.tenures.get(&tenure) else { return };
        match self.sweeper.sweep(number, held.at.clone(), from) {
            Ok(reading) => {
                self.sweeps.insert(number, Sweep { tenure, reading, passed: from, told: from });
            }
            // Without a reader there is nothing to be done but to begin anew.
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "a sweep can't be made");
                let at = held.at.clone();
                self.lose(tenure);
                self.reclaim(at);
            }
        }
    }

    /// A sweep brings something.
    pub(super) fn swept(&mut self, number: u64, swept: Swept) {
        let Some(sweep) = self.sweeps.get_mut(&number) else { return };
        let tenure = sweep.tenure;
        let Some(held) = self.tenures.get(&tenure) else { return };
        let (incoming, at) = match swept {
            Swept::To(at) => return self.feed(Input::SweptTo { tenure, sweep: number, at }),
            Swept::Gone(to) => return self.feed(Input::Expired { tenure, sweep: Some(number), to }),
            Swept::Record(incoming) => {
                let at = incoming.offset + 1;
                (incoming, at)
            }
        };
        if is_foreign(&self.machine, held.kind, &incoming) {
            ::metrics::counter!(metrics::SWEPT, "kind" => "foreign").increment(1);
            sweep.passed = at;
            if sweep.passed - sweep.told >= PASSED {
                sweep.told = sweep.passed;
                self.feed(Input::SweptTo { tenure, sweep: number, at });
            }
            return;
        }
        ::metrics::counter!(metrics::SWEPT, "kind" => "wanted").increment(1);
        sweep.told = at;
        let input = match self.logs.read(held.kind, &incoming) {
            // The head has set it aside.
            Err(_) => Input::SweptTo { tenure, sweep: number, at },
            // A sweep never comes past the head, which waits for this one.
            Ok(Read { record, due }) if record.offset >= held.given && due.is_some_and(|it| it > now()) => {
                Input::SweptTo { tenure, sweep: number, at: record.offset }
            }
            Ok(Read { record, .. }) => Input::Swept { tenure, sweep: number, record },
        };
        self.feed(input);
    }

    /// Looks up the first record that was written at or after a time.
    pub(super) fn look_up(&mut self, tenure: TenureId, reader: Reader, at: Timestamp, next: i64) {
        let Some(held) = self.tenures.get(&tenure) else { return };
        let (place, first_since) = (held.at.clone(), Arc::new(self.member.first_since()));
        // A broker's milliseconds are rounded down.
        let millis = at.as_micros().div_euclid(1_000).max(0);
        self.spawn_in(held.gone.clone(), async move {
            let found = until_done("look up", || {
                let (place, first_since) = (place.clone(), first_since.clone());
                async move { tokio::task::spawn_blocking(move || first_since(&place, millis)).await? }
            });
            let offset = found.await;
            Said::Input(Input::Found { tenure, reader, at, offset, next })
        });
    }

    pub(super) fn expired(&self, tenure: TenureId, reader: Option<Reader>, from: i64, to: i64) {
        let Some(held) = self.tenures.get(&tenure) else { return };
        let (topic, partition) = (&*held.at.topic, held.at.partition);
        let label = if reader.is_some() { "webhook" } else { "head" };
        let reader = reader.map(|it| it.to_string());
        tracing::error!(topic, partition, reader, from, to, "records are gone before they were read");
        let count = u64::try_from(to - from).unwrap_or(0);
        ::metrics::counter!(metrics::EXPIRED, "kind" => label).increment(count);
    }
}

/// Whether nobody here wants any event of the record's project; told by its headers, without decoding it.
fn is_foreign(machine: &Process, kind: LogKind, incoming: &Incoming) -> bool {
    let header = incoming.headers.iter().find(|(name, _)| name == "project_id");
    let project = header.and_then(|(_, value)| std::str::from_utf8(value).ok());
    matches!(kind, LogKind::Events(_)) && project.is_some_and(|it| !machine.has_webhooks(it))
}
