//! jq, closed (language §1): an expression sees what it is given and nothing else, calls nothing that sees or ends the
//! process, has no recursive definition, and ends after so many steps.
//!
//! What an expression fails with is never shown: jq's errors hold values.

mod fuel;
mod library;
mod number;
mod syntax;
mod val;

use std::{collections::BTreeSet, fmt};

use jaq_core::{
    Compiler, Ctx, Native, Vars,
    load::{self, Arena, File, Loader},
};

use self::{library::Data, val::Val};
use super::{
    names::{Name, Names, Scope},
    trouble::{Trouble, TroubleKind},
    value::Value,
};
use crate::definition::Problem;

/// Steps of an expression, and for each byte of what it is given.
const STEPS: u64 = 250_000;
const STEPS_A_BYTE: u64 = 4;
/// Results of one expression at the most.
const RESULTS_MOST: usize = 1_000_000;

/// A definition's own functions, each with what it calls.
#[derive(Debug, Clone, Default)]
pub struct Helpers(Vec<Helper>);

#[derive(Debug, Clone)]
struct Helper {
    name: (String, usize),
    text: String,
    calls: BTreeSet<(String, usize)>,
    uses: BTreeSet<String>,
    binds: BTreeSet<String>,
    paths: BTreeSet<Vec<String>>,
}

impl Helpers {
    /// Reads a definition's `helpers`.
    ///
    /// # Errors
    /// Where they are no jq definitions, or one calls itself.
    pub fn compile(text: &str) -> Result<Self, Problem> {
        let defs = load::parse(text, |parser| parser.defs())
            .ok_or_else(|| Problem::new("expected jq definitions, such as `def twice: . * 2;`"))?;
        // A definition's text goes from its `def` to the next one's.
        let begins: Vec<usize> = defs
            .iter()
            .map(|def| {
                let name = load::span(text, def.name).start;
                text[..name].rfind("def").unwrap_or(name)
            })
            .collect();
        let mut helpers = Vec::new();
        for (index, def) in defs.iter().enumerate() {
            let found = syntax::of_def(def);
            if let Some(name) = &found.recursive {
                return Err(Problem::new(format!("`{name}` calls itself: an expression has to end")));
            }
            let end = begins.get(index + 1).copied().unwrap_or(text.len());
            helpers.push(Helper {
                name: (def.name.to_owned(), def.args.len()),
                text: without_comments(&text[begins[index]..end]),
                calls: found.calls,
                uses: found.uses,
                binds: found.binds,
                paths: found.paths,
            });
        }
        Ok(Self(helpers))
    }

    /// Those that are called, and what they call, in order.
    fn needed(&self, calls: &BTreeSet<(String, usize)>) -> Vec<&Helper> {
        let mut wanted = calls.clone();
        let mut needed = Vec::new();
        for helper in self.0.iter().rev() {
            if wanted.contains(&helper.name) {
                wanted.extend(helper.calls.iter().cloned());
                needed.push(helper);
            }
        }
        needed.reverse();
        needed
    }
}

fn without_comments(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.collect::<Vec<_>>().join("\n")
}

/// A compiled program.
pub(super) struct Program {
    filter: jaq_core::Filter<Data>,
    uses: Vec<Name>,
    paths: Vec<Vec<String>>,
    /// The texts of the helpers that it calls.
    helpers: String,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("uses", &self.uses).finish_non_exhaustive()
    }
}

impl Program {
    /// Compiles a text.
    pub(super) fn compile(text: &str, scope: &Scope, helpers: &Helpers) -> Result<Self, Problem> {
        let term = load::parse(text, |parser| parser.term()).ok_or_else(|| not_jq(text))?;
        let found = syntax::of_term(&term);
        if let Some(name) = &found.recursive {
            return Err(Problem::new(format!("`{name}` calls itself: an expression has to end")));
        }
        let needed = helpers.needed(&found.calls);
        let (mut calls, mut used, mut bound, mut paths) = (found.calls, found.uses, found.binds, found.paths);
        for helper in &needed {
            calls.extend(helper.calls.iter().cloned());
            used.extend(helper.uses.iter().cloned());
            bound.extend(helper.binds.iter().cloned());
            paths.extend(helper.paths.iter().cloned());
        }
        let mut uses = Vec::new();
        for name in used {
            match scope.name(&name) {
                Ok(name) => uses.push(name),
                Err(_) if bound.contains(&name) => {}
                Err(problem) => return Err(problem),
            }
        }
        let helpers: String = needed.iter().map(|helper| format!("{}\n", helper.text)).collect();
        let filter = compile(&format!("{helpers}{text}\n"), calls, &uses)?;
        Ok(Self { filter, uses, paths: paths.into_iter().collect(), helpers })
    }

