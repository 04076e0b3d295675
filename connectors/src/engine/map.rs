//! A resource's `map`, compiled: one look at a record fills the slots of all paths, one jq program gives what needs jq,
//! and what the model says of each field decides how it is written (language §5).
//!
//! What is written is canonical JSON, and straight away: to be told it is read back once, to be hashed it goes into the
//! account's HMAC.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Tree;
use tributary_schemas::{
    id::{RecordHash, RemoteId},
    model::{self, Kind as Model, UNMAPPED},
    record_id,
    resource::Resource,
};

use super::{
    convert::{self, Purpose, Rules},
    date::Dates,
    decode,
    expression::{Expression, Helpers, text_of},
    jq::Program,
    json,
    marks::Marks,
    names::{Name, Names, Scope},
    path::{Path, Step},
    projection::Keyed,
    trie::{Trie, held},
    trouble::{Kind, Trouble, TroubleKind},
    value::Value,
};
use crate::definition::{
    Problem,
    keys::Named,
    map::{Field, Form, Map},
    resource, text,
};

/// Fields that change with the calendar or the moment, in every model (contract §6).
const ALWAYS_VOLATILE: [&str; 4] = ["tenure", "work_anniversary", "updated_at", "last_login_at"];
/// Fields whose members are the provider's or the customer's own: no name in them means anything to us.
const CUSTOM: [&str; 2] = ["unified_custom_fields", "custom_fields"];

/// What a mapping is made of.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Whose model it fills.
    pub resource: Resource,
    /// Which field comes from where.
    pub map: &'a Map,
    /// The maps that can be named.
    pub maps: &'a Named<Map>,
    /// How dates are written.
    pub dates: Option<&'a resource::Dates>,
    /// What an object says where text is wanted.
    pub label: &'a [text::Expression],
    /// Places whose change is no change.
    pub volatile: &'a [String],
    /// Places whose order means nothing.
    pub sets: &'a [String],
    /// Texts that are read.
    pub decode: &'a Named<resource::Decode>,
}

/// A compiled mapping.
#[derive(Debug)]
pub struct Mapping {
    layer: Layer,
    decode: Vec<(String, Expression, resource::DecodeAs)>,
    rules: Rules,
    marks: Marks,
    fields: BTreeSet<String>,
}

/// What is looked at once: a record, or an element of a list in it.
#[derive(Debug)]
struct Layer {
    trie: Trie,
    program: Option<Program>,
    plan: Plan,
}

#[derive(Debug)]
enum From {
    Slot(usize),
    Named(Name, Path),
    Jq(usize),
}

#[derive(Debug)]
enum Plan {
    Value {
        from: From,
        kind: Model,
    },
    Date {
        from: From,
        dates: Box<Dates>,
    },
    Constant {
        json: String,
        kind: Model,
    },
    All(Vec<Plan>),
    First(Vec<Plan>),
    Text {
        parts: Vec<Part>,
        kind: Model,
    },
    Enum {
        from: From,
        values: BTreeMap<String, String>,
        otherwise: Option<String>,
    },
    Each {
        from: From,
        layer: Box<Layer>,
    },
    /// One value where the model has a list.
    Wrapped(Box<Plan>),
    Object(Vec<(String, Plan)>),
}

#[derive(Debug)]
enum Part {
    Text(String),
    Hole(From),
}

