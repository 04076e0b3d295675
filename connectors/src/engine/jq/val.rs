//! jq's values, made of our JSON text: they count the steps of what is done with them, bound their depth, keep digits,
//! and sort the keys of objects, so that an expression says the same whatever order a provider writes them in.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fmt,
    ops::{Add, Div, Mul, Neg, Range, Rem, Sub},
    rc::Rc,
};

use jaq_core::{Error, Exn, ValR, ValX, path::Opt};

use super::{fuel::spend, number::Number};
use crate::engine::{json, trouble::Kind};

/// Values in each other at the most, while an expression runs.
const DEPTH_MOST: u16 = 256;
/// Bytes of text that are one step.
const BYTES_A_STEP: usize = 8;

type Members = BTreeMap<Rc<str>, Val>;

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Val {
    Null,
    Bool(bool),
    Number(Number),
    Text(Rc<str>),
    List(Rc<Vec<Val>>, u16),
    Object(Rc<Members>, u16),
}

/// An error; its text is never shown.
fn failed(why: &'static str) -> Error<Val> {
    Error::str(why)
}

/// Takes the steps, or fails.
fn paid(steps: usize) -> Result<(), Error<Val>> {
    match spend(1 + steps as u64) {
        true => Ok(()),
        false => Err(failed("too many steps")),
    }
}

impl Val {
    /// Of well-formed JSON text.
    pub(super) fn read(text: &str) -> Self {
        match json::kind(text) {
            Kind::Null => Self::Null,
            Kind::Boolean => Self::Bool(text == "true"),
            Kind::Number => Self::Number(Number::of(text)),
            Kind::Text => Self::Text(json::unescape(text).into()),
            Kind::List => Self::list(json::elements(text).map(Self::read).collect()),
            Kind::Object => Self::object(
                json::members(text)
                    .map(|(key, value)| (json::unescape(key).into(), Self::read(value)))
                    .collect(),
            ),
        }
    }

