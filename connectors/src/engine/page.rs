//! The pages of a listing: which comes next, when it has ended, and when it lies.
//!
//! A cursor that was seen before in this run, more pages than allowed, and pages that hold only records that were seen
//! before do not go on for ever: they are `endless`.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use super::{
    Trouble,
    expression::Expression,
    jq::Helpers,
    names::{Name, Names, Scope},
    outcome::Answer,
    request::Call,
    value::Value,
};
use crate::definition::{
    Problem,
    page::{Ends, Page as Written},
};

/// Pages in a row that hold records, all seen before, at the most.
const REPEATS_MOST: u32 = 10;

/// How a listing is paged, compiled.
#[derive(Debug)]
pub(crate) struct Paging {
    preset: Preset,
    size: u32,
    more: Option<Expression>,
    ends: Ends,
    pub(crate) sure: bool,
    pub(crate) then: Option<Call>,
}

#[derive(Debug)]
enum Preset {
    /// One answer has all; of at most so many records.
    One(Option<u64>),
    Cursor(Expression),
    SinceId(Expression),
    Number(u64),
    Offset(u64),
    NextUrl(Expression),
    Link(String),
}

/// Where a listing is.
#[derive(Debug, Default)]
pub(crate) struct Pager {
    pages: u64,
    cursor: Option<Value>,
    url: Option<String>,
    counted: u64,
    seen: HashSet<u64>,
    repeats: u32,
}

/// What a page makes of its listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There is another.
    More,
    /// It ended properly.
    End,
}

/// Why a listing is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lie {
    /// It does not end.
    Endless(&'static str),
    /// It is larger than its definition allows.
    TooLarge,
    /// Its ids do not ascend, or its cursor can't be read.
    Bad(String),
}

impl From<Trouble> for Lie {
    fn from(trouble: Trouble) -> Self {
        Self::Bad(format!("page: {trouble}"))
    }
}

impl Pager {
    /// Whether it is past its first page.
    pub(crate) fn has_turned(&self) -> bool {
        self.pages > 0
    }
}

