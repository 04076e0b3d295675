//! XML as JSON: an element is an object of its children by their local names; several of one name are a list; an
//! element with text alone is that text; attributes are `@name`, and text beside them or beside children is `#text`.
//!
//! No document type, no entities but XML's five and characters by number, no includes: what a document could make grow
//! does not exist. Depth is bounded; comments and instructions are skipped.

use quick_xml::{Reader, XmlVersion, events::Event};

use super::{
    json,
    trouble::{Trouble, TroubleKind},
    value::Value,
};

/// Elements in each other at the most.
const DEPTH_MOST: usize = 100;

#[derive(Default)]
struct Element {
    name: String,
    /// Children and attributes: a name, and the JSON texts of what has it.
    members: Vec<(String, Vec<String>)>,
    text: String,
}

impl Element {
    fn add(&mut self, name: String, json: String) {
        match self.members.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(json),
            None => self.members.push((name, vec![json])),
        }
    }

    fn json(mut self) -> String {
        let mut text = String::new();
        if self.members.is_empty() {
            json::escape(&self.text, &mut text);
            return text;
        }
        if !self.text.trim().is_empty() {
            let mut said = String::new();
            json::escape(&self.text, &mut said);
            self.add("#text".into(), said);
        }
        text.push('{');
        for (index, (name, values)) in self.members.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            json::escape(name, &mut text);
            text.push(':');
            match values.as_slice() {
                [one] => text.push_str(one),
                all => {
                    text.push('[');
                    text.push_str(&all.join(","));
                    text.push(']');
                }
            }
        }
        text.push('}');
        text
    }
}

/// Reads a document: an object with its root; an empty text is null.
///
/// # Errors
/// Where it is no XML, is too deep, or declares a document type.
pub(super) fn read(text: &str) -> Result<Value, Trouble> {
    let malformed = || Trouble::from(TroubleKind::Malformed("XML"));
    if text.trim().is_empty() {
        return Ok(Value::null());
    }
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = vec![Element::default()];
    loop {
        let event = reader.read_event().map_err(|_| malformed())?;
        let last = open.last_mut().ok_or_else(malformed)?;
        match event {
            Event::Start(tag) => {
                if open.len() > DEPTH_MOST {
                    return Err(TroubleKind::TooDeep { most: DEPTH_MOST }.into());
                }
                open.push(element(&tag)?);
            }
            Event::Empty(tag) => {
                let element = element(&tag)?;
                last.add(element.name.clone(), element.json());
            }
            Event::End(_) => {
                let element = open.pop().ok_or_else(malformed)?;
                let name = element.name.clone();
                open.last_mut().ok_or_else(malformed)?.add(name, element.json());
            }
            Event::Text(said) => last.text.push_str(&said.xml10_content()),
            Event::CData(said) => last.text.push_str(&said.xml10_content()),
            Event::GeneralRef(reference) => last.text.push(entity(&reference)?),
            Event::DocType(_) => return Err(TroubleKind::Unlike("XML without a document type").into()),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    let mut document = open.pop().ok_or_else(malformed)?;
    if !open.is_empty() {
        return Err(TroubleKind::Truncated("XML").into());
    }
    if document.members.len() != 1 || !document.text.trim().is_empty() {
        return Err(malformed());
    }
    document.text.clear();
    Value::parse(document.json())
}

fn element(tag: &quick_xml::events::BytesStart<'_>) -> Result<Element, Trouble> {
    let malformed = || Trouble::from(TroubleKind::Malformed("XML"));
    let mut element = Element { name: tag.local_name().as_ref().to_owned(), ..Element::default() };
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|_| malformed())?;
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let mut said = String::new();
        json::escape(
            &attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| malformed())?,
            &mut said,
        );
        element.add(format!("@{}", attribute.key.local_name().as_ref()), said);
    }
    Ok(element)
}

fn entity(reference: &quick_xml::events::BytesRef<'_>) -> Result<char, Trouble> {
    let malformed = || Trouble::from(TroubleKind::Malformed("XML: an entity that is none of the five"));
    if let Some(character) = reference.resolve_char_ref().map_err(|_| malformed())? {
        return Ok(character);
    }
    match &*reference.xml10_content() {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_an_object_of_its_elements() {
        let text = r#"<?xml version="1.0"?><!-- c --><D:multistatus xmlns:D="DAV:" xmlns="x"><D:response>
            <D:href>/a&amp;b/&#x41;&#66;</D:href><D:propstat><D:prop><getetag>"1"</getetag><D:empty/></D:prop></D:propstat>
            </D:response><D:response><D:href>/c</D:href></D:response><sync-token v="1&lt;2">t</sync-token>
            <data><![CDATA[<raw> & ]]>x</data></D:multistatus>"#;
        assert_eq!(
            read(text).unwrap().to_json(),
            json!({"multistatus": {
                "response": [
                    {"href": "/a&b/AB", "propstat": {"prop": {"getetag": "\"1\"", "empty": ""}}},
                    {"href": "/c"},
                ],
                "sync-token": {"@v": "1<2", "#text": "t"},
                "data": "<raw> & x",
            }})
        );
        assert!(read(" \n").unwrap().is_null());
    }

    #[test]
    fn what_could_grow_or_is_no_xml_is_refused() {
        for (text, expected) in [
            ("<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>", "without a document type"),
            ("<a>&x;</a>", "none of the five"),
            ("<a b=\"&x;\"/>", "not XML"),
            ("<a>", "breaks off"),
            ("<a></b>", "not XML"),
            ("<a/><b/>", "not XML"),
            ("text", "not XML"),
        ] {
            let trouble = read(text).unwrap_err().to_string();
            assert!(trouble.contains(expected), "{text}: {trouble}");
        }
        assert!(matches!(read(&"<a>".repeat(100_000)).unwrap_err().kind, TroubleKind::TooDeep { .. }));
    }

    proptest! {
        #[test]
        fn any_text_ends(text in "[<>a-c/&;\"='!\\[\\]? #x1-]{0,40}") {
            let _ = read(&text);
        }
    }
}