    pub(super) fn uses(&self) -> &[Name] {
        &self.uses
    }

    pub(super) fn paths(&self) -> &[Vec<String>] {
        &self.paths
    }

    pub(super) fn helpers(&self) -> &str {
        &self.helpers
    }

    /// All results, as JSON text.
    pub(super) fn run(&self, dot: &str, names: &Names) -> Result<Vec<String>, Trouble> {
        self.run_to(dot, names, RESULTS_MOST)
    }

    /// The first result, as JSON text.
    pub(super) fn first(&self, dot: &str, names: &Names) -> Result<Option<String>, Trouble> {
        Ok(self.run_to(dot, names, 1)?.into_iter().next())
    }

    fn run_to(&self, dot: &str, names: &Names, most: usize) -> Result<Vec<String>, Trouble> {
        let given: Vec<Val> = self.uses.iter().map(|name| Val::read(names.get(name).json())).collect();
        let size: usize =
            self.uses.iter().map(|name| names.get(name).json().len()).sum::<usize>() + dot.len();
        let input = Val::read(dot);
        fuel::fill(STEPS.saturating_add(STEPS_A_BYTE.saturating_mul(size as u64)));
        let context = Ctx::<Data>::new(&self.filter.lut, Vars::new(given));
        let mut results = Vec::new();
        for result in self.filter.id.run((context, input)).take(most) {
            if fuel::is_spent() {
                return Err(TroubleKind::Fuel.into());
            }
            let Ok(result) = result else { return Err(TroubleKind::Failed.into()) };
            let mut text = String::new();
            result.write(&mut text);
            results.push(text);
        }
        match fuel::is_spent() {
            true => Err(TroubleKind::Fuel.into()),
            false => Ok(results),
        }
    }
}

/// A result as a value; one that is too deep is trouble.
pub(super) fn value(text: String) -> Result<Value, Trouble> {
    Value::parse(text)
}

fn compile(
    code: &str,
    calls: BTreeSet<(String, usize)>,
    uses: &[Name],
) -> Result<jaq_core::Filter<Data>, Problem> {
    let arena = Arena::default();
    let written: Vec<String> = uses.iter().map(Name::written).collect();
    let modules = Loader::new(library::needed(calls))
        .load(&arena, File { code, path: () })
        .map_err(|_| not_jq(code))?;
    let compiler: Compiler<&str, Data> = jaq_core::compile::Compiler::<&str, Native<Data>>::default();
    compiler
        .with_funs(library::funs())
        .with_global_vars(written.iter().map(String::as_str))
        .compile(modules)
        .map_err(|errors| undefined(&errors))
}

fn undefined(errors: &jaq_core::compile::Errors<&str, ()>) -> Problem {
    use jaq_core::compile::Undefined;
    let first = errors.iter().flat_map(|(_, errors)| errors).next();
    match first {
        Some((name, Undefined::Filter(_))) => {
            let known = library::known();
            match crate::definition::nearest(name, known.iter().map(String::as_str)) {
                Some(meant) => Problem::new(format!(
                    "no jq function `{name}` with so many arguments; did you mean `{meant}`? (a path begins with `.`)"
                )),
                None => Problem::new(format!("no jq function `{name}` (a path begins with `.`)")),
            }
        }
        Some((name, undefined)) => Problem::new(format!("no {} `{name}`", undefined.as_str())),
        None => Problem::new("not a jq expression"),
    }
}

