//! What is made of a resource's record: the unified record, its digest, and which projection that is.
//!
//! The projection has two digests (language §4). *Identity* is what names the records and selects them: another identity is a
//! silent rebase. *Content* is what is made of one: another content adopts silently. Paging, limits, logging in and what
//! asks for changes are in neither.

use serde_json::Value as Json;
use tributary_schemas::{id::ProjectionVersion, resource::Resource as Unified};

use super::{
    expression::{Expression, Helpers},
    map::{Mapping, Parts},
    names::Scope,
    path::Step,
    projection,
    value::Value,
};
use crate::definition::{Definition, Problem, Written, node::Node, resource::Resource, text};

/// Keys of a listing's request that say which records there are, beside the place where they stand.
const SELECTION: [&str; 12] =
    ["call", "base", "query", "json", "form", "xml", "text", "graphql", "variables", "records", "as", "gzip"];
/// Keys of a resource that say what is made of a record.
const CONTENT: [&str; 8] = ["map", "enrich", "decode", "dates", "label", "volatile", "sets", "fields"];

/// What is made of a record, compiled.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) mapping: Mapping,
    /// `$fields`: what is read right under the place where the fields stand.
    pub(crate) fields: Value,
    identity: Vec<(String, Vec<u8>)>,
    content: Vec<(String, Vec<u8>)>,
}

impl Content {
    /// Compiles what is made of a resource's records. `scope` has the names of its parents.
    ///
    /// # Errors
    /// What is wrong with `map` and what belongs to it, and where.
    pub(crate) fn compile(
        name: Unified,
        resource: &Resource,
        written: &Written,
        scope: &Scope,
        helpers: &Helpers,
    ) -> Result<Self, Problem> {
        let map = resource.map.as_ref().ok_or_else(|| Problem::new("the key `map` is missing"))?;
        let parts = Parts {
            resource: name,
            map,
            maps: &written.definition.maps,
            dates: resource.dates.as_ref(),
            label: &resource.label,
            volatile: &resource.volatile,
            sets: &resource.sets,
            decode: &resource.decode,
        };
        let mapping = Mapping::compile(parts, scope, helpers)?;
        let names = [resource.filter.as_ref(), resource.gone.as_ref().and_then(|gone| gone.when.as_ref())];
        let names = names.into_iter().flatten().chain(ids(resource));
        let compiled: Vec<Expression> =
            names.map(|one| Expression::compile(one, scope, helpers)).collect::<Result<_, _>>()?;
        let fields = fields(resource, &mapping, &compiled)?;
        let called = compiled.iter().map(Expression::helpers).collect::<String>();
        let tree = written.resource(name.name());
        let part = |node: &Node, key: &str| node.get(key).map(|node| (key.to_owned(), node.canonical()));
        let mut identity = Vec::new();
        if let Some(tree) = tree {
            selection("", tree, &mut identity);
            over(written, &written.definition, tree, &mut identity, 0);
        }
        identity.push(("helpers".into(), called.into_bytes()));
        let mut content: Vec<(String, Vec<u8>)> =
            tree.map(|tree| CONTENT.iter().filter_map(|key| part(tree, key)).collect()).unwrap_or_default();
        if let Some(maps) = written.tree.get("maps") {
            let mut used = Vec::new();
            tree.and_then(|tree| tree.get("map")).into_iter().for_each(|map| mentioned(map, maps, &mut used));
            content.extend(used.iter().filter_map(|name| part(maps, name)));
        }
        if let Some(record) = tree.and_then(|tree| tree.get("changed")).and_then(|it| it.get("record")) {
            content.push(("changed.record".into(), record.canonical()));
        }
        if let Some(get) = tree.and_then(|tree| tree.get("get")).filter(|_| fetches(resource)) {
            content.push(("get".into(), get.canonical()));
        }
        content.push(("helpers".into(), mapping.helpers().into_bytes()));
        Ok(Self { mapping, fields, identity, content })
    }

