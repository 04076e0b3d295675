//! All paths of a mapping in one look at a record: what a path leads to goes into its slot, and what nobody asks for is
//! skipped where it stands.

use super::{
    json,
    path::{Path, Step},
    trouble::{Kind, Trouble},
};

/// The paths, as a tree of their steps.
#[derive(Debug, Default)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    paths: Vec<Path>,
}

#[derive(Debug, Default)]
struct Node {
    slot: Option<usize>,
    /// Keys, also those that are spelt like places.
    keys: Vec<(Box<str>, usize)>,
    places: Vec<(usize, usize)>,
    /// All slots under it.
    under: Vec<usize>,
}

/// What stands in a slot for a path that something else is in the way of.
const BLOCKED: [&str; 4] = ["!text", "!number", "!boolean", "!list"];

fn blocked(found: Kind) -> &'static str {
    match found {
        Kind::Text => BLOCKED[0],
        Kind::Number => BLOCKED[1],
        Kind::Boolean => BLOCKED[2],
        Kind::List | Kind::Object => BLOCKED[3],
        Kind::Null => "",
    }
}

/// What a slot holds: JSON text, empty where nothing is.
///
/// # Errors
/// Where something else was in the way.
pub(super) fn held(slot: &str) -> Result<&str, Trouble> {
    match slot.strip_prefix('!') {
        None => Ok(slot),
        Some(found) => {
            let found = match found {
                "text" => Kind::Text,
                "number" => Kind::Number,
                "boolean" => Kind::Boolean,
                _ => Kind::List,
            };
            Err(Trouble::expected("an object", found))
        }
    }
}

impl Trie {
    /// The slot of a path.
    pub(super) fn slot(&mut self, path: &Path) -> usize {
        if let Some(slot) = self.paths.iter().position(|known| known == path) {
            return slot;
        }
        let slot = self.paths.len();
        self.paths.push(path.clone());
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for step in &path.0 {
            self.nodes[at].under.push(slot);
            at = match step {
                Step::Key(key) => self.child(at, key, None),
                Step::Index(place) => self.child(at, &place.to_string(), Some(*place)),
            };
        }
        self.nodes[at].slot = Some(slot);
        slot
    }

    fn child(&mut self, at: usize, key: &str, place: Option<usize>) -> usize {
        let known = self.nodes[at].keys.iter().find(|(known, _)| **known == *key).map(|(_, node)| *node);
        let node = known.unwrap_or_else(|| {
            self.nodes.push(Node::default());
            let node = self.nodes.len() - 1;
            self.nodes[at].keys.push((key.into(), node));
            node
        });
        if let Some(place) = place
            && !self.nodes[at].places.iter().any(|(known, _)| *known == place)
        {
            self.nodes[at].places.push((place, node));
        }
        node
    }

    pub(super) fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// Fills the slots of a record.
    pub(super) fn fill<'a>(&self, record: &'a str) -> Vec<&'a str> {
        let mut slots = vec![""; self.paths.len()];
        if !self.nodes.is_empty() {
            self.visit(0, record, &mut slots);
        }
        slots
    }

    fn visit<'a>(&self, at: usize, value: &'a str, slots: &mut [&'a str]) {
        let node = &self.nodes[at];
        if let Some(slot) = node.slot {
            slots[slot] = value;
        }
        if node.keys.is_empty() {
            return;
        }
        // A key that stood before counts no more.
        if at > 0 {
            node.under.iter().for_each(|slot| slots[*slot] = "");
        }
        match json::kind(value) {
            Kind::Object => {
                // Records of a page have their keys in one order, mostly: where the last was found, the next is near.
                let mut near = 0;
                for (key, value) in json::members(value) {
                    let length = node.keys.len();
                    for step in 0..length {
                        let place = if near + step < length { near + step } else { near + step - length };
                        let (name, child) = &node.keys[place];
                        if json::is_key(key, name) {
                            near = place + 1;
                            self.visit(*child, value, slots);
                            break;
                        }
                    }
                }
            }
            Kind::List => {
                let mut elements = json::elements(value);
                let mut empty = true;
                if let Some(last) = node.places.iter().map(|(place, _)| *place).max() {
                    for (index, element) in elements.by_ref().take(last + 1).enumerate() {
                        empty = false;
                        if let Some((_, child)) = node.places.iter().find(|(place, _)| *place == index) {
                            self.visit(*child, element, slots);
                        }
                    }
                }
                if !empty || elements.next().is_some() {
                    let keys = node.keys.iter().map(|(_, child)| *child);
                    keys.filter(|child| !node.places.iter().any(|(_, place)| place == child))
                        .for_each(|child| self.block(child, Kind::List, slots));
                }
            }
            found => node.under.iter().for_each(|slot| slots[*slot] = blocked(found)),
        }
    }

    fn block(&self, at: usize, found: Kind, slots: &mut [&str]) {
        let node = &self.nodes[at];
        node.slot.iter().chain(&node.under).for_each(|slot| slots[*slot] = blocked(found));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_path_leads_where_it_leads_alone() {
        let paths = [
            ".",
            ".a",
            ".a.b",
            ".a.b.0",
            ".a.b.1.c",
            ".s",
            ".s.x",
            ".l.x",
            ".l.0",
            ".l.0.y",
            ".n.x",
            ".e.x",
            ".\"k\\\"\"",
            ".o.0",
        ];
        let record = r#"{"x":1,"a":{"b":[1]},"s":"t","l":[{"y":2}],"n":null,"e":[],"k\"":5,"a":{"b":[7,{"c":null}],"z":{"b":0}},"o":{"0":3}}"#;
        same(&paths, record);
        let mut trie = Trie::default();
        let slot = trie.slot(&Path::parse(".a.b").unwrap());
        assert_eq!(trie.slot(&Path::parse(".a.b").unwrap()), slot);
        let gone = r#"{"a":{"b":1},"a":{"c":2}}"#;
        assert_eq!(trie.fill(gone)[slot], "", "of a key that stands twice the last counts");
    }

    fn same(paths: &[&str], record: &str) {
        let mut trie = Trie::default();
        let paths: Vec<Path> = paths.iter().map(|path| Path::parse(path).unwrap()).collect();
        let slots: Vec<usize> = paths.iter().map(|path| trie.slot(path)).collect();
        let filled = trie.fill(record);
        for (path, slot) in paths.iter().zip(slots) {
            let alone = path.walk(record).map(|found| found.unwrap_or(""));
            let here = held(filled[slot]).map(|found| if found == "null" { "" } else { found });
            assert_eq!(here.is_err(), alone.is_err(), "{path} of {record}");
            assert_eq!(here.unwrap_or(""), alone.unwrap_or(""), "{path} of {record}");
        }
    }

    proptest! {
        #[test]
        fn any_record_is_read_as_by_paths_alone(shape in r#"\{("[ab]":(1|null|"t"|\[\]|\[1,\{"a":2\}\]|\{"a":\{"b":3\}\}|\{\}),){0,4}"b":0\}"#) {
            same(&[".a", ".b", ".a.a", ".a.b", ".a.a.b", ".a.0", ".a.1.a", ".b.a.b", ".b.1", ".b.1.a"], &shape);
        }
    }
}
