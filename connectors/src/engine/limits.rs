//! How often one may ask: windows that the definition names, and what the provider's answers say is left.
//!
//! A [`Budget`] is one account's, or one app's for all its accounts; it is asked before each request.

use std::{collections::VecDeque, time::Duration};

use tributary_schemas::time::Timestamp;

use super::{
    expression::Expression,
    jq::Helpers,
    names::{Name, Names, Scope},
    outcome::{Answer, WAIT_MOST, names_of, wait_of},
    value::Value,
};
use crate::definition::{
    Problem,
    limits::{Limit as Written, LimitOf},
};

/// A definition's limits, compiled.
#[derive(Debug)]
pub struct Limits(Vec<Limit>);

#[derive(Debug)]
struct Limit {
    requests: Option<u32>,
    per: Duration,
    of: LimitOf,
    paths: Vec<String>,
    concurrent: Option<u32>,
    remaining: Option<Expression>,
    reset: Option<Expression>,
    /// How many are left for others.
    reserve: u32,
}

impl Limit {
    /// What an account may ask of a provider whose definition names no limit.
    fn usual() -> Self {
        Self {
            requests: Some(10),
            per: Duration::from_secs(1),
            of: LimitOf::Account,
            paths: Vec::new(),
            concurrent: None,
            remaining: None,
            reset: None,
            reserve: 0,
        }
    }
}

/// What was asked lately: one for each account, and one for each app.
#[derive(Debug, Default)]
pub struct Budget(Vec<Spent>);

#[derive(Debug, Default)]
struct Spent {
    asked: VecDeque<Timestamp>,
    under_way: u32,
    blocked_until: Option<Timestamp>,
}

impl Limits {
    pub(crate) fn compile(written: &[Written], scope: &Scope, helpers: &Helpers) -> Result<Self, Problem> {
        let scope = scope.clone().and(Name::Status).and(Name::Headers);
        let compile = |(index, limit): (usize, &Written)| {
            let expression = |written: &Option<_>, key: &'static str| {
                let compiled =
                    written.as_ref().map(|it| Expression::compile(it, &scope, helpers)).transpose();
                compiled.map_err(|problem| problem.at(key).at(index.to_string()))
            };
            let share = limit.reserve.map_or(0, |share| share.0);
            Ok(Limit {
                requests: limit.requests.map(|most| most.saturating_sub(most * share / 100).max(1)),
                per: limit.per.unwrap_or(Duration::from_secs(1)),
                of: limit.of,
                paths: limit.paths.clone(),
                concurrent: limit.concurrent,
                remaining: expression(&limit.remaining, "remaining")?,
                reset: expression(&limit.reset, "reset")?,
                reserve: limit.requests.map_or(0, |most| most * share / 100),
            })
        };
        if written.is_empty() {
            return Ok(Self(vec![Limit::usual()]));
        }
        Ok(Self(written.iter().enumerate().map(compile).collect::<Result<_, Problem>>()?))
    }

    /// Whether any is an app's, for all its accounts.
    pub fn has_apps(&self) -> bool {
        self.0.iter().any(|limit| limit.of == LimitOf::App)
    }

    /// Spends one request, or says how long to wait for it.
    ///
    /// # Errors
    /// The wait.
    pub fn spend(
        &self,
        budget: &mut Budget,
        of: LimitOf,
        path: &str,
        now: Timestamp,
    ) -> Result<(), Duration> {
        budget.0.resize_with(self.0.len(), Spent::default);
        let mut wait = Duration::ZERO;
        let over = self.over(of, path);
        for at in &over {
            let (limit, spent) = (&self.0[*at], &mut budget.0[*at]);
            let begin = now.minus(limit.per);
            while spent.asked.front().is_some_and(|at| *at <= begin) {
                spent.asked.pop_front();
            }
            if let Some(until) = spent.blocked_until.filter(|until| *until > now) {
                wait = wait.max(until.since(now));
            }
            if let (Some(most), Some(first)) = (limit.requests, spent.asked.front())
                && spent.asked.len() >= most as usize
            {
                wait = wait.max(first.plus(limit.per).since(now));
            }
            if limit.concurrent.is_some_and(|most| spent.under_way >= most) {
                wait = wait.max(Duration::from_millis(100));
            }
        }
        if !wait.is_zero() {
            return Err(wait);
        }
        for at in over {
            budget.0[at].under_way += 1;
            if self.0[at].requests.is_some() {
                budget.0[at].asked.push_back(now);
            }
        }
        Ok(())
    }

    /// A request that was spent has its answer, or none.
    pub fn answered(
        &self,
        budget: &mut Budget,
        of: LimitOf,
        path: &str,
        answer: Option<Answer<'_>>,
        now: Timestamp,
    ) {
        budget.0.resize_with(self.0.len(), Spent::default);
        for at in self.over(of, path) {
            let (limit, spent) = (&self.0[at], &mut budget.0[at]);
            spent.under_way = spent.under_way.saturating_sub(1);
            let Some(answer) = answer else { continue };
            let names = names_of(answer, &Names::new());
            let said = |expression: &Option<Expression>| {
                let value = expression.as_ref()?.one(&Value::null(), &names).ok()?;
                Some(value.as_text()?.trim().to_owned())
            };
            let left = said(&limit.remaining).and_then(|text| text.parse::<f64>().ok());
            if left.is_some_and(|left| left <= f64::from(limit.reserve)) {
                let reset = said(&limit.reset).and_then(|text| wait_of(&text, now));
                let wait = reset.unwrap_or(limit.per).min(WAIT_MOST);
                spent.blocked_until = Some(now.plus(wait));
            }
        }
    }

    /// The limits that a request falls under.
    fn over(&self, of: LimitOf, path: &str) -> Vec<usize> {
        let fits = |limit: &Limit| {
            limit.of == of
                && (limit.paths.is_empty() || limit.paths.iter().any(|pattern| matches(pattern, path)))
        };
        self.0.iter().enumerate().filter(|(_, limit)| fits(limit)).map(|(at, _)| at).collect()
    }
}

