//! What a lane is doing.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    cells::{Cells, Want},
    unify::{batch::Share, plan::Transaction},
};

/// What the lane is doing.
#[derive(Debug)]
pub(super) enum Work {
    /// Nothing: the next batch may begin.
    Nothing,
    /// The store was asked for what a batch wants. Nothing of it has been written: it may still be dropped.
    Reading(Reading),
    /// The broker was asked what time it is.
    Measuring,
    /// A transaction is open.
    Committing(Arc<Transaction>),
    /// The producer is being replaced: what became of its last transaction is not known.
    Replacing,
}

#[derive(Debug)]
pub(super) struct Reading {
    pub(super) number: u64,
    pub(super) shares: Vec<Share>,
    pub(super) wants: BTreeSet<Want>,
    pub(super) known: Cells,
    pub(super) round: Round,
}

/// What a batch wants is read in two rounds: where its records are, then they.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    First,
    Then,
}