    /// As JSON text.
    pub(super) fn write(&self, to: &mut String) {
        match self {
            Self::Null => to.push_str("null"),
            Self::Bool(truth) => to.push_str(if *truth { "true" } else { "false" }),
            Self::Number(number) => to.push_str(&number.to_string()),
            Self::Text(said) => json::escape(said, to),
            Self::List(items, _) => {
                to.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        to.push(',');
                    }
                    item.write(to);
                }
                to.push(']');
            }
            Self::Object(members, _) => {
                to.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        to.push(',');
                    }
                    json::escape(key, to);
                    to.push(':');
                    value.write(to);
                }
                to.push('}');
            }
        }
    }

    pub(super) fn text(said: &str) -> Self {
        Self::Text(said.into())
    }

    fn depth(&self) -> u16 {
        match self {
            Self::List(_, depth) | Self::Object(_, depth) => *depth,
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => 0,
        }
    }

    /// A list; one that is too deep spends all that is left.
    pub(super) fn list(items: Vec<Val>) -> Self {
        let depth = 1 + items.iter().map(Val::depth).max().unwrap_or(0);
        match bounded(depth) {
            true => Self::List(Rc::new(items), depth),
            false => Self::Null,
        }
    }

    fn object(members: Members) -> Self {
        let depth = 1 + members.values().map(Val::depth).max().unwrap_or(0);
        match bounded(depth) {
            true => Self::Object(Rc::new(members), depth),
            false => Self::Null,
        }
    }

    fn whole(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.whole(),
            _ => None,
        }
    }

    pub(super) fn length(&self) -> ValR<Val> {
        match self {
            Self::Null => Ok(Self::from(0_usize)),
            Self::Bool(_) => Err(failed("no length")),
            Self::Number(number) => Ok(Self::Number(Number::calculated(number.float().abs()))),
            Self::Text(said) => paid(said.len() / BYTES_A_STEP).map(|()| Self::from(said.chars().count())),
            Self::List(items, _) => Ok(Self::from(items.len())),
            Self::Object(members, _) => Ok(Self::from(members.len())),
        }
    }

    pub(super) fn contains(&self, other: &Self) -> bool {
        if !spend(1) {
            return false;
        }
        match (self, other) {
            (Self::Text(text), Self::Text(part)) => {
                spend((text.len() / BYTES_A_STEP) as u64) && text.contains(&**part)
            }
            (Self::List(items, _), Self::List(parts, _)) => {
                parts.iter().all(|part| items.iter().any(|item| item.contains(part)))
            }
            (Self::Object(members, _), Self::Object(parts, _)) => {
                parts.iter().all(|(key, part)| members.get(key).is_some_and(|value| value.contains(part)))
            }
            _ => self == other,
        }
    }

    pub(super) fn has(&self, key: &Self) -> ValR<Val> {
        match (self, key) {
            (Self::Object(members, _), Self::Text(key)) => Ok(Self::Bool(members.contains_key(key))),
            (Self::List(items, _), Self::Number(_)) => {
                Ok(Self::Bool(key.whole().is_some_and(|index| (0..items.len() as i64).contains(&index))))
            }
            _ => Err(failed("no such key")),
        }
    }

    pub(super) fn indices(&self, part: &Self) -> ValR<Val> {
        paid(self.size())?;
        let found: Vec<usize> = match (self, part) {
            (Self::Null, _) => return Ok(Self::Null),
            (Self::Text(_), Self::Text(part)) if part.is_empty() => return Ok(Self::Null),
            (Self::Text(text), Self::Text(part)) => {
                let starts = text.char_indices().enumerate();
                starts
                    .filter(|(_, (at, _))| text[*at..].starts_with(&**part))
                    .map(|(index, _)| index)
                    .collect()
            }
            (Self::List(_, _), Self::List(parts, _)) if parts.is_empty() => return Ok(Self::Null),
            (Self::List(items, _), Self::List(parts, _)) => items
                .windows(parts.len())
                .enumerate()
                .filter(|(_, at)| *at == &parts[..])
                .map(|(index, _)| index)
                .collect(),
            (Self::List(items, _), part) => {
                items.iter().enumerate().filter(|(_, item)| *item == part).map(|(index, _)| index).collect()
            }
            _ => return Err(failed("nothing to look in")),
        };
        Ok(found.into_iter().map(Self::from).collect())
    }

    fn size(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 0,
            Self::Text(said) => said.len() / BYTES_A_STEP,
            Self::List(items, _) => items.len(),
            Self::Object(members, _) => members.len(),
        }
    }

    /// Which characters or elements a range is of.
    fn bounds(range: &Range<Option<&Self>>, length: usize) -> Result<Range<usize>, Error<Val>> {
        let place = |bound: Option<&Self>, open: usize| match bound {
            None | Some(Self::Null) => Ok(open),
            Some(bound) => {
                let place = bound.whole().ok_or_else(|| failed("no place"))?;
                let place = if place < 0 { place.saturating_add(length as i64) } else { place };
                Ok(place.clamp(0, length as i64) as usize)
            }
        };
        let (begin, end) = (place(range.start, 0)?, place(range.end, length)?);
        Ok(begin..end.max(begin))
    }

    fn bytes(text: &str, characters: &Range<usize>) -> Range<usize> {
        let at = |index| text.char_indices().nth(index).map_or(text.len(), |(at, _)| at);
        at(characters.start)..at(characters.end)
    }
}

fn bounded(depth: u16) -> bool {
    if depth > DEPTH_MOST {
        spend(u64::MAX);
    }
    depth <= DEPTH_MOST
}

fn unshared<T: Clone>(shared: Rc<T>) -> T {
    Rc::try_unwrap(shared).unwrap_or_else(|shared| (*shared).clone())
}

