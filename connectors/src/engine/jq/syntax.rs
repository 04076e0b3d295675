//! What a jq text says, read off its syntax tree: what it calls, which `$names` it has, which paths it reads.

use std::collections::BTreeSet;

use jaq_core::{
    load::{
        lex::StrPart,
        parse::{BinaryOp, Def, Pattern, Term},
    },
    path::Part,
};

/// What is found in a term.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Functions, with how many arguments they are given.
    pub calls: BTreeSet<(String, usize)>,
    /// `$names` that are used.
    pub uses: BTreeSet<String>,
    /// `$names` that are bound somewhere within.
    pub binds: BTreeSet<String>,
    /// Definitions that call themselves.
    pub recursive: Option<String>,
    /// The names of arguments and local definitions, which are called like functions.
    locals: BTreeSet<(String, usize)>,
    /// Paths that begin at some `.`.
    pub paths: BTreeSet<Vec<String>>,
}

pub(super) fn of_term(term: &Term<&str>) -> Found {
    let mut found = Found::default();
    found.term(term);
    found.calls = &found.calls - &found.locals;
    found
}

pub(super) fn of_def(def: &Def<&str>) -> Found {
    let mut found = Found::default();
    found.def(def);
    found.locals.remove(&(def.name.to_owned(), def.args.len()));
    found.calls = &found.calls - &found.locals;
    found
}

/// What a definition calls beside itself and what it is given.
pub(super) fn calls_of(def: &Def<&str>) -> BTreeSet<(String, usize)> {
    let mut calls = of_def(def).calls;
    calls.remove(&(def.name.to_owned(), def.args.len()));
    // One of the same name that stands before it: `def recurse: recurse(.[]?)` has another arity, so it stays.
    calls
}

impl Found {
    fn def(&mut self, def: &Def<&str>) {
        let own = (def.name.to_owned(), def.args.len());
        let inner = {
            let mut inner = Found::default();
            inner.term(&def.body);
            inner
        };
        if inner.calls.contains(&own) {
            self.recursive = Some(def.name.to_owned());
        }
        for arg in &def.args {
            match arg.starts_with('$') {
                true => {
                    self.binds.insert((*arg).to_owned());
                    self.locals.insert((arg.trim_start_matches('$').to_owned(), 0));
                }
                false => {
                    self.locals.insert(((*arg).to_owned(), 0));
                }
            }
        }
        self.locals.insert(own);
        self.locals.extend(inner.locals);
        self.calls.extend(inner.calls);
        self.uses.extend(inner.uses);
        self.binds.extend(inner.binds);
        self.paths.extend(inner.paths);
        self.recursive = self.recursive.take().or(inner.recursive);
    }

    fn pattern(&mut self, pattern: &Pattern<&str>) {
        match pattern {
            Pattern::Var(name) => {
                self.binds.insert((*name).to_owned());
            }
            Pattern::Arr(patterns) => patterns.iter().for_each(|pattern| self.pattern(pattern)),
            Pattern::Obj(members) => {
                for (key, pattern) in members {
                    self.term(key);
                    self.pattern(pattern);
                }
            }
        }
    }

    fn text(&mut self, parts: &[StrPart<&str, Term<&str>>]) {
        for part in parts {
            if let StrPart::Term(term) = part {
                self.term(term);
            }
        }
    }

    fn term(&mut self, term: &Term<&str>) {
        match term {
            Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Arr(None) => {}
            Term::Str(format, parts) => {
                if let Some(format) = format {
                    self.calls.insert(((*format).to_owned(), 0));
                }
                self.text(parts);
            }
            Term::Arr(Some(inner)) | Term::Neg(inner) | Term::Label(_, inner) => self.term(inner),
            Term::Obj(members) => {
                for (key, value) in members {
                    // `{a}` and `{"a b"}` are what `.a` is.
                    if let (Some(name), None) = (text_of(key), value) {
                        self.paths.insert(vec![name]);
                    }
                    self.term(key);
                    value.iter().for_each(|value| self.term(value));
                }
            }
            Term::BinOp(left, op, right) => {
                self.term(left);
                if let BinaryOp::Pipe(Some(pattern)) = op {
                    self.pattern(pattern);
                }
                self.term(right);
            }
            Term::Fold(_, from, pattern, steps) => {
                self.term(from);
                self.pattern(pattern);
                steps.iter().for_each(|step| self.term(step));
            }
            Term::TryCatch(inner, catch) => {
                self.term(inner);
                catch.iter().for_each(|catch| self.term(catch));
            }
            Term::IfThenElse(branches, otherwise) => {
                for (condition, then) in branches {
                    self.term(condition);
                    self.term(then);
                }
                otherwise.iter().for_each(|otherwise| self.term(otherwise));
            }
            Term::Def(defs, inner) => {
                defs.iter().for_each(|def| self.def(def));
                self.term(inner);
            }
            Term::Call(name, arguments) => {
                self.calls.insert(((*name).to_owned(), arguments.len()));
                arguments.iter().for_each(|argument| self.term(argument));
            }
            Term::Var(name) => {
                self.uses.insert((*name).to_owned());
            }
            Term::Path(from, path) => {
                let mut steps = Vec::new();
                let mut plain = matches!(**from, Term::Id);
                self.term(from);
                for (part, _) in &path.0 {
                    match part {
                        Part::Index(index) => {
                            self.term(index);
                            match text_of(index).filter(|_| plain) {
                                Some(key) => steps.push(key),
                                None => plain = false,
                            }
                        }
                        Part::Range(from, to) => {
                            plain = false;
                            from.iter().chain(to).for_each(|bound| self.term(bound));
                        }
                    }
                }
                if !steps.is_empty() {
                    self.paths.insert(steps);
                }
            }
        }
    }
}

/// What a term is that is a text without holes.
fn text_of(term: &Term<&str>) -> Option<String> {
    let Term::Str(None, parts) = term else { return None };
    let mut said = String::new();
    for part in parts {
        match part {
            StrPart::Str(part) => said.push_str(part),
            StrPart::Char(character) => said.push(*character),
            StrPart::Term(_) => return None,
        }
    }
    Some(said)
}
