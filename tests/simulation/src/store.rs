//! The store: cells of which the later timestamp wins. Writes come late, in any order, twice, and from the dead.

use tributary_core::cells::{Cell, CellKey, Cells, Want};
use tributary_schemas::wal::Mutation;

use crate::world::{HOUR, SECOND, World};

/// Behind the end of the world.
const NEVER: i64 = 10 * HOUR;

/// The longest name of a record that the store takes. It refuses a longer one for good, and whoever writes it waits.
pub(crate) const STORE_TAKES: usize = 10_000;

#[derive(Default)]
pub(crate) struct Store {
    pub(crate) cells: Cells,
    /// Away until then.
    pub(crate) away: i64,
}

impl World {
    /// Something happens at the store: when it is away, once it is back.
    pub(crate) fn at_store(&mut self, span: i64, job: impl FnOnce(&mut World) + 'static) {
        self.after(span, move |world| {
            let wait = world.store.away - world.now;
            if wait > 0 { world.at_store(wait, job) } else { job(world) }
        });
    }

    /// Writes each mutation at a time of its own; some come again much later.
    pub(crate) fn write(&mut self, mutations: Vec<(i64, Mutation)>, most: i64) -> i64 {
        let mut last = 1;
        for (ts, mutation) in mutations {
            if let Mutation::Record { known: Some(known), .. } = &mutation
                && known.remote_id.as_str().len() > STORE_TAKES
            {
                last = NEVER;
                continue;
            }
            let span = self.chance.span(most);
            last = last.max(span);
            if self.stormy() && self.chance.permille(60) {
                let (again, mutation) = (span + self.chance.span(30 * SECOND), mutation.clone());
                self.at_store(again, move |world| world.store.cells.mutate(ts, &mutation));
            }
            self.at_store(span, move |world| world.store.cells.mutate(ts, &mutation));
        }
        last
    }
}

impl Store {
    /// What is there of what is wanted, now.
    pub(crate) fn answer(&self, wants: &[Want]) -> Vec<Cell> {
        let mut picked = Cells::default();
        self.cells.pick(wants, &mut picked);
        let visible = |cell: &Cell| cell.value.is_some() && self.cells.get(&cell.key).is_some();
        let forgotten = |cell: &Cell| matches!(cell.key, CellKey::Forgotten(_));
        picked.cells().filter(|cell| visible(cell) || forgotten(cell)).collect()
    }
}