impl jaq_core::ValT for Val {
    fn from_num(text: &str) -> ValR<Self> {
        Ok(Self::Number(match serde_json::from_str::<&serde_json::value::RawValue>(text) {
            Ok(_) => Number::of(text),
            Err(_) => Number::Float(text.parse().unwrap_or(f64::NAN)),
        }))
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(members: I) -> ValR<Self> {
        let mut made = Members::new();
        for (key, value) in members {
            paid(0)?;
            let Self::Text(key) = key else { return Err(failed("a key that is no text")) };
            made.insert(key, value);
        }
        Ok(Self::object(made))
    }

    fn key_values(self) -> Box<dyn Iterator<Item = ValR<(Self, Self), Self>>> {
        match self {
            Self::List(items, _) => Box::new(
                (0..items.len())
                    .take_while(|_| spend(1))
                    .map(move |index| Ok((Self::from(index), Val::clone(&items[index])))),
            ),
            Self::Object(members, _) => Box::new(
                unshared(members)
                    .into_iter()
                    .take_while(|_| spend(1))
                    .map(|(key, value)| Ok((Self::Text(key), value))),
            ),
            _ => Box::new(std::iter::once(Err(failed("nothing inside")))),
        }
    }

    fn values(self) -> Box<dyn Iterator<Item = ValR<Self>>> {
        match self {
            Self::List(items, _) => Box::new(
                (0..items.len()).take_while(|_| spend(1)).map(move |index| Ok(Val::clone(&items[index]))),
            ),
            Self::Object(members, _) => {
                Box::new(unshared(members).into_values().take_while(|_| spend(1)).map(Ok))
            }
            _ => Box::new(std::iter::once(Err(failed("nothing inside")))),
        }
    }

    fn index(self, index: &Self) -> ValR<Self> {
        paid(0)?;
        match (&self, index) {
            (Self::Null, Self::Text(_) | Self::Number(_) | Self::Null) => Ok(Self::Null),
            (Self::Object(members, _), Self::Text(key)) => {
                Ok(members.get(key).cloned().unwrap_or(Self::Null))
            }
            (Self::List(items, _), Self::Number(_)) => {
                let at = index.whole().map(|at| if at < 0 { at + items.len() as i64 } else { at });
                let at = at.and_then(|at| usize::try_from(at).ok());
                Ok(at.and_then(|at| items.get(at).cloned()).unwrap_or(Self::Null))
            }
            (Self::List(_, _), Self::List(_, _)) => self.indices(index),
            (Self::List(_, _) | Self::Text(_), Self::Object(range, _)) => {
                let (start, end) = (range.get("start").cloned(), range.get("end").cloned());
                self.range(start.as_ref()..end.as_ref())
            }
            _ => Err(failed("no such key")),
        }
    }

    fn range(self, range: Range<Option<&Self>>) -> ValR<Self> {
        paid(self.size())?;
        match self {
            Self::Null => Ok(Self::Null),
            Self::Text(said) => {
                let bounds = Self::bounds(&range, said.chars().count())?;
                Ok(Self::text(&said[Self::bytes(&said, &bounds)]))
            }
            Self::List(items, _) => {
                let bounds = Self::bounds(&range, items.len())?;
                Ok(Self::list(items[bounds].to_vec()))
            }
            _ => Err(failed("no part")),
        }
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        match self {
            Self::List(items, _) => {
                let items: Result<Vec<_>, _> =
                    unshared(items).into_iter().take_while(|_| spend(1)).flat_map(f).collect();
                items.map(Self::list)
            }
            Self::Object(members, _) => {
                let mut made = Members::new();
                for (key, value) in unshared(members).into_iter().take_while(|_| spend(1)) {
                    if let Some(value) = f(value).next().transpose()? {
                        made.insert(key, value);
                    }
                }
                Ok(Self::object(made))
            }
            other => opt.fail(other, |_| Exn::from(failed("nothing inside"))),
        }
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        index: &Self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        paid(0)?;
        match (self, index) {
            (value @ (Self::List(_, _) | Self::Text(_)), Self::Object(range, _)) => {
                let (start, end) = (range.get("start").cloned(), range.get("end").cloned());
                value.map_range(start.as_ref()..end.as_ref(), opt, f)
            }
            (Self::Null, Self::Text(_)) => Self::object(Members::new()).map_index(index, opt, f),
            (Self::Object(members, _), Self::Text(key)) => {
                let mut members = unshared(members);
                let before = members.remove(key).unwrap_or(Self::Null);
                if let Some(value) = f(before).next().transpose()? {
                    members.insert(key.clone(), value);
                }
                Ok(Self::object(members))
            }
            (Self::List(items, depth), Self::Number(_)) => {
                let at = index.whole().map(|at| if at < 0 { at + items.len() as i64 } else { at });
                match at.and_then(|at| usize::try_from(at).ok()).filter(|at| *at < items.len()) {
                    Some(at) => {
                        let mut items = unshared(items);
                        match f(std::mem::replace(&mut items[at], Self::Null)).next().transpose()? {
                            Some(value) => items[at] = value,
                            None => {
                                items.remove(at);
                            }
                        }
                        Ok(Self::list(items))
                    }
                    None => opt.fail(Self::List(items, depth), |_| Exn::from(failed("no such place"))),
                }
            }
            (other, _) => opt.fail(other, |_| Exn::from(failed("no such key"))),
        }
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        range: Range<Option<&Self>>,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        paid(self.size())?;
        match self {
            Self::Text(said) => {
                let bounds = Self::bytes(&said, &Self::bounds(&range, said.chars().count())?);
                let inner = match f(Self::text(&said[bounds.clone()])).next().transpose()? {
                    None => "".into(),
                    Some(Self::Text(inner)) => inner,
                    Some(_) => return Err(failed("a text's part that is no text").into()),
                };
                Ok(Self::text(&[&said[..bounds.start], &*inner, &said[bounds.end..]].concat()))
            }
            Self::List(items, _) => {
                let bounds = Self::bounds(&range, items.len())?;
                let inner = match f(Self::list(items[bounds.clone()].to_vec())).next().transpose()? {
                    None => Rc::default(),
                    Some(Self::List(inner, _)) => inner,
                    Some(_) => return Err(failed("a list's part that is no list").into()),
                };
                Ok(Self::list([&items[..bounds.start], &inner[..], &items[bounds.end..]].concat()))
            }
            other => opt.fail(other, |_| Exn::from(failed("no part"))),
        }
    }

    fn as_bool(&self) -> bool {
        !matches!(self, Self::Null | Self::Bool(false))
    }

    fn into_string(self) -> Self {
        match self {
            Self::Text(_) => self,
            other => {
                let mut text = String::new();
                other.write(&mut text);
                spend((text.len() / BYTES_A_STEP) as u64);
                Self::text(&text)
            }
        }
    }
}

impl jaq_std::ValT for Val {
    fn into_seq<S: FromIterator<Self>>(self) -> Result<S, Self> {
        match self {
            Self::List(items, _) => Ok(items.iter().take_while(|_| spend(1)).cloned().collect()),
            other => Err(other),
        }
    }