/// `*` stands for anything.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((before, after)) => match path.strip_prefix(before) {
            None => false,
            Some(rest) if after.is_empty() => !rest.is_empty() || before.is_empty(),
            Some(rest) => {
                rest.char_indices().any(|(at, _)| matches(after, &rest[at..])) || matches(after, "")
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::definition::{keys::Read, node::Node};

    fn limits(text: &str) -> Limits {
        let written = Vec::read(&Node::parse(text).unwrap()).unwrap();
        Limits::compile(&written, &Scope::of(&[]), &Helpers::default()).unwrap()
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(1_795_579_000_000_000 + millis * 1000)
    }

    #[test]
    fn a_window_and_what_an_answer_says_is_left_are_kept() {
        let limits = limits(
            "- { requests: 2, per: 10s, paths: [\"/v3/*/search\"] }\n\
             - { per: 60s, remaining: $headers.x-left, reset: $headers.x-reset, as: epoch_s }",
        );
        let mut budget = Budget::default();
        let mut spend = |path: &str, now| {
            let spent = limits.spend(&mut budget, LimitOf::Account, path, at(now));
            if spent.is_ok() {
                limits.answered(&mut budget, LimitOf::Account, path, None, at(now));
            }
            spent.map_err(|wait| wait.as_millis())
        };
        assert_eq!(spend("/v3/x/search", 0), Ok(()));
        assert_eq!(spend("/v3/y/search", 1_000), Ok(()));
        assert_eq!(spend("/v3/x/search", 2_000), Err(8_000));
        assert_eq!(spend("/v3/x", 2_000), Ok(()));
        assert_eq!(spend("/v3/x/search", 10_000), Ok(()));
        let headers =
            [("x-left".to_owned(), "0".to_owned()), ("x-reset".to_owned(), "1795579050".to_owned())];
        let answer = Answer { status: 200, headers: &headers, body: b"" };
        limits.answered(&mut budget, LimitOf::Account, "/a", Some(answer), at(20_000));
        assert_eq!(
            limits.spend(&mut budget, LimitOf::Account, "/a", at(20_000)),
            Err(Duration::from_secs(30))
        );
        assert_eq!(limits.spend(&mut budget, LimitOf::Account, "/a", at(50_000)), Ok(()));
    }

    #[test]
    fn a_definition_without_limits_is_asked_ten_times_a_second() {
        let (limits, mut budget) = (limits("[]"), Budget::default());
        for request in 0..10 {
            assert_eq!(limits.spend(&mut budget, LimitOf::Account, "/a", at(request)), Ok(()));
        }
        assert!(limits.spend(&mut budget, LimitOf::Account, "/a", at(10)).is_err());
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_its_most(most in 1_u32..6, steps in prop::collection::vec(0_i64..4_000, 1..60)) {
            let limits = limits(&format!("- {{ requests: {most}, per: 3s }}"));
            let (mut budget, mut now, mut spent) = (Budget::default(), 0, Vec::new());
            for step in steps {
                now += step;
                match limits.spend(&mut budget, LimitOf::Account, "/x", at(now)) {
                    Ok(()) => spent.push(now),
                    Err(wait) => prop_assert!(!wait.is_zero() && wait <= Duration::from_secs(3)),
                }
                let within = spent.iter().filter(|when| **when > now - 3_000).count();
                prop_assert!(within <= most as usize);
            }
        }
    }
}