    /// The digests, where the project leaves out these fields besides.
    pub(crate) fn version(&self, ignored: &[String]) -> ProjectionVersion {
        let mut ignored: Vec<&str> = ignored.iter().map(String::as_str).collect();
        ignored.sort_unstable();
        ignored.dedup();
        let ignored = ignored.join(",");
        fn parts(all: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
            all.iter().map(|(key, bytes)| (key.as_str(), bytes.as_slice())).collect()
        }
        let mut content = parts(&self.content);
        content.push(("ignored", ignored.as_bytes()));
        projection::version(&parts(&self.identity), &content)
    }
}

fn fetches(resource: &Resource) -> bool {
    resource.changed.as_ref().is_some_and(|changed| changed.fetch)
}

fn ids(resource: &Resource) -> Vec<&text::Expression> {
    use crate::definition::resource::Id;
    match &resource.id {
        None => Vec::new(),
        Some(Id::One(one)) => vec![one],
        Some(Id::First(all)) => all.iter().collect(),
        Some(Id::Parts(parts)) => parts.iter().map(|(_, part)| part).collect(),
    }
}

/// What says which records a listing has: the request, the id, and what is left out.
fn selection(prefix: &str, tree: &Node, to: &mut Vec<(String, Vec<u8>)>) {
    let mut push = |key: &str, node: Option<&Node>| {
        to.extend(node.map(|node| (format!("{prefix}{key}"), node.canonical())));
    };
    for key in ["id", "where", "with"] {
        push(key, tree.get(key));
    }
    let list = tree.get("list");
    for key in SELECTION {
        push(&format!("list.{key}"), list.and_then(|list| list.get(key)));
    }
    for key in ["when", "id", "absence"] {
        push(&format!("gone.{key}"), tree.get("gone").and_then(|gone| gone.get(key)));
    }
}

/// What a listing is repeated over, with what says which parents there are.
fn over(
    written: &Written,
    definition: &Definition,
    tree: &Node,
    to: &mut Vec<(String, Vec<u8>)>,
    depth: usize,
) {
    let Some(levels) = tree.get("over") else { return };
    to.push((format!("over.{depth}"), levels.canonical()));
    let parents = levels.json();
    let names = parents.as_array().into_iter().flatten().filter_map(|level| level["each"].as_str());
    for name in names.filter(|name| definition.resources.get(name).is_some()) {
        if let Some(parent) = written.resource(name).filter(|_| depth < 8) {
            selection(&format!("over.{depth}.{name}."), parent, to);
            over(written, definition, parent, to, depth + 1);
        }
    }
}

/// The shared maps that a map mentions, and those that they mention.
fn mentioned(node: &Node, maps: &Node, used: &mut Vec<String>) {
    use crate::definition::node::Kind;
    match &node.kind {
        Kind::Null => {}
        Kind::Text { text, .. } => {
            if let Some(map) = maps.get(text).filter(|_| !used.contains(text)) {
                used.push(text.clone());
                mentioned(map, maps, used);
            }
        }
        Kind::List(items) => items.iter().for_each(|item| mentioned(item, maps, used)),
        Kind::Map(entries) => entries.iter().for_each(|(_, value)| mentioned(value, maps, used)),
    }
}

/// The keys that `map`, `id` and `where` read right under the place where the fields stand, and those that are named besides.
fn fields(resource: &Resource, mapping: &Mapping, named: &[Expression]) -> Result<Value, Problem> {
    let Some(selected) = &resource.fields else { return Ok(Value::null()) };
    let selected = &selected.0;
    let not_a_path = || Problem::new("expected a path").at("at").at("fields");
    let text::Expression::Text(at) = &selected.at else { return Err(not_a_path()) };
    let at = super::path::Path::parse(at).ok_or_else(not_a_path)?;
    let at: Vec<String> =
        at.0.iter()
            .map(|step| match step {
                Step::Key(key) => key.to_string(),
                Step::Index(index) => index.to_string(),
            })
            .collect();
    let mut keys: Vec<String> = selected.also.clone();
    for read in mapping.reads().into_iter().chain(named.iter().flat_map(Expression::reads)) {
        if let Some(key) = read.strip_prefix(at.as_slice()).and_then(<[String]>::first)
            && !keys.contains(key)
        {
            keys.push(key.clone());
        }
    }
    keys.sort();
    Ok(Value::from_json(&Json::from(keys)))
}