impl Mapping {
    /// Compiles a mapping.
    ///
    /// # Errors
    /// A field that the model lacks, a form that its kind does not take, or an expression that means nothing.
    pub fn compile(parts: Parts<'_>, scope: &Scope, helpers: &Helpers) -> Result<Self, Problem> {
        let model = model::of(parts.resource)
            .ok_or_else(|| Problem::new(format!("{} has no unified model", parts.resource)))?;
        let known = || model.fields().iter().map(|field| field.name);
        let field = |name: &str| {
            let kind = model.kind(name);
            kind.ok_or_else(|| Problem::unknown(&format!("field of {}", parts.resource), name, known()))
        };
        let mut marks = Marks::default();
        ALWAYS_VOLATILE.iter().for_each(|path| marks.mark(path).volatile = true);
        for (key, paths) in [("volatile", parts.volatile), ("sets", parts.sets)] {
            for (index, path) in paths.iter().enumerate() {
                let first = path.split('.').next().unwrap_or_default();
                field(first).map_err(|problem| problem.at(index.to_string()).at(key))?;
                let mark = marks.mark(path);
                match key {
                    "volatile" => mark.volatile = true,
                    _ => mark.set = true,
                }
            }
        }
        let dates = parts
            .dates
            .map_or(Ok(Dates::default()), Dates::compile)
            .map_err(|problem| problem.at("dates"))?;
        let label = |(index, one): (usize, &text::Expression)| match one {
            text::Expression::Text(text) => Path::parse(text)
                .ok_or_else(|| Problem::new("expected a path").at(index.to_string()).at("label")),
            text::Expression::All(_) => {
                Err(Problem::new("expected a path").at(index.to_string()).at("label"))
            }
        };
        let label = parts.label.iter().enumerate().map(label).collect::<Result<_, _>>()?;
        let rules = Rules { dates, label };
        let decode = parts.decode.iter().map(|(key, decode)| {
            let at = Expression::compile(&decode.at, scope, helpers);
            let at = at.map_err(|problem| problem.at("at").at(key).at("decode"))?;
            Ok((key.to_owned(), at, decode.format))
        });
        let decode = decode.collect::<Result<_, Problem>>()?;

        let mut compiler = Compiler {
            maps: parts.maps,
            scope,
            helpers,
            rules: &rules,
            open: Vec::new(),
            layers: Vec::new(),
        };
        compiler.layers.push(Open::default());
        let plan = compiler.object(parts.map, &Fields::Model(model)).map_err(|problem| problem.at("map"))?;
        let layer = compiler.close(plan).map_err(|problem| problem.at("map"))?;
        let Plan::Object(fields) = &layer.plan else { return Err(Problem::new("expected fields").at("map")) };
        let fields: BTreeSet<String> = fields.iter().map(|(name, _)| name.clone()).collect();
        Ok(Self { layer, decode, rules, marks, fields })
    }

    /// The unified record, for whose project's record ids begin so; what is absent is no key. `id` and `remote_id` are
    /// the caller's to fill.
    ///
    /// # Errors
    /// The field whose value is not what it should be.
    pub fn map(
        &self,
        record: &Value,
        names: &Names,
        id_prefix: &str,
    ) -> Result<serde_json::Map<String, Tree>, Trouble> {
        let mut text = String::with_capacity(record.json().len());
        self.write(record, names, &[], Purpose::Tell, &mut text)?;
        let Tree::Object(mut mapped) = Value::parse(text)?.to_json() else {
            return Ok(serde_json::Map::new());
        };
        encode(&mut mapped, id_prefix, true);
        Ok(mapped)
    }

    /// The record's digest under the account's key, without the fields that the project ignores.
    ///
    /// # Errors
    /// As [`Mapping::map`].
    pub fn hash(
        &self,
        record: &Value,
        names: &Names,
        ignored: &[String],
        key: &Keyed,
    ) -> Result<RecordHash, Trouble> {
        let mut text = String::with_capacity(record.json().len());
        self.write(record, names, ignored, Purpose::Hash, &mut text)?;
        Ok(key.hash(text.as_bytes()))
    }

    /// The canonical form that is hashed.
    ///
    /// # Errors
    /// As [`Mapping::map`].
    #[cfg(test)]
    pub(super) fn canonical(&self, record: &Value, names: &Names) -> Result<String, Trouble> {
        let mut text = String::new();
        self.write(record, names, &[], Purpose::Hash, &mut text).map(|_| text)
    }

