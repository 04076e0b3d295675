//! A batch's items, and what of the body is an element's own.

use std::ops::Range;

use crate::engine::{
    expression::Expression,
    json,
    names::Names,
    path::Path,
    trouble::{Kind, Trouble},
    value::Value,
};

/// Where the items of a body are.
#[derive(Debug)]
pub(super) struct Items(pub(super) Option<Expression>);

/// An item of a body.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Its place in the batch.
    pub(super) place: u32,
    /// What it says.
    pub(super) value: Value,
    /// Its own part of the body.
    pub(super) raw: RawBody,
}

/// What of a body is an element's own: the body whole, or what is around the element with it alone in its list, so that
/// nobody sees another's. Nothing is copied before [`RawBody::text`].
#[derive(Debug, Clone)]
pub struct RawBody {
    base: Option<Value>,
    /// Lists within each other, the outer one first, and the element that stays of each.
    cuts: Vec<(Range<usize>, Range<usize>)>,
}

impl RawBody {
    pub(super) fn whole() -> Self {
        Self { base: None, cuts: Vec::new() }
    }

    /// Whether it is the request's body, byte for byte.
    pub fn is_whole(&self) -> bool {
        self.base.is_none()
    }

    /// How many bytes it has, where the request's body has so many.
    pub fn len(&self, whole: usize) -> usize {
        let Some(base) = &self.base else { return whole };
        let gone = |(list, element): &(Range<usize>, Range<usize>)| list.len() - element.len() - 2;
        base.json().len() - self.cuts.iter().map(gone).sum::<usize>()
    }

    /// Its text; nothing where it is the request's body.
    pub fn text(&self) -> Option<String> {
        let base = self.base.as_ref()?.json();
        let mut text = String::with_capacity(self.len(0));
        let (mut from, mut to) = (0, base.len());
        let mut behind = Vec::new();
        for (list, element) in &self.cuts {
            text.push_str(&base[from..list.start]);
            text.push('[');
            behind.push(list.end..to);
            (from, to) = (element.start, element.end);
        }
        text.push_str(&base[from..to]);
        for rest in behind.into_iter().rev() {
            text.push(']');
            text.push_str(&base[rest]);
        }
        Some(text)
    }

    /// With a list of `within` cut down to one element of it.
    pub(super) fn cut(&self, body: &Value, list: &str, element: &str) -> Self {
        let base = self.base.clone().unwrap_or_else(|| body.clone());
        let spans = (span(list, base.json()), span(element, base.json()));
        match spans {
            (Some(list), Some(element)) => {
                let mut cuts = self.cuts.clone();
                cuts.push((list, element));
                Self { base: Some(base), cuts }
            }
            (_, _) => self.clone(),
        }
    }

    /// An element that is a part of no body: an expression made it.
    fn alone(value: &Value) -> Self {
        Self { base: Some(value.clone()), cuts: Vec::new() }
    }
}

/// Where a slice stands in a text that it is a slice of.
fn span(slice: &str, text: &str) -> Option<Range<usize>> {
    let begin = (slice.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let found = text.get(begin..begin.checked_add(slice.len())?)?;
    std::ptr::eq(found, slice).then_some(begin..begin + slice.len())
}

/// The elements of a list that a path leads to; `None` where it leads to none.
pub(super) fn listed<'v>(
    path: Option<&Path>,
    value: &'v Value,
) -> Result<Option<(&'v str, Vec<&'v str>)>, Trouble> {
    let Some(path) = path else { return Ok(None) };
    let found = path.walk(value.json())?.filter(|found| json::kind(found) == Kind::List);
    Ok(found.map(|list| (list, json::elements(list).collect())))
}

impl Items {
    pub(super) fn is_batch(&self) -> bool {
        self.0.is_some()
    }

    /// The items of a body; nothing where a batch has no list of them.
    pub(super) fn of(
        &self,
        body: &Value,
        names: &Names,
    ) -> Result<std::vec::IntoIter<Item>, Option<Trouble>> {
        let Some(items) = &self.0 else {
            let item = Item { place: 0, value: body.clone(), raw: RawBody::whole() };
            return Ok(vec![item].into_iter());
        };
        let listed = listed(items.path(), body).map_err(Some)?;
        let items: Vec<Item> = match listed {
            Some((list, elements)) => elements
                .into_iter()
                .zip(0..)
                .map(|(element, place)| Item {
                    place,
                    value: body.part(element),
                    raw: RawBody::whole().cut(body, list, element),
                })
                .collect(),
            None => {
                let found = items.each(body, names).map_err(Some)?;
                if found.is_empty() && items.path().is_some() {
                    return Err(None);
                }
                let one = |(value, place)| Item { place, raw: RawBody::alone(&value), value };
                found.into_iter().zip(0..).map(one).collect()
            }
        };
        Ok(items.into_iter())
    }
}