fn not_jq(text: &str) -> Problem {
    let shown: String = text.chars().take(80).collect();
    Problem::new(format!("neither a path (`.a.b`, `$name.x`) nor jq: `{}`", shown.trim()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run_in(text: &str, helpers: &str, dot: &str) -> Result<String, String> {
        let scope = Scope::of(&[Name::Setup, Name::Since]);
        let helpers = Helpers::compile(helpers).map_err(|problem| problem.to_string())?;
        let program = Program::compile(text, &scope, &helpers).map_err(|problem| problem.to_string())?;
        let names = Names::new().with(Name::Setup, Value::parse(r#"{"site":"x"}"#).unwrap());
        program.run(dot, &names).map(|results| results.join(" ")).map_err(|trouble| trouble.to_string())
    }

    fn run(text: &str, dot: &str) -> Result<String, String> {
        run_in(text, "", dot)
    }

    #[test]
    fn an_expression_says_what_jq_says() {
        let dot = r#"{"a":{"b":[1,2,3]},"s":"x,y","o":{"z":1,"k":null},"t":"12","big":123456789012345678901234567890}"#;
        for (text, expected) in [
            (".a.b | map(. * 2)", "[2,4,6]"),
            (".a.b[]", "1 2 3"),
            (".s | split(\",\")", r#"["x","y"]"#),
            (".o | keys", r#"["k","z"]"#),
            (".o | to_entries | map(.key)", r#"["k","z"]"#),
            ("[.o[]]", "[null,1]"),
            (".nothing // \"d\"", "\"d\""),
            ("[.a.b[] | select(. > 1)]", "[2,3]"),
            (".t | tonumber", "12"),
            (".big", "123456789012345678901234567890"),
            ("[.big, .big + 1 | tostring]", r#"["123456789012345678901234567890","1.2345678901234568e+29"]"#),
            ("$setup.site", "\"x\""),
            ("\"\\($setup.site)-\\(.t)\"", "\"x-12\""),
            (".a.b as [$x, $y] | $x + $y", "3"),
            ("reduce .a.b[] as $x (0; . + $x)", "6"),
            ("if .t == \"12\" then \"yes\" else \"no\" end", "\"yes\""),
            ("[limit(2; .a.b[])]", "[1,2]"),
            ("[range(3)], [range(5; 0; -2)]", "[0,1,2] [5,3,1]"),
            (".a.b | add, length, min, max, last", "6 3 1 3 3"),
            ("[.. | numbers] | length", "5"),
            ("try error(\"x\") catch .", "\"x\""),
            (".s | test(\"^x\")", "true"),
            (".s | capture(\"(?<first>.),(?<second>.)\") | .second", "\"y\""),
            (".s | sub(\",\"; \"-\")", "\"x-y\""),
            ("{s, n: .a.b[0]}", r#"{"n":1,"s":"x,y"}"#),
            (".a.b |= map(. + 1) | .a.b", "[2,3,4]"),
            ("del(.a, .o, .big) | keys", r#"["s","t"]"#),
            ("[.a.b[1:], .s[:1]]", r#"[[2,3],"x"]"#),
            (".t | IN(\"12\", \"13\")", "true"),
            ("has(\"a\"), (.a.b | contains([2]))", "true true"),
            ("[.a.b[] | until(. > 100; . * 3)]", "[243,162,243]"),
            ("[1 | while(. < 20; . * 2)]", "[1,2,4,8,16]"),
            ("\"[1,{\\\"a\\\":2}]\" | fromjson | .[1].a", "2"),
            ("@base64 \"\\(.t)\"", "\"MTI=\""),
            (".a | map_values(length)", r#"{"b":3}"#),
            ("[1,[2,[3]]] | flatten", "[1,2,3]"),
            ("1 as $x | [$x, 1.50]", "[1,1.50]"),
            ("[.a.b[] | if . == 1 then empty else . end] | first", "2"),
            (
                "[\"b\",\"a\",\"b\"] | unique, group_by(.), sort",
                r#"["a","b"] [["a"],["b","b"]] ["a","b","b"]"#,
            ),
            ("0 | todate", "\"1970-01-01T00:00:00Z\""),
        ] {
            assert_eq!(run(text, dot).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_sees_or_ends_the_process_is_no_function() {
        for text in [
            "env",
            "env.HOME",
            "$ENV",
            "now",
            "halt",
            "halt(1)",
            "halt_error",
            "debug",
            "debug(\"x\")",
            "stderr",
            "input",
            "inputs",
            "localtime",
            "input_line_number",
            "input_filename",
            "$__prog_args",
            "tick2",
            "include \"a\"; .",
            "import \"a\" as a; .",
        ] {
            assert!(run(text, "null").is_err(), "{text}");
        }
        assert!(run("lenght", "null").unwrap_err().contains("did you mean `length`?"));
        assert!(run("$sicne", "null").unwrap_err().contains("did you mean `$since`?"));
        assert!(run(".a | (", "null").unwrap_err().contains("nor jq"));
    }

    #[test]
    fn a_definition_may_not_call_itself() {
        for text in
            ["def f: f; f", "def f(x): x | f(x); f(.)", "def a: def b: a; b; a", "def f: 1, (def g: f; g); f"]
        {
            assert!(run(text, "null").unwrap_err().contains("calls itself"), "{text}");
        }
        assert!(run_in(".", "def f: .a | f;", "null").unwrap_err().contains("calls itself"));
        let helpers =
            "# why\ndef twice: . * 2;\ndef four: twice | twice;\ndef unused: nonsense_is_not_looked_at;";
        assert_eq!(run_in("four", helpers, "3").as_deref(), Ok("12"));
        assert_eq!(run("def f(g): g | g; f(. + 1)", "1").as_deref(), Ok("3"));
    }

    #[test]
    fn what_would_not_end_ends_soon() {
        let list = format!("[{}]", vec!["1"; 2000].join(","));
        for text in [
            "[range(1e9)] | length",
            "reduce range(1e12) as $x (0; . + $x)",
            "last(repeat(1))",
            "[0 | recurse(. + 1)]",
            "0 | until(false; . + 1)",
            "[0 | while(true; . + 1)]",
            "last(range(1e9) | try error(\"x\") catch .)",
            "[.[] as $a | .[] as $b | .[] as $c | 1] | length",
            "\"x\" * 1e10",
            "reduce range(60) as $x (\"x\"; . + .)",
            "reduce range(60) as $x ([1]; . + .)",
            "reduce range(100000) as $x (null; [.])",
            "[limit(1e9; repeat(1))]",
            "[1, 2, 3] | combinations(40)",
            "label $out | foreach range(1e10) as $x (0; . + 1; if . < 0 then break $out else empty end)",
            "first(range(1e10) | select(. < 0))",
            "any(range(1e10); . < 0)",
            "[range(1e5) | tostring] | [.[] as $x | join(\",\")] | length",
        ] {
            assert_eq!(run(text, &list).unwrap_err(), "the expression took too many steps", "{text}");
        }
    }

    #[test]
    fn a_providers_text_can_neither_recurse_nor_be_more_than_json() {
        let deep = serde_json::to_string(&"[".repeat(100_000)).unwrap();
        for (text, dot) in [
            ("fromjson", deep.as_str()),
            ("tonumber", deep.as_str()),
            ("fromjson", "\"nan\""),
            ("tonumber", "\"0x10\""),
        ] {
            assert_eq!(run(text, dot).unwrap_err(), "the expression failed", "{text}");
        }
    }

    #[test]
    fn nothing_of_a_value_is_in_an_error() {
        for text in [
            ".a + 1",
            ".a | error",
            "error(.)",
            ".a.b",
            ".a | tonumber",
            ".[0]",
            ".a | keys",
            ".a | test(\"(\")",
        ] {
            let error = run(text, r#"{"a":"canary"}"#).unwrap_err();
            assert!(!error.contains("canary"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_value_goes_through_unchanged(text in r#"[0-9]{1,40}|-?[1-9][0-9]{0,3}\.[0-9]{1,30}|"[a-z]{0,9}"|\[1,\{"a":"b"\}\]"#) {
            prop_assume!(!(text.len() > 1 && text.starts_with('0')));
            prop_assert_eq!(run(".", &text), Ok(text));
        }

        #[test]
        fn any_text_compiles_or_is_refused(text in "[a-z.|()$\\[\\]{}\", 0-9]{0,20}") {
            let _ = run(&text, "{}");
        }
    }
}