    /// The unified fields that it fills.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(String::as_str)
    }

    /// The keys that lead from a record to what is read of it.
    pub fn reads(&self) -> Vec<Vec<String>> {
        let step = |step: &Step| match step {
            Step::Key(key) => key.to_string(),
            Step::Index(index) => index.to_string(),
        };
        let paths = self.layer.trie.paths().iter().map(|path| path.0.iter().map(step).collect());
        let jq = self.layer.program.iter().flat_map(|program| program.paths().to_vec());
        let decoded = self.decode.iter().flat_map(|(_, at, _)| at.reads());
        paths.chain(jq).chain(decoded).collect()
    }

    /// The texts of the helpers that it calls: a part of what it means.
    pub fn helpers(&self) -> String {
        self.layer.helpers() + &self.decode.iter().map(|(_, at, _)| at.helpers()).collect::<String>()
    }

    fn write(
        &self,
        record: &Value,
        names: &Names,
        ignored: &[String],
        purpose: Purpose,
        to: &mut String,
    ) -> Result<(), Trouble> {
        let decoded;
        let record = match self.decode.is_empty() {
            true => record,
            false => {
                decoded = decode::decoded(record, &self.decode, names)?;
                &decoded
            }
        };
        let run = Run { rules: &self.rules, names, purpose };
        if !self.layer.write(record.json(), &run, ignored, Some(&self.marks), to)? {
            to.push_str("{}");
        }
        Ok(())
    }
}

/// Puts ids into record id form (contract §2): of the record those of the model, further in those that have a `remote_`
/// beside them.
fn encode(fields: &mut serde_json::Map<String, Tree>, prefix: &str, top: bool) {
    fn one(id: &mut Tree, prefix: &str) {
        match id {
            Tree::String(remote) => {
                *remote = record_id::encode(prefix, "id", &RemoteId::new(std::mem::take(remote)));
            }
            Tree::Array(ids) => ids.iter_mut().for_each(|id| one(id, prefix)),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Object(_) => {}
        }
    }
    let named = |name: &str| name.ends_with("_id") || name.ends_with("_ids") || (name == "id" && !top);
    let names = fields.keys().filter(|name| named(name) && !name.starts_with("remote_"));
    let ids: Vec<String> =
        names.filter(|name| top || fields.contains_key(&format!("remote_{name}"))).cloned().collect();
    for (name, value) in fields.iter_mut().filter(|(name, _)| !CUSTOM.contains(&name.as_str())) {
        match value {
            value if ids.contains(name) => one(value, prefix),
            Tree::Object(inner) => encode(inner, prefix, false),
            Tree::Array(items) => {
                let inner = items.iter_mut().filter_map(Tree::as_object_mut);
                inner.for_each(|inner| encode(inner, prefix, false));
            }
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::String(_) => {}
        }
    }
}

/// What a mapping needs while it runs.
struct Run<'r> {
    rules: &'r Rules,
    names: &'r Names,
    purpose: Purpose,
}

/// A record's slots and jq's results.
struct Filled<'r> {
    slots: Vec<&'r str>,
    results: Vec<String>,
}

impl Layer {
    fn write(
        &self,
        value: &str,
        run: &Run<'_>,
        ignored: &[String],
        marks: Option<&Marks>,
        to: &mut String,
    ) -> Result<bool, Trouble> {
        let slots = self.trie.fill(value);
        let results = match &self.program {
            None => Vec::new(),
            Some(program) => {
                let all = program.first(value, run.names)?.unwrap_or_default();
                json::elements(&all).map(str::to_owned).collect()
            }
        };
        let filled = Filled { slots, results };
        self.plan.write(&filled, run, ignored, marks, to)
    }

    fn helpers(&self) -> String {
        let own = self.program.as_ref().map_or("", Program::helpers);
        format!("{own}{}", self.plan.helpers())
    }
}

impl From {
    /// What it gives, as JSON text; empty where nothing.
    fn one<'f>(&self, filled: &'f Filled<'_>, names: &'f Names) -> Result<&'f str, Trouble> {
        match self {
            Self::Slot(slot) => held(filled.slots[*slot]),
            Self::Named(name, path) => Ok(path.walk(names.get(name).json())?.unwrap_or("")),
            Self::Jq(index) => Ok(json::elements(results(filled, *index)?).next().unwrap_or("")),
        }
    }

    /// All that it gives: of one list its elements.
    fn each<'f>(&self, filled: &'f Filled<'_>, names: &'f Names) -> Result<Vec<&'f str>, Trouble> {
        let all = match self {
            Self::Jq(index) => {
                let all = results(filled, *index)?;
                let mut elements = json::elements(all);
                match (elements.next(), elements.next()) {
                    (Some(one), None) => one,
                    _ => all,
                }
            }
            Self::Slot(_) | Self::Named(..) => self.one(filled, names)?,
        };
        Ok(match json::kind(all) {
            Kind::Null => Vec::new(),
            Kind::List => json::elements(all).collect(),
            Kind::Boolean | Kind::Number | Kind::Text | Kind::Object => vec![all],
        })
    }
}

