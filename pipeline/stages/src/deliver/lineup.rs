//! Who stands behind whom, in this process: the deliveries of a line that were read and are not settled, each behind the
//! one that was read before it. Joining is synchronous, so tasks that run at the same time can't overtake; leaving is
//! dropping, so nobody waits for a task that has ended in whatever way; a line that nobody stands in takes no room.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio_util::sync::CancellationToken;
use tributary_schemas::{delivery::Line, id::Sequence};

/// The last of each line. `N` is what is noted of a delivery for the one behind it.
#[derive(Debug)]
pub(super) struct Lineup<N> {
    last: Arc<Mutex<HashMap<Line, Arc<Member<N>>>>>,
}

/// A delivery in its line.
#[derive(Debug)]
pub(super) struct Member<N> {
    pub(super) sequence: Sequence,
    /// What the one behind may have to know, or to write.
    pub(super) note: tokio::sync::Mutex<N>,
    left: CancellationToken,
}

/// A place in a line, held until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<N> {
    lineup: Lineup<N>,
    line: Line,
    own: Arc<Member<N>>,
    before: Option<Arc<Member<N>>>,
}

impl<N> Default for Lineup<N> {
    fn default() -> Self {
        Self { last: Arc::default() }
    }
}

impl<N> Lineup<N> {
    /// Takes the place behind the last of the line.
    pub(super) fn join(&self, line: Line, sequence: Sequence, note: N) -> Turn<N> {
        let own = Arc::new(Member { sequence, note: note.into(), left: CancellationToken::new() });
        let before = self.last().insert(line.clone(), own.clone());
        Turn { lineup: Self { last: self.last.clone() }, line, own, before }
    }

    fn last(&self) -> MutexGuard<'_, HashMap<Line, Arc<Member<N>>>> {
        self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<N> Turn<N> {
    /// Returns when the one before has left.
    pub(super) async fn come(&mut self) {
        if let Some(before) = &self.before {
            before.left.cancelled().await;
            self.before = None;
        }
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    pub(super) fn own(&self) -> &Member<N> {
        &self.own
    }

    /// The one before, unless our turn has come.
    pub(super) fn before(&self) -> Option<&Member<N>> {
        self.before.as_deref()
    }
}

impl<N> Drop for Turn<N> {
    fn drop(&mut self) {
        let mut last = self.lineup.last();
        if last.get(&self.line).is_some_and(|it| Arc::ptr_eq(it, &self.own)) {
            last.remove(&self.line);
        }
        drop(last);
        self.own.left.cancel();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tributary_schemas::{id::RecordKey, resource::Resource};

    use super::*;

    fn line(record: u8) -> Line {
        Line {
            webhook: "w".parse().unwrap(),
            account: "a".parse().unwrap(),
            resource: Resource::HrisEmployees,
            record: RecordKey([record; 16]),
        }
    }

    fn has_come(turn: &mut Turn<()>) -> bool {
        turn.come().now_or_never().is_some()
    }

    #[test]
    fn each_comes_when_the_one_before_has_left_and_lines_do_not_wait_for_each_other() {
        let lineup = Lineup::default();
        let mut turns: Vec<_> = [1, 2, 3].map(|n| Some(lineup.join(line(0), Sequence(n), ()))).into();
        let mut other = lineup.join(line(1), Sequence(9), ());
        let come = |turns: &mut Vec<Option<Turn<()>>>| -> Vec<bool> {
            turns.iter_mut().map(|turn| turn.as_mut().is_some_and(has_come)).collect()
        };
        assert!(has_come(&mut other));
        assert_eq!(come(&mut turns), [true, false, false]);
        turns[0] = None;
        assert_eq!(come(&mut turns), [false, true, false]);
        assert_eq!(turns[2].as_ref().unwrap().before().unwrap().sequence, Sequence(2));
        turns[1] = None;
        assert_eq!(come(&mut turns), [false, false, true]);
        assert!(turns[2].as_ref().unwrap().before().is_none());
    }

    #[test]
    fn a_line_that_nobody_stands_in_takes_no_room() {
        let lineup = Lineup::default();
        let (first, second) = (lineup.join(line(0), Sequence(1), ()), lineup.join(line(0), Sequence(2), ()));
        drop(first);
        assert_eq!(lineup.last().len(), 1);
        drop(second);
        assert_eq!(lineup.last().len(), 0);
        assert!(has_come(&mut lineup.join(line(0), Sequence(3), ())));
    }

    #[test]
    fn who_has_come_keeps_nobody_in_memory() {
        let lineup = Lineup::default();
        let first = lineup.join(line(0), Sequence(1), ());
        let gone = Arc::downgrade(&first.own);
        let mut second = lineup.join(line(0), Sequence(2), ());
        drop(first);
        assert!(has_come(&mut second));
        assert_eq!(gone.strong_count(), 0);
    }
}