    fn is_int(&self) -> bool {
        self.whole().is_some()
    }

    fn as_isize(&self) -> Option<isize> {
        self.whole().and_then(|whole| isize::try_from(whole).ok())
    }

    fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(number.float()),
            _ => None,
        }
    }

    fn is_utf8_str(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Text(said) => {
                spend((said.len() / BYTES_A_STEP) as u64);
                Some(said.as_bytes())
            }
            _ => None,
        }
    }

    fn as_sub_str(&self, part: &[u8]) -> Self {
        Self::text(&String::from_utf8_lossy(part))
    }

    fn from_utf8_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        spend((bytes.as_ref().len() / BYTES_A_STEP) as u64);
        Self::text(&String::from_utf8_lossy(bytes.as_ref()))
    }
}

impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(&text)
    }
}

impl From<bool> for Val {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<isize> for Val {
    fn from(whole: isize) -> Self {
        Self::Number(Number::Whole(whole as i64))
    }
}

impl From<usize> for Val {
    fn from(whole: usize) -> Self {
        Self::Number(Number::Whole(i64::try_from(whole).unwrap_or(i64::MAX)))
    }
}

impl From<f64> for Val {
    fn from(float: f64) -> Self {
        Self::Number(Number::Float(float))
    }
}

impl From<String> for Val {
    fn from(said: String) -> Self {
        spend((said.len() / BYTES_A_STEP) as u64);
        Self::Text(said.into())
    }
}

impl From<Range<Option<Self>>> for Val {
    fn from(range: Range<Option<Self>>) -> Self {
        let bound = |key: &str, bound: Option<Self>| bound.map(|bound| (key.into(), bound));
        Self::object([bound("start", range.start), bound("end", range.end)].into_iter().flatten().collect())
    }
}

impl FromIterator<Self> for Val {
    fn from_iter<I: IntoIterator<Item = Self>>(items: I) -> Self {
        Self::list(items.into_iter().take_while(|_| spend(1)).collect())
    }
}

impl Add for Val {
    type Output = ValR<Self>;

    fn add(self, other: Self) -> ValR<Self> {
        paid(self.size() + other.size())?;
        match (self, other) {
            (Self::Null, other) | (other, Self::Null) => Ok(other),
            (Self::Number(a), Self::Number(b)) => Ok(Self::Number(match (&a, &b) {
                (Number::Whole(a), Number::Whole(b)) if a.checked_add(*b).is_some() => Number::Whole(a + b),
                _ => Number::calculated(a.float() + b.float()),
            })),
            (Self::Text(a), Self::Text(b)) => Ok(Self::text(&[&*a, &*b].concat())),
            (Self::List(a, _), Self::List(b, _)) => Ok(Self::list([&a[..], &b[..]].concat())),
            (Self::Object(a, _), Self::Object(b, _)) => {
                let mut members = unshared(a);
                members.extend(b.iter().map(|(key, value)| (key.clone(), value.clone())));
                Ok(Self::object(members))
            }
            _ => Err(failed("can't be added")),
        }
    }
}

impl Sub for Val {
    type Output = ValR<Self>;