/// The list of what an expression gave; null says that it failed.
fn results<'f>(filled: &'f Filled<'_>, index: usize) -> Result<&'f str, Trouble> {
    match filled.results.get(index).map(String::as_str) {
        Some("null") | None => Err(TroubleKind::Failed.into()),
        Some(results) => Ok(results),
    }
}

impl Plan {
    /// Writes what it gives; false where that is absent, and then nothing is written.
    fn write(
        &self,
        filled: &Filled<'_>,
        run: &Run<'_>,
        ignored: &[String],
        marks: Option<&Marks>,
        to: &mut String,
    ) -> Result<bool, Trouble> {
        let convert = |kind: Model, value: &str, to: &mut String| {
            run.rules.write(kind, &run.rules.dates, value, marks, run.purpose, to)
        };
        match self {
            Self::Value { from, kind } => convert(*kind, from.one(filled, run.names)?, to),
            Self::Date { from, dates } => dates.write(from.one(filled, run.names)?, to),
            Self::Constant { json, kind } => convert(*kind, json, to),
            Self::All(plans) => {
                let begun = to.len();
                for plan in plans {
                    let before = to.len();
                    if plan.write(filled, run, &[], marks, to)? {
                        // Two lists become one: the first loses its end, the second its beginning.
                        match before == begun {
                            true => {}
                            false => to.replace_range(before - 1..=before, ","),
                        }
                    }
                }
                Ok(to.len() > begun)
            }
            Self::First(plans) => {
                let (before, mut trouble) = (to.len(), None);
                for plan in plans {
                    match plan.write(filled, run, &[], marks, to) {
                        Ok(true) => return Ok(true),
                        Ok(false) => {}
                        Err(found) => {
                            to.truncate(before);
                            trouble = trouble.or(Some(found));
                        }
                    }
                }
                trouble.map_or(Ok(false), Err)
            }
            Self::Text { parts, kind } => {
                let (mut said, mut there) = (String::new(), false);
                for part in parts {
                    match part {
                        Part::Text(text) => said.push_str(text),
                        Part::Hole(from) => {
                            let value = from.one(filled, run.names)?;
                            if json::kind(value) == Kind::Null {
                                continue;
                            }
                            let text = text_of(value)?;
                            there |= !text.is_empty();
                            said.push_str(&text);
                        }
                    }
                }
                let said = said.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
                match there {
                    true => convert(*kind, Value::text(&said).json(), to),
                    false => Ok(false),
                }
            }
            Self::Enum { from, values, otherwise } => {
                let value = from.one(filled, run.names)?;
                let mut said = String::new();
                if !run.rules.text(value, &mut said)? {
                    return Ok(false);
                }
                let unified = values.get(&*json::unescape(&said)).or(otherwise.as_ref());
                convert::enumerated(value, unified.map_or(UNMAPPED, String::as_str), to);
                Ok(true)
            }
            Self::Each { from, layer } => {
                let begun = to.len();
                to.push('[');
                let inner = marks.and_then(Marks::of_each);
                for element in from.each(filled, run.names)? {
                    let before = to.len();
                    if before > begun + 1 {
                        to.push(',');
                    }
                    if !layer.write(element, run, &[], inner, to)? {
                        to.truncate(before);
                    }
                }
                let empty = to.len() == begun + 1;
                match empty {
                    true => to.truncate(begun),
                    false => to.push(']'),
                }
                Ok(!empty)
            }
            Self::Wrapped(plan) => {
                let begun = to.len();
                to.push('[');
                let there = plan.write(filled, run, &[], marks.and_then(Marks::of_each), to)?;
                match there {
                    true => to.push(']'),
                    false => to.truncate(begun),
                }
                Ok(there)
            }
            Self::Object(fields) => {
                let begun = to.len();
                to.push('{');
                for (name, plan) in fields {
                    let marks = marks.and_then(|marks| marks.of(name));
                    let hashed = run.purpose == Purpose::Hash;
                    if hashed && (marks.is_some_and(|marks| marks.volatile) || ignored.contains(name)) {
                        continue;
                    }
                    let before = to.len();
                    if before > begun + 1 {
                        to.push(',');
                    }
                    json::escape(name, to);
                    to.push(':');
                    let value = to.len();
                    match plan.write(filled, run, &[], marks, to).map_err(|trouble| trouble.of(name))? {
                        true if hashed && marks.is_some_and(|marks| marks.set) => {
                            if to[value..].starts_with('[') {
                                convert::sort(value, to);
                            }
                        }
                        true => {}
                        false => to.truncate(before),
                    }
                }
                let empty = to.len() == begun + 1;
                match empty {
                    true => to.truncate(begun),
                    false => to.push('}'),
                }
                Ok(!empty)
            }
        }
    }

