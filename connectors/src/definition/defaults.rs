//! What resources inherit. It is merged on the tree: a resource's key replaces the default's; `list`, `query`,
//! `headers` and `with` merge key by key; null takes away. Listings inside inherit `records` and `page` only.

use std::time::Duration;

use super::{
    keys::{Named, keys},
    node::{Kind, Node},
    request::BODIES,
    resource::Resource,
    text::Template,
};

keys! {
    /// What all requests and resources have unless they say otherwise.
    pub struct Defaults {
        /// What the path of a call stands behind.
        base: Option<Template>,
        /// Headers of every request.
        headers: Named<Template>,
        /// How long a request may take.
        timeout: Duration = Duration::from_secs(30),
        ; /// What resources inherit.
        ..resource: Resource
    }
}

/// The keys of `defaults` that are no resource's.
const NOT_OF_RESOURCES: [&str; 3] = ["base", "headers", "timeout"];

/// A resource's tree with what it inherits.
pub(crate) fn inherit(defaults: Option<&Node>, resource: &Node) -> Node {
    let mut under = match defaults {
        Some(defaults) => defaults.clone(),
        None => Node { kind: Kind::Map(Vec::new()), ..resource.clone() },
    };
    NOT_OF_RESOURCES.iter().for_each(|key| under.take(key));
    let mut whole = under.with(resource);
    if let (Some(under), Some(over)) = (under.get("with"), resource.get("with")) {
        whole.set("with", merge(under, over));
    }
    if let (Some(under), Some(over)) = (under.get("list"), resource.get("list")) {
        whole.set("list", merge_listing(under, over));
    }
    lend(&mut whole);
    whole
}

fn merge(under: &Node, over: &Node) -> Node {
    match over.kind {
        Kind::Map(_) => under.with(over),
        Kind::Null | Kind::Text { .. } | Kind::List(_) => over.clone(),
    }
}

fn merge_listing(under: &Node, over: &Node) -> Node {
    if !matches!(over.kind, Kind::Map(_)) {
        return over.clone();
    }
    let mut base = under.clone();
    if BODIES.iter().any(|body| over.get(body).is_some()) {
        BODIES.iter().chain(&["variables"]).for_each(|body| base.take(body));
    }
    let mut whole = base.with(over);
    for key in ["query", "headers"] {
        if let (Some(under), Some(over)) = (under.get(key), over.get(key)) {
            whole.set(key, merge(under, over));
        }
    }
    whole
}

/// Gives `records` of the listing to the listings inside, and its `page` to those that have none.
fn lend(resource: &mut Node) {
    let records = resource.get("list").and_then(|list| list.get("records")).cloned();
    let page = resource.get("page").cloned();
    for section in ["changed", "gone"] {
        let Some(mut whole) = resource.get(section).cloned() else { continue };
        lend_listing(&mut whole, records.as_ref());
        if let Some(page) =
            page.as_ref().filter(|_| whole.get("list").is_some() && whole.get("page").is_none())
        {
            whole.set("page", page.clone());
        }
        if let Some(gone) = whole.get("gone").cloned().filter(|gone| gone.get("list").is_some()) {
            let mut gone = gone;
            lend_listing(&mut gone, records.as_ref());
            whole.set("gone", gone);
        }
        resource.set(section, whole);
    }
    if let Some(Node { kind: Kind::List(levels), .. }) = resource.get("over").cloned().as_mut() {
        for level in levels.iter_mut() {
            if let (Some(each), Some(records)) = (level.get("each").cloned(), records.as_ref())
                && matches!(each.kind, Kind::Map(_))
                && each.get("records").is_none()
            {
                let mut each = each;
                each.set("records", records.clone());
                level.set("each", each);
            }
        }
        let mut over = resource.get("over").cloned().unwrap_or_else(|| resource.clone());
        over.kind = Kind::List(levels.clone());
        resource.set("over", over);
    }
}

fn lend_listing(section: &mut Node, records: Option<&Node>) {
    if let (Some(mut list), Some(records)) = (section.get("list").cloned(), records)
        && matches!(list.kind, Kind::Map(_))
        && list.get("records").is_none()
    {
        list.set("records", records.clone());
        section.set("list", list);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_resource_inherits_key_by_key_where_it_is_said_so() {
        let defaults = Node::parse(
            "base: https://x\nheaders: {a: b}\nid: .id\npage: {offset: 0}\nwith: {a: 1}\nchanged: {time: rfc3339, list: {call: GET /c}}\n\
             list: {call: GET /x, query: {limit: $size, a: b}, json: {x: 1}, records: .data}",
        )
        .unwrap();
        let resource =
            Node::parse("with: {b: 2}\nid: .uid\nlist: {query: {a: null, c: d}, form: {y: 1}}\ngone: {list: {call: GET /g}, page: none}")
                .unwrap();
        assert_eq!(
            inherit(Some(&defaults), &resource).json(),
            json!({
                "id": ".uid", "with": {"a": 1, "b": 2}, "page": {"offset": 0},
                "list": {"call": "GET /x", "query": {"limit": "$size", "c": "d"}, "form": {"y": 1}, "records": ".data"},
                "changed": {"time": "rfc3339", "list": {"call": "GET /c", "records": ".data"}, "page": {"offset": 0}},
                "gone": {"list": {"call": "GET /g", "records": ".data"}, "page": "none"},
            })
        );
        let without = Node::parse("changed: null\npage: null").unwrap();
        let whole = inherit(Some(&defaults), &without);
        assert!(whole.get("changed").is_none() && whole.get("page").is_none());
    }
}