impl Paging {
    pub(crate) fn compile(
        written: Option<&Written>,
        scope: &Scope,
        helpers: &Helpers,
    ) -> Result<Self, Problem> {
        let Some(Written::By(pages)) = written else {
            let preset = Preset::One(None);
            return Ok(Self { preset, size: 0, more: None, ends: Ends::EmptyPage, sure: true, then: None });
        };
        let scope = scope.clone().and(Name::Status).and(Name::Headers);
        let expression = |written: &_, key: &'static str| {
            Expression::compile(written, &scope, helpers).map_err(|problem| problem.at(key))
        };
        let (preset, sure) = if let Some(cursor) = &pages.cursor {
            (Preset::Cursor(expression(cursor, "cursor")?), pages.stable.is_some())
        } else if let Some(id) = &pages.since_id {
            (Preset::SinceId(expression(id, "since_id")?), true)
        } else if let Some(url) = &pages.next_url {
            (Preset::NextUrl(expression(url, "next_url")?), pages.stable.is_some())
        } else if let Some(relation) = &pages.link {
            (Preset::Link(relation.clone()), pages.stable.is_some())
        } else if let Some(first) = pages.page {
            (Preset::Number(first), false)
        } else if let Some(first) = pages.offset {
            (Preset::Offset(first), false)
        } else {
            (Preset::One(pages.most), true)
        };
        let then = pages.then.as_ref().map(|then| Call::compile(&then.request, &scope, helpers)).transpose();
        Ok(Self {
            preset,
            size: pages.size,
            more: pages.more.as_ref().map(|more| expression(more, "more")).transpose()?,
            ends: pages.ends.unwrap_or(Ends::EmptyPage),
            sure,
            then: then.map_err(|problem| problem.at("then"))?,
        })
    }

    /// `$size` and `$cursor` of the next page.
    pub(crate) fn names(&self, pager: &Pager, names: &Names) -> Names {
        let number = |number: u64| Value::from_json(&serde_json::Value::from(number));
        let cursor = match (&self.preset, &pager.cursor) {
            (_, Some(cursor)) => cursor.clone(),
            (Preset::Number(first) | Preset::Offset(first), None) => number(*first),
            (
                Preset::One(_)
                | Preset::Cursor(_)
                | Preset::SinceId(_)
                | Preset::NextUrl(_)
                | Preset::Link(_),
                None,
            ) => Value::null(),
        };
        let size = if self.size == 0 { Value::null() } else { number(u64::from(self.size)) };
        names.clone().with(Name::Size, size).with(Name::Cursor, cursor)
    }

    /// The next page's URL, where an answer gave it.
    pub(crate) fn url<'p>(&self, pager: &'p Pager) -> Option<&'p str> {
        pager.url.as_deref()
    }

    /// Goes on behind a page. `last` is its last item, `fresh` whether any of its records was new, `most` how many pages
    /// a listing may have.
    pub(crate) fn turn(
        &self,
        pager: &mut Pager,
        page: &Turned<'_>,
        names: &Names,
        most: u64,
    ) -> Result<Turn, Lie> {
        pager.pages += 1;
        pager.counted += page.items;
        if pager.pages > most {
            return Err(Lie::Endless("more pages than `poll.pages` allows"));
        }
        pager.repeats = if page.items > 0 && !page.fresh { pager.repeats + 1 } else { 0 };
        if pager.repeats >= REPEATS_MOST {
            return Err(Lie::Endless("ten pages in a row held only records that were seen before"));
        }
        if let Some(more) = &self.more
            && !more.holds(page.body, names)?
        {
            return Ok(Turn::End);
        }
        let short = self.ends == Ends::ShortPage && page.items < u64::from(self.size);
        let ended = page.items == 0 || short;
        let number = |number: u64| Value::from_json(&serde_json::Value::from(number));
        match &self.preset {
            Preset::One(most) => match most {
                Some(most) if page.items >= *most => Err(Lie::TooLarge),
                Some(_) | None => Ok(Turn::End),
            },
            Preset::Cursor(cursor) => {
                let next = cursor.one(page.body, names)?;
                self.advance(pager, next)
            }
            Preset::SinceId(_) if ended => Ok(Turn::End),
            Preset::SinceId(id) => {
                let Some(last) = page.last else { return Ok(Turn::End) };
                let next = id.one(last, names)?;
                if let Some(before) = &pager.cursor
                    && !ascends(before, &next)
                {
                    return Err(Lie::Bad("page: the ids of a listing by `since_id` do not ascend".into()));
                }
                self.advance(pager, next)
            }
            Preset::Number(_) | Preset::Offset(_) if ended => Ok(Turn::End),
            Preset::Number(first) => {
                pager.cursor = Some(number(first.saturating_add(pager.pages)));
                Ok(Turn::More)
            }
            Preset::Offset(first) => {
                pager.cursor = Some(number(first.saturating_add(pager.counted)));
                Ok(Turn::More)
            }
            Preset::NextUrl(url) => {
                let next = url.one(page.body, names)?;
                self.follow(pager, next.as_text().map(|text| text.into_owned()))
            }
            Preset::Link(relation) => self.follow(pager, link(page.answer, relation)),
        }
    }

    fn advance(&self, pager: &mut Pager, next: Value) -> Result<Turn, Lie> {
        if !next.truthy() || next.as_text().is_some_and(|text| text.is_empty()) {
            return Ok(Turn::End);
        }
        if !pager.seen.insert(xxh3_64(next.json().as_bytes())) {
            return Err(Lie::Endless("a cursor came that was seen before"));
        }
        pager.cursor = Some(next.detached());
        Ok(Turn::More)
    }

    fn follow(&self, pager: &mut Pager, next: Option<String>) -> Result<Turn, Lie> {
        let Some(next) = next.filter(|next| !next.is_empty()) else { return Ok(Turn::End) };
        if !pager.seen.insert(xxh3_64(next.as_bytes())) {
            return Err(Lie::Endless("a page's URL came that was seen before"));
        }
        pager.url = Some(next);
        Ok(Turn::More)
    }
}

/// A page, as paging sees it.
#[derive(Debug)]
pub(crate) struct Turned<'a> {
    pub(crate) body: &'a Value,
    pub(crate) answer: Answer<'a>,
    pub(crate) items: u64,
    pub(crate) last: Option<&'a Value>,
    pub(crate) fresh: bool,
}

/// Numbers by their size (digits of any length), texts by their bytes.
fn ascends(before: &Value, next: &Value) -> bool {
    let (Some(before), Some(next)) = (before.as_text(), next.as_text()) else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits(&before) && digits(&next) {
        let (before, next) = (before.trim_start_matches('0'), next.trim_start_matches('0'));
        return (before.len(), before) < (next.len(), next);
    }
    before < next
}