    fn helpers(&self) -> String {
        match self {
            Self::Value { .. }
            | Self::Date { .. }
            | Self::Constant { .. }
            | Self::Text { .. }
            | Self::Enum { .. } => String::new(),
            Self::All(plans) | Self::First(plans) => plans.iter().map(Plan::helpers).collect(),
            Self::Each { layer, .. } => layer.helpers(),
            Self::Wrapped(plan) => plan.helpers(),
            Self::Object(fields) => fields.iter().map(|(_, plan)| plan.helpers()).collect(),
        }
    }
}

/// Which kinds the fields of an object have.
enum Fields {
    Model(&'static model::Model),
    ByName,
    Custom,
}

#[derive(Default)]
struct Open {
    trie: Trie,
    jq: Vec<String>,
}

struct Compiler<'c> {
    maps: &'c Named<Map>,
    scope: &'c Scope,
    helpers: &'c Helpers,
    rules: &'c Rules,
    /// Maps that are being compiled, so that none holds itself.
    open: Vec<String>,
    layers: Vec<Open>,
}

impl Compiler<'_> {
    fn layer(&mut self) -> &mut Open {
        if self.layers.is_empty() {
            self.layers.push(Open::default());
        }
        let last = self.layers.len() - 1;
        &mut self.layers[last]
    }

    fn close(&mut self, plan: Plan) -> Result<Layer, Problem> {
        let open = self.layers.pop().unwrap_or_default();
        let program = match open.jq.as_slice() {
            [] => None,
            texts => {
                // One that fails fails alone.
                let each: Vec<String> =
                    texts.iter().map(|text| format!("(try [{text}\n] catch null)")).collect();
                Some(Program::compile(&format!("[{}]", each.join(",")), self.scope, self.helpers)?)
            }
        };
        Ok(Layer { trie: open.trie, program, plan })
    }

    fn from(&mut self, written: &str) -> Result<From, Problem> {
        let text = written.trim();
        if let Some(path) = Path::parse(text) {
            return Ok(From::Slot(self.layer().trie.slot(&path)));
        }
        if let Some((name, path)) = Path::parse_named(text) {
            return Ok(From::Named(self.scope.name(name)?, path));
        }
        // Compiled alone first, so that what is wrong is told of it.
        Program::compile(text, self.scope, self.helpers)?;
        let jq = &mut self.layer().jq;
        jq.push(text.to_owned());
        Ok(From::Jq(jq.len() - 1))
    }

    fn expression(&mut self, written: &text::Expression) -> Result<From, Problem> {
        match written {
            text::Expression::Text(text) => self.from(text),
            text::Expression::All(_) => Err(Problem::new("expected a path or jq, found a list")),
        }
    }

    fn object(&mut self, map: &Map, kinds: &Fields) -> Result<Plan, Problem> {
        match map {
            Map::Fields(fields) => self.fields(fields, kinds),
            Map::Named(name) => {
                let Some(map) = self.maps.get(name) else {
                    return Err(Problem::unknown("map", name, self.maps.names()));
                };
                if self.open.contains(name) {
                    return Err(Problem::new(format!("the map `{name}` holds itself")));
                }
                self.open.push(name.clone());
                let plan = self.object(map, kinds);
                self.open.pop();
                plan
            }
        }
    }

    fn fields(&mut self, fields: &Named<Field>, kinds: &Fields) -> Result<Plan, Problem> {
        let mut plans = BTreeMap::new();
        for (name, field) in fields.iter() {
            let kind = match kinds {
                Fields::Model(model) => model.kind(name).ok_or_else(|| {
                    let known = model.fields().iter().map(|field| field.name);
                    Problem::unknown("field of the model", name, known).at(name)
                })?,
                Fields::ByName => convert::kind_of(name),
                Fields::Custom => Model::Any,
            };
            let inner = if CUSTOM.contains(&name) { Fields::Custom } else { Fields::ByName };
            let plan = self.field(field, kind, &inner).map_err(|problem| problem.at(name))?;
            // `remote_x` is what `x` is, unless it is said.
            let remote = format!("remote_{name}");
            let twin = match kinds {
                Fields::Model(model) => name != "id" && model.kind(&remote).is_some(),
                Fields::ByName => name == "id" || name.ends_with("_id") || name.ends_with("_ids"),
                Fields::Custom => false,
            };
            if twin && fields.get(&remote).is_none() {
                let twin = self.field(field, kind, &inner).map_err(|problem| problem.at(name))?;
                plans.insert(remote, twin);
            }
            plans.insert(name.to_owned(), plan);
        }
        Ok(Plan::Object(plans.into_iter().collect()))
    }

    fn field(&mut self, field: &Field, kind: Model, inner: &Fields) -> Result<Plan, Problem> {
        match field {
            Field::From(written) => Ok(Plan::Value { from: self.expression(written)?, kind }),
            Field::All(all) => {
                let each = match kind {
                    Model::List(_) => kind,
                    Model::Any => Model::List(&Model::Any),
                    _ => return Err(Problem::new("is one value: expected a path, not a list")),
                };
                self.all(all, each, inner).map(Plan::All)
            }
            Field::Form(form) => self.form(form, kind, inner),
        }
    }

    fn all(&mut self, all: &[Field], kind: Model, inner: &Fields) -> Result<Vec<Plan>, Problem> {
        let one = |(index, one): (usize, &Field)| {
            self.field(one, kind, inner).map_err(|problem| problem.at(index.to_string()))
        };
        all.iter().enumerate().map(one).collect()
    }

    fn form(&mut self, form: &Form, kind: Model, inner: &Fields) -> Result<Plan, Problem> {
        if let Some(constant) = &form.constant {
            return self.constant(constant, kind).map_err(|problem| problem.at("const"));
        }
        if let Some(text) = &form.text {
            let parts = self.parts(text).map_err(|problem| problem.at("text"))?;
            return Ok(Plan::Text { parts, kind });
        }
        if let Some(first) = &form.first {
            return self.all(first, kind, inner).map(Plan::First).map_err(|problem| problem.at("first"));
        }
        if let Some(from) = &form.from {
            return self.enumeration(from, form, kind);
        }
        if let Some(date) = &form.date {
            if !matches!(kind, Model::DateTime | Model::Any) {
                return Err(Problem::new("is no date").at("date"));
            }
            let from = self.expression(date).map_err(|problem| problem.at("date"))?;
            let dates = self.rules.dates.spelt(form.spelling.as_deref(), form.zone.as_deref())?;
            return Ok(Plan::Date { from, dates: Box::new(dates) });
        }
        if let Some(each) = &form.each {
            let from = self.expression(each).map_err(|problem| problem.at("each"))?;
            let element = match kind {
                Model::List(element) => *element,
                Model::Any => Model::Any,
                _ => return Err(Problem::new("is one value: expected no list").at("each")),
            };
            self.layers.push(Open::default());
            let plan = match (&form.map, &form.value) {
                (Some(map), _) if matches!(element, Model::Object | Model::Any) => {
                    self.object(map, inner).map_err(|problem| problem.at("map"))
                }
                (Some(_), _) => Err(Problem::new("is a list of values: expected `value`").at("map")),
                (None, Some(value)) => {
                    self.field(value, element, inner).map_err(|problem| problem.at("value"))
                }
                (None, None) => Err(Problem::new("expected `map` or `value`")),
            };
            let layer = plan.and_then(|plan| self.close(plan));
            return match layer {
                Ok(layer) => Ok(Plan::Each { from, layer: Box::new(layer) }),
                Err(problem) => Err(problem),
            };
        }
        match (&form.map, kind) {
            (Some(map), Model::Object | Model::Any | Model::List(Model::Object | Model::Any)) => {
                let object = self.object(map, inner).map_err(|problem| problem.at("map"))?;
                match kind {
                    Model::List(_) => Ok(Plan::Wrapped(Box::new(object))),
                    _ => Ok(object),
                }
            }
            (Some(_), _) => Err(Problem::new("is no object").at("map")),
            (None, _) => Err(Problem::new("expected one of the small forms")),
        }
    }

    fn constant(&self, constant: &Tree, kind: Model) -> Result<Plan, Problem> {
        let json = Value::from_json(constant).json().to_owned();
        let mut written = String::new();
        let fits = self.rules.write(kind, &self.rules.dates, &json, None, Purpose::Tell, &mut written);
        fits.map_err(|trouble| Problem::new(trouble.to_string()))?;
        if let (Model::Enum(known), Tree::String(value)) = (kind, constant)
            && !known.contains(&value.as_str())
        {
            return Err(Problem::unknown("value", value, known.iter().copied()));
        }
        Ok(Plan::Constant { json, kind })
    }

    fn enumeration(&mut self, from: &text::Expression, form: &Form, kind: Model) -> Result<Plan, Problem> {
        let known = match kind {
            Model::Enum(known) => Some(known),
            Model::List(Model::Enum(known)) => Some(*known),
            Model::OpenEnum | Model::Any | Model::List(Model::OpenEnum | Model::Any) => None,
            _ => return Err(Problem::new("is no enum: expected a path alone").at("enum")),
        };
        let values = form.values.clone().unwrap_or_default();
        let fits = |value: &String| match known {
            Some(known) if !known.contains(&value.as_str()) => {
                Err(Problem::unknown("value", value, known.iter().copied()))
            }
            Some(_) | None => Ok(()),
        };
        for (key, value) in &values {
            fits(value).map_err(|problem| problem.at(key.clone()).at("values"))?;
        }
        form.otherwise.iter().try_for_each(fits).map_err(|problem| problem.at("else"))?;
        let from = self.expression(from).map_err(|problem| problem.at("enum"))?;
        let otherwise = form.otherwise.clone();
        if let Model::List(_) = kind {
            self.layers.push(Open::default());
            let plan = Plan::Enum { from: self.from(".")?, values, otherwise };
            let layer = Box::new(self.close(plan)?);
            return Ok(Plan::Each { from, layer });
        }
        Ok(Plan::Enum { from, values, otherwise })
    }

    fn parts(&mut self, written: &str) -> Result<Vec<Part>, Problem> {
        let (mut parts, mut rest) = (Vec::new(), written);
        while let Some(at) = rest.find('{') {
            let (before, behind) = (&rest[..at], &rest[at + 1..]);
            parts.extend((!before.is_empty()).then(|| Part::Text(before.to_owned())));
            if let Some(behind) = behind.strip_prefix('{') {
                parts.push(Part::Text("{".into()));
                rest = behind;
                continue;
            }
            let end = super::template::hole(behind)
                .ok_or_else(|| Problem::new(format!("a `{{` without its `}}`: `{written}`")))?;
            parts.push(Part::Hole(self.from(&behind[..end])?));
            rest = &behind[end + 1..];
        }
        parts.extend((!rest.is_empty()).then(|| Part::Text(rest.to_owned())));
        Ok(parts)
    }
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
