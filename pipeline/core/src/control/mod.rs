//! control's decisions (design §8): which subscriptions are kept at providers, step by step, and how tokens are used by
//! many at once.
//!
//! [`plan::plan`] says what to do, [`errand`] in which order it is written and called, [`record`] what an answer changes;
//! [`check`] judges any plan and shares nothing with the planner but the types. No clock, no chance, no provider, no store:
//! moments, nonces, answers and what a list showed come in as values.

pub mod actual;
pub mod check;
pub mod errand;
pub mod fallback;
pub mod guard;
pub mod intent;
pub mod plan;
pub mod record;
pub mod terms;
pub mod token;
pub mod wanted;

#[cfg(test)]
mod tests;