    fn sub(self, other: Self) -> ValR<Self> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Ok(Self::Number(match (&a, &b) {
                (Number::Whole(a), Number::Whole(b)) if a.checked_sub(*b).is_some() => Number::Whole(a - b),
                _ => Number::calculated(a.float() - b.float()),
            })),
            (Self::List(a, _), Self::List(b, _)) => {
                paid(a.len().saturating_mul(b.len()))?;
                Ok(Self::list(a.iter().filter(|item| !b.contains(item)).cloned().collect()))
            }
            _ => Err(failed("can't be subtracted")),
        }
    }
}

fn merged(a: Rc<Members>, b: &Members) -> ValR<Val> {
    paid(a.len() + b.len())?;
    let mut members = unshared(a);
    for (key, value) in b {
        let value = match (members.remove(key), value) {
            (Some(Val::Object(inner, _)), Val::Object(over, _)) => merged(inner, over)?,
            _ => value.clone(),
        };
        members.insert(key.clone(), value);
    }
    Ok(Val::object(members))
}

impl Mul for Val {
    type Output = ValR<Self>;

    fn mul(self, other: Self) -> ValR<Self> {
        paid(0)?;
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Ok(Self::Number(match (&a, &b) {
                (Number::Whole(a), Number::Whole(b)) if a.checked_mul(*b).is_some() => Number::Whole(a * b),
                _ => Number::calculated(a.float() * b.float()),
            })),
            (Self::Text(said), Self::Number(times)) | (Self::Number(times), Self::Text(said)) => {
                let times = times.float();
                if times.is_nan() || times <= 0.0 {
                    return Ok(Self::Null);
                }
                let times = times.max(1.0) as usize;
                paid(said.len().saturating_mul(times) / BYTES_A_STEP)?;
                Ok(Self::text(&said.repeat(times)))
            }
            (Self::Object(a, _), Self::Object(b, _)) => merged(a, &b),
            _ => Err(failed("can't be multiplied")),
        }
    }
}

impl Div for Val {
    type Output = ValR<Self>;

    fn div(self, other: Self) -> ValR<Self> {
        paid(self.size())?;
        match (self, other) {
            (Self::Number(_), Self::Number(b)) if b.float() == 0.0 => Err(failed("can't be divided by zero")),
            (Self::Number(a), Self::Number(b)) => Ok(Self::Number(Number::calculated(a.float() / b.float()))),
            (Self::Text(said), Self::Text(_)) if said.is_empty() => Ok(Self::list(Vec::new())),
            (Self::Text(said), Self::Text(by)) if by.is_empty() => {
                Ok(said.chars().map(|character| Self::text(character.encode_utf8(&mut [0; 4]))).collect())
            }
            (Self::Text(said), Self::Text(by)) => Ok(said.split(&*by).map(Self::text).collect()),
            _ => Err(failed("can't be divided")),
        }
    }
}

impl Rem for Val {
    type Output = ValR<Self>;

    fn rem(self, other: Self) -> ValR<Self> {
        match (self.whole(), other.whole()) {
            (Some(a), Some(b)) if b != 0 => Ok(Self::Number(Number::Whole(a.wrapping_rem(b)))),
            _ => match (self, other) {
                (Self::Number(a), Self::Number(b)) if b.float() != 0.0 => {
                    Ok(Self::Number(Number::calculated(a.float() % b.float())))
                }
                _ => Err(failed("no remainder")),
            },
        }
    }
}

impl Neg for Val {
    type Output = ValR<Self>;

    fn neg(self) -> ValR<Self> {
        match self {
            Self::Number(Number::Whole(whole)) if whole != i64::MIN => {
                Ok(Self::Number(Number::Whole(-whole)))
            }
            Self::Number(number) => Ok(Self::Number(Number::calculated(-number.float()))),
            _ => Err(failed("can't be negated")),
        }
    }
}

impl PartialEq for Val {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Val {}

impl PartialOrd for Val {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Val {
    fn cmp(&self, other: &Self) -> Ordering {
        fn rank(val: &Val) -> u8 {
            match val {
                Val::Null => 0,
                Val::Bool(false) => 1,
                Val::Bool(true) => 2,
                Val::Number(_) => 3,
                Val::Text(_) => 4,
                Val::List(..) => 5,
                Val::Object(..) => 6,
            }
        }
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.order(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::List(a, _), Self::List(b, _)) => a.cmp(b),
            (Self::Object(a, _), Self::Object(b, _)) => {
                a.keys().cmp(b.keys()).then_with(|| a.values().cmp(b.values()))
            }
            _ => rank(self).cmp(&rank(other)),
        }
    }
}
