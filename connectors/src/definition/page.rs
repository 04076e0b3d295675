//! How a listing is paged. Each preset says by itself how far it is to be believed about absence.

use serde_json::{Map, Value, json};

use super::{
    keys::{Read, exactly_one, keys, words},
    node::{Kind, Node},
    problem::Problem,
    request::List,
    text::Expression,
};

keys! {
    /// How pages follow each other.
    pub struct Pages {
        /// Records of a page: `$size`.
        size: u32 = 100,
        /// The next page's cursor in the answer: `$cursor`.
        cursor: Option<Expression>,
        /// The last record's id is the next cursor; ids ascend.
        since_id: Option<Expression>,
        /// The first page's number.
        page: Option<u64>,
        /// The first offset.
        offset: Option<u64>,
        /// The next page's URL in the answer.
        next_url: Option<Expression>,
        /// The next page's URL in the header `Link`, by its relation.
        link: Option<String>,
        /// One page, of at most so many records.
        most: Option<u64>,
        /// Whether there is another page, in the answer.
        more: Option<Expression>,
        /// What ends the listing.
        ends: Option<Ends>,
        /// Why a record can't be skipped when another goes meanwhile.
        stable: Option<String>,
        /// Another request for later pages.
        then: Option<List>,
    }
}

words! {
    /// What ends a listing that has no cursor.
    pub enum Ends {
        /// A page without records.
        EmptyPage = "empty_page",
        /// A page with fewer records than asked for.
        ShortPage = "short_page",
    }
}

/// How a listing is paged: not at all, or by pages.
#[derive(Debug, Clone, PartialEq)]
pub enum Page {
    /// One answer has all.
    None,
    /// By pages.
    By(Box<Pages>),
}

impl Read for Page {
    fn read(node: &Node) -> Result<Self, Problem> {
        match &node.kind {
            Kind::Text { text, .. } if text == "none" => Ok(Self::None),
            Kind::Map(_) => {
                let pages = Pages::read(node)?;
                pages.check()?;
                Ok(Self::By(Box::new(pages)))
            }
            Kind::Null | Kind::Text { .. } | Kind::List(_) => {
                Err(Problem::new(format!("expected `none` or a map, found {}", node.found())))
            }
        }
    }

    fn schema(defs: &mut Map<String, Value>) -> Value {
        json!({ "anyOf": [{ "const": "none" }, Pages::schema(defs)] })
    }
}

impl Pages {
    fn check(&self) -> Result<(), Problem> {
        exactly_one(&[
            ("cursor", self.cursor.is_some()),
            ("since_id", self.since_id.is_some()),
            ("page", self.page.is_some()),
            ("offset", self.offset.is_some()),
            ("next_url", self.next_url.is_some()),
            ("link", self.link.is_some()),
            ("most", self.most.is_some()),
        ])?;
        if self.size == 0 {
            return Err(Problem::new("expected at least 1").at("size"));
        }
        let takes_a_reason = self.cursor.is_some() || self.next_url.is_some() || self.link.is_some();
        match &self.stable {
            Some(_) if !takes_a_reason => Err(Problem::new(
                "stands only beside `cursor`, `next_url` or `link`: of the others it is known",
            )
            .at("stable")),
            Some(reason) if reason.trim().len() < 8 => {
                Err(Problem::new("expected the reason, in words").at("stable"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_is_one_and_a_reason_is_given_where_it_counts() {
        let read = |text: &str| {
            let tree = Node::parse(&format!("page: {text}")).unwrap();
            Page::read(tree.get("page").unwrap()).map_err(|problem| problem.to_string())
        };
        assert_eq!(read("none"), Ok(Page::None));
        assert!(read("{ cursor: .next, stable: the server keeps it }").is_ok());
        for (text, expected) in [
            ("nothing", "expected `none` or a map"),
            ("{ size: 5 }", "expected exactly one of cursor, since_id"),
            ("{ page: 1, offset: 0 }", "found page and offset"),
            ("{ offset: 0, stable: the server keeps it }", "stable: stands only beside"),
            ("{ cursor: .next, stable: yes }", "stable: expected the reason"),
            ("{ cursor: .next, size: 0 }", "size: expected at least 1"),
            ("{ since_id: .id, ends: short_pag }", "did you mean `short_page`?"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