/// `Link: <url>; rel="next"` (RFC 8288).
fn link(answer: Answer<'_>, relation: &str) -> Option<String> {
    let links =
        answer.headers.iter().filter(|(name, _)| name == "link").flat_map(|(_, value)| value.split(",<"));
    for link in links.flat_map(|link| link.split(", <")) {
        let (target, parameters) = link.trim_start_matches('<').split_once('>')?;
        let is = parameters.split(';').any(|parameter| {
            parameter.trim().strip_prefix("rel=").is_some_and(|rel| {
                rel.trim_matches('"').split_whitespace().any(|it| it.eq_ignore_ascii_case(relation))
            })
        });
        if is {
            return Some(target.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::definition::{keys::Read, node::Node};

    fn paging(text: &str) -> Paging {
        let tree = Node::parse(&format!("page: {text}")).unwrap();
        let written = Written::read(tree.get("page").unwrap()).unwrap();
        Paging::compile(Some(&written), &Scope::of(&[]), &Helpers::default()).unwrap()
    }

    /// Cursors that are asked for, and how it ends.
    fn walk(
        paging: &Paging,
        pages: &[serde_json::Value],
        headers: &[(String, String)],
    ) -> (Vec<String>, Result<Turn, Lie>) {
        let (mut pager, mut asked) = (Pager::default(), Vec::new());
        let mut seen = HashSet::new();
        let mut turn = Ok(Turn::More);
        for page in pages {
            let names = paging.names(&pager, &Names::new());
            asked.push(pager.url.clone().unwrap_or_else(|| names.get(&Name::Cursor).json().to_owned()));
            let items: Vec<Value> = page["d"].as_array().unwrap().iter().map(Value::from_json).collect();
            let fresh = items.iter().any(|item| seen.insert(item.json().to_owned()));
            let body = Value::from_json(page);
            let answer = Answer { status: 200, headers, body: b"" };
            let turned = Turned { body: &body, answer, items: items.len() as u64, last: items.last(), fresh };
            turn = paging.turn(&mut pager, &turned, &Names::new(), 20);
            if turn != Ok(Turn::More) {
                break;
            }
        }
        (asked, turn)
    }

    #[test]
    fn each_preset_asks_for_its_pages_and_ends_properly() {
        let ids = |ids: &[u64]| json!({"d": ids.iter().map(|id| json!({"id": id})).collect::<Vec<_>>()});
        for (preset, pages, asked, end) in [
            ("none", vec![ids(&[1, 2])], vec!["null"], Ok(Turn::End)),
            ("{ most: 2 }", vec![ids(&[1, 2])], vec!["null"], Err(Lie::TooLarge)),
            (
                "{ cursor: .n }",
                vec![json!({"d": [1], "n": "a"}), json!({"d": [], "n": "b"}), json!({"d": [2], "n": ""})],
                vec!["null", "\"a\"", "\"b\""],
                Ok(Turn::End),
            ),
            (
                "{ cursor: .n, more: .more }",
                vec![json!({"d": [1], "n": "a", "more": true}), json!({"d": [2], "n": "b", "more": false})],
                vec!["null", "\"a\""],
                Ok(Turn::End),
            ),
            ("{ offset: 0 }", vec![ids(&[1, 2]), ids(&[3]), ids(&[])], vec!["0", "2", "3"], Ok(Turn::End)),
            (
                "{ page: 1, size: 2, ends: short_page }",
                vec![ids(&[1, 2]), ids(&[3])],
                vec!["1", "2"],
                Ok(Turn::End),
            ),
            (
                "{ since_id: .id }",
                vec![ids(&[1, 2]), ids(&[7]), ids(&[])],
                vec!["null", "2", "7"],
                Ok(Turn::End),
            ),
            (
                "{ next_url: .n }",
                vec![json!({"d": [1], "n": "/p2"}), json!({"d": [2]})],
                vec!["null", "/p2"],
                Ok(Turn::End),
            ),
        ] {
            let asked: Vec<String> = asked.into_iter().map(str::to_owned).collect();
            assert_eq!(walk(&paging(preset), &pages, &[]), (asked, end), "{preset}");
        }
    }

    #[test]
    fn a_listing_that_lies_is_caught() {
        let endless = |preset: &str, pages: &[serde_json::Value]| {
            matches!(walk(&paging(preset), pages, &[]).1, Err(Lie::Endless(_)))
        };
        let cursors: Vec<_> =
            ["a", "b", "a"].iter().map(|cursor| json!({"d": [cursor], "n": cursor})).collect();
        assert!(endless("{ cursor: .n }", &cursors), "a, b, a");
        let same: Vec<_> = (0..15).map(|at| json!({"d": [1], "n": at})).collect();
        assert!(endless("{ offset: 0 }", &same), "the same page again and again");
        let many: Vec<_> = (0..30).map(|at| json!({"d": [at], "n": at + 1})).collect();
        assert!(endless("{ page: 1 }", &many), "more pages than allowed");
        let back = [json!({"d": [{"id": 5}]}), json!({"d": [{"id": 4}]})];
        assert!(matches!(walk(&paging("{ since_id: .id }"), &back, &[]).1, Err(Lie::Bad(_))));
        let long = [
            json!({"d": [{"id": "9999999999999999999999"}]}),
            json!({"d": [{"id": "10000000000000000000000"}]}),
            json!({"d": []}),
        ];
        assert_eq!(walk(&paging("{ since_id: .id }"), &long, &[]).1, Ok(Turn::End));
    }

    #[test]
    fn a_link_header_is_read_by_its_relation() {
        let header = |value: &str| vec![("link".to_owned(), value.to_owned())];
        let of = |value: &str| {
            let headers = header(value);
            link(Answer { status: 200, headers: &headers, body: b"" }, "next")
        };
        assert_eq!(
            of(r#"<https://x/?p=1>; rel="prev", <https://x/?p=3,4>; rel="next""#).as_deref(),
            Some("https://x/?p=3,4")
        );
        assert_eq!(of("<https://x/2>; title=x; rel=next").as_deref(), Some("https://x/2"));
        assert_eq!(of("<https://x/2>; rel=last"), None);
    }
}
