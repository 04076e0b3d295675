//! What an expression may call: jq's own functions without those that see the machine or end it, and with ours in place
//! of those that loop without end or read a superset of JSON.

use std::{collections::BTreeSet, sync::OnceLock};

use jaq_core::{
    Exn, Native, ValX,
    data::JustLut,
    load::{self, parse::Def},
    native::{Filter, bome, run, unary, v},
};

use super::{fuel::spend, syntax, val::Val};
use crate::engine::json;

pub(super) type Data = JustLut<Val>;
type Run = jaq_core::RunPtr<Data>;

/// Natives of jq that are left out: they see the environment or the clock, end the process, write to a log, or have a
/// version of ours.
const CLOSED: [&str; 11] = [
    "env",
    "now",
    "halt",
    "debug_empty",
    "stderr_empty",
    "localtime",
    "strflocaltime",
    "range",
    "input_line_number",
    "inputs",
    "input",
];

/// Definitions that have a version of ours.
const REPLACED: [(&str, usize); 7] = [
    ("repeat", 1),
    ("recurse", 1),
    ("while", 2),
    ("until", 2),
    ("tonumber", 0),
    ("toboolean", 0),
    ("totype", 2),
];

const OURS: &str = r#"
def empty: {}[] as $x | .;
def repeat(f): def rec: tick | (f, rec); rec;
def recurse(f): def rec: tick | (., (f | rec)); rec;
def while(cond; update): def rec: tick | if cond then ., (update | rec) else empty end; rec;
def until(cond; update): def rec: tick | if cond then . else update | rec end; rec;
def toboolean: if . == true or . == "true" then true elif . == false or . == "false" then false else error("no boolean") end;
"#;

/// What jq has and jaq lacks.
const MORE: &str = r#"
def IN(all): . as $x | any(all; . == $x);
def IN(some; all): any(some; IN(all));
def INDEX(f): reduce .[] as $x ({}; . + {($x | f | tostring): $x});
def toarray: if isarray then . else [.] end;
"#;

fn natives() -> [Filter<Run>; 9] {
    fn failed<'a>(why: &'static str) -> ValX<'a, Val> {
        Err(Exn::from(jaq_core::Error::str(why)))
    }
    [
        ("tick", v(0), |cv| {
            Box::new(std::iter::once(if spend(1) { Ok(cv.1) } else { failed("too many steps") }))
        }),
        ("range", v(3), |mut cv| {
            let (by, to, from) = (cv.0.pop_var(), cv.0.pop_var(), cv.0.pop_var());
            let rising = by > Val::from(0_usize);
            let still = by == Val::from(0_usize);
            let mut next = Some(from);
            Box::new(std::iter::from_fn(move || {
                let at = next
                    .take()
                    .filter(|at| spend(1) && (if rising || still { *at < to } else { *at > to }))?;
                next = (at.clone() + by.clone()).ok();
                Some(Ok(at))
            }))
        }),
        ("fromjson", v(0), |cv| {
            let Val::Text(said) = &cv.1 else { return Box::new(std::iter::once(failed("no text"))) };
            let text = said.trim_matches([' ', '\t', '\n', '\r']);
            let whole = spend(1 + text.len() as u64) && json::value(text.as_bytes(), 0) == Ok(text.len());
            Box::new(std::iter::once(if whole { Ok(Val::read(text)) } else { failed("no JSON") }))
        }),
        ("tojson", v(0), |cv| {
            let mut text = String::new();
            cv.1.write(&mut text);
            bome(Ok(Val::from(text)))
        }),
        ("tonumber", v(0), |cv| {
            Box::new(std::iter::once(match &cv.1 {
                Val::Number(_) => Ok(cv.1),
                Val::Text(said) => {
                    let text = said.trim();
                    let number = matches!(text.as_bytes().first(), Some(b'-' | b'0'..=b'9'));
                    match number && json::value(text.as_bytes(), 0) == Ok(text.len()) {
                        true => Ok(Val::read(text)),
                        false => failed("no number"),
                    }
                }
                _ => failed("no number"),
            }))
        }),
        ("length", v(0), |cv| bome(cv.1.length())),
        ("contains", v(1), |cv| unary(cv, |val, part| Ok(Val::Bool(val.contains(&part))))),
        ("has", v(1), |cv| unary(cv, |val, key| val.has(&key))),
        ("indices", v(1), |cv| unary(cv, |val, part| val.indices(&part))),
    ]
}

/// The functions that are native.
pub(super) fn funs() -> impl Iterator<Item = Filter<Native<Data>>> {
    let theirs = jaq_core::funs::<Data>().chain(jaq_std::funs::<Data>());
    theirs
        .filter(|(name, ..)| !CLOSED.contains(name))
        .chain(natives().into_iter().map(|filter| run::<Data>(filter)))
}

/// Those that are defined, by name and arity, with their place: each sees those before it.
fn definitions() -> &'static Vec<Def<&'static str>> {
    static DEFINITIONS: OnceLock<Vec<Def<&'static str>>> = OnceLock::new();
    DEFINITIONS.get_or_init(|| {
        let own = |text| load::parse(text, |parser| parser.defs()).unwrap_or_default();
        let replaced = |def: &Def<&'static str>| REPLACED.contains(&(def.name, def.args.len()));
        let theirs =
            jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).filter(|def| !replaced(def));
        let mut known: BTreeSet<(String, usize)> =
            funs().map(|(name, args, _)| (name.to_owned(), args.len())).collect();
        let mut all = Vec::new();
        for def in own(OURS).into_iter().chain(theirs).chain(own(MORE)) {
            // What calls something that is left out is left out itself.
            let calls = syntax::calls_of(&def);
            if calls.iter().all(|call| known.contains(call)) {
                known.insert((def.name.to_owned(), def.args.len()));
                all.push(def);
            }
        }
        all
    })
}

/// The definitions that these calls need, in order.
pub(super) fn needed(calls: BTreeSet<(String, usize)>) -> Vec<Def<&'static str>> {
    let mut wanted = calls;
    let mut needed: Vec<Def<&'static str>> = Vec::new();
    // From the last to the first, as each sees those before it alone; one of the same name before it is another.
    for def in definitions().iter().rev() {
        if wanted.contains(&(def.name.to_owned(), def.args.len())) {
            wanted.extend(syntax::calls_of(def));
            needed.push(def.clone());
        }
    }
    needed.reverse();
    needed
}

/// The names of all functions.
pub(super) fn known() -> BTreeSet<String> {
    let native = funs().map(|(name, ..)| name.to_owned());
    native.chain(definitions().iter().map(|def| def.name.to_owned())).filter(|name| name != "tick").collect()
}
