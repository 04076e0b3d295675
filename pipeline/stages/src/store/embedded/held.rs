//! Parked deliveries in the embedded store. Nothing expires: what a delivery leaves is one short note.

use anyhow::Context;
use tributary_schemas::{delivery::Line, id::Sequence, time::Timestamp};

use super::{
    super::{Held, StoreError},
    EmbeddedStore, away, key,
};

/// What was noted of a delivery last: when, and until when it is parked, unless it is settled.
pub(super) struct Note {
    pub(super) at: Timestamp,
    pub(super) due: Option<Timestamp>,
}

impl EmbeddedStore {
    /// Notes it, unless something later is noted.
    pub(super) fn note(&self, line: &Line, sequence: Sequence, note: Note) -> Result<(), StoreError> {
        let _writing = self.writing();
        let place = [line_place(line), sequence.0.to_be_bytes().into()].concat();
        if let Some(held) = self.control.get(&place).map_err(away)?
            && read(&held)?.at > note.at
        {
            return Ok(());
        }
        let times = [Some(note.at), note.due].into_iter().flatten();
        let value: Vec<u8> = times.flat_map(|time| time.as_micros().to_be_bytes()).collect();
        self.control.insert(place, value).map_err(away)
    }

    pub(super) fn held_until(
        &self,
        line: &Line,
        until: Sequence,
        limit: usize,
    ) -> Result<Vec<Held>, StoreError> {
        let (prefix, mut held) = (line_place(line), Vec::new());
        for entry in self.control.prefix(&prefix) {
            let (place, value) = entry.into_inner().map_err(away)?;
            let Some(sequence) = place.last_chunk::<8>() else { continue };
            let sequence = Sequence(i64::from_be_bytes(*sequence));
            if let Some(due) = read(&value)?.due
                && sequence <= until
            {
                held.push(Held { sequence, due });
            }
        }
        held.sort_by_key(|it| std::cmp::Reverse(it.sequence));
        held.truncate(limit);
        Ok(held)
    }
}

fn read(value: &[u8]) -> Result<Note, StoreError> {
    let micros = |bytes: &[u8; 8]| Timestamp::from_micros(i64::from_be_bytes(*bytes));
    let (at, due) = value
        .split_first_chunk::<8>()
        .context("a note without its time")
        .map_err(StoreError::broken("reading held deliveries"))?;
    Ok(Note { at: micros(at), due: due.first_chunk().map(micros) })
}

/// All of a line's notes begin with this. The record key may hold zero bytes, but is always as long.
fn line_place(line: &Line) -> Vec<u8> {
    let (webhook, account) = (line.webhook.as_str().as_bytes(), line.account.as_str().as_bytes());
    key(&[b"held", webhook, account, line.resource.name().as_bytes(), &line.record.0])
}
