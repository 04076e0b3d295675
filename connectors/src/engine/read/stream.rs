//! Records out of a JSON body as it comes: what stands around them is kept, each record is given and forgotten.
//!
//! A piece that ends in the middle of something waits for more. What waits is tried again only when it has doubled, so
//! that many small pieces cost no more than one.

use super::{Bounds, Each, lossy};
use crate::engine::{
    json::{self, Flaw},
    path::{Path, Step},
    trouble::{Trouble, TroubleKind},
    value::Value,
};

pub(super) const BOM: &[u8] = &[0xEF, 0xBB, 0xBF];

pub(super) struct Stream {
    path: Path,
    buffer: Vec<u8>,
    /// How much of the buffer has been read.
    at: usize,
    /// The length of the buffer at which to try again.
    again: usize,
    state: State,
}

enum State {
    /// The list has not come yet.
    Before,
    /// In the list; whether a value or the end comes, a value, or a comma or the end.
    Within { around: Vec<u8>, next: Next },
    /// Behind the list.
    Behind { around: Vec<u8>, list: usize },
    /// There is no list at the path: the body is looked at whole.
    Elsewhere,
}

#[derive(Clone, Copy, PartialEq)]
enum Next {
    First,
    Value,
    Comma,
}

/// What is left at the end.
pub(super) enum Rest {
    /// The body without its records.
    Streamed(Value),
    /// The body, which holds no list at the path.
    Whole(Vec<u8>),
}

impl Stream {
    pub(super) fn new(path: Path) -> Self {
        Self { path, buffer: Vec::new(), at: 0, again: 0, state: State::Before }
    }

    pub(super) fn feed(&mut self, bytes: &[u8], bounds: &Bounds, each: &mut Each<'_>) -> Result<(), Trouble> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= self.again {
            self.advance(false, each)?;
        }
        bounds.hold(self.buffer.len() + self.around())
    }

    pub(super) fn end(mut self, each: &mut Each<'_>) -> Result<Rest, Trouble> {
        self.advance(true, each)?;
        match self.state {
            State::Before | State::Elsewhere => Ok(Rest::Whole(self.buffer)),
            State::Within { .. } => Err(TroubleKind::Truncated("JSON").into()),
            State::Behind { around, list } => {
                let text = lossy(&around).into_owned();
                let body = Value::parse(text)?;
                // A path that leads to another list now stood there twice, and the records of the first are told.
                let same = self.path.walk(body.json())?.map(|found| found.as_ptr() as usize);
                let told = body.json().as_ptr() as usize + list.saturating_sub(spaces_before(&around));
                match same == Some(told) {
                    true => Ok(Rest::Streamed(body)),
                    false => Err(TroubleKind::Unlike("the key of the records once").into()),
                }
            }
        }
    }

    fn around(&self) -> usize {
        match &self.state {
            State::Before | State::Elsewhere => 0,
            State::Within { around, .. } | State::Behind { around, .. } => around.len(),
        }
    }

    fn advance(&mut self, last: bool, each: &mut Each<'_>) -> Result<(), Trouble> {
        if let State::Before = self.state {
            if self.buffer.len() < BOM.len() && BOM.starts_with(&self.buffer) && !last {
                return Ok(());
            }
            if self.buffer.starts_with(BOM) {
                self.buffer.drain(..BOM.len());
            }
            match list(&self.buffer, &self.path) {
                Ok(Some(behind)) => {
                    let around = self.buffer[..behind].to_vec();
                    self.at = behind;
                    self.state = State::Within { around, next: Next::First };
                }
                Ok(None) => self.state = State::Elsewhere,
                Err(Flaw::Truncated) if last => self.state = State::Elsewhere,
                Err(Flaw::Truncated) => {
                    self.again = self.buffer.len() * 2;
                    return Ok(());
                }
                Err(flaw) => return Err(flaw.into()),
            }
        }
        if let State::Within { .. } = self.state {
            self.records(last, each)?;
            self.buffer.drain(..self.at);
            self.at = 0;
            // A record that has not ended is tried again when it has doubled.
            self.again = self.buffer.len() * 2;
        }
        if let State::Behind { around, .. } = &mut self.state {
            around.append(&mut self.buffer);
            self.again = 0;
        }
        Ok(())
    }

    fn records(&mut self, last: bool, each: &mut Each<'_>) -> Result<(), Trouble> {
        let State::Within { around, next } = &mut self.state else { return Ok(()) };
        loop {
            self.at = json::spaces(&self.buffer, self.at);
            match (self.buffer.get(self.at), *next) {
                (None, _) => return Ok(()),
                (Some(b']'), Next::First | Next::Comma) => {
                    let list = around.len() - 1;
                    let around = std::mem::take(around);
                    self.state = State::Behind { around, list };
                    return Ok(());
                }
                (Some(b','), Next::Comma) => {
                    self.at += 1;
                    *next = Next::Value;
                }
                (Some(_), Next::Comma) => return Err(Flaw::Malformed.into()),
                (Some(_), Next::First | Next::Value) => match json::value(&self.buffer, self.at) {
                    // A number that ends with the piece may go on in the next.
                    Ok(end) if end < self.buffer.len() || last => {
                        each(Value::known(&*String::from_utf8_lossy(&self.buffer[self.at..end])))?;
                        self.at = end;
                        *next = Next::Comma;
                    }
                    Ok(_) | Err(Flaw::Truncated) => return Ok(()),
                    Err(flaw) => return Err(flaw.into()),
                },
            }
        }
    }
}

/// Spaces that stand before the body, and are no part of it.
fn spaces_before(text: &[u8]) -> usize {
    json::spaces(text, 0)
}

/// Behind the bracket that opens the list at the path; `None` where something else is there, or nothing.
fn list(text: &[u8], path: &Path) -> Result<Option<usize>, Flaw> {
    let mut at = 0;
    for step in &path.0 {
        at = json::spaces(text, at);
        let found = match (text.get(at), step) {
            (None, _) => return Err(Flaw::Truncated),
            (Some(b'{'), Step::Key(key)) => member(text, at + 1, key)?,
            (Some(b'{'), Step::Index(index)) => member(text, at + 1, &index.to_string())?,
            (Some(b'['), Step::Index(index)) => element(text, at + 1, *index)?,
            (Some(_), _) => None,
        };
        match found {
            Some(found) => at = found,
            None => return Ok(None),
        }
    }
    at = json::spaces(text, at);
    match text.get(at) {
        None => Err(Flaw::Truncated),
        Some(b'[') => Ok(Some(at + 1)),
        Some(_) => Ok(None),
    }
}

/// Where the value of a key begins, in the object whose members begin at `at`.
fn member(text: &[u8], mut at: usize, name: &str) -> Result<Option<usize>, Flaw> {
    loop {
        at = json::spaces(text, at);
        match text.get(at) {
            None => return Err(Flaw::Truncated),
            Some(b'"') => {}
            Some(_) => return Ok(None),
        }
        let end = json::value(text, at)?;
        let key = String::from_utf8_lossy(&text[at..end]);
        at = json::spaces(text, end);
        match text.get(at) {
            None => return Err(Flaw::Truncated),
            Some(b':') => at += 1,
            Some(_) => return Err(Flaw::Malformed),
        }
        if json::is_key(&key, name) {
            return Ok(Some(at));
        }
        at = json::spaces(text, json::value(text, at)?);
        match text.get(at) {
            None => return Err(Flaw::Truncated),
            Some(b',') => at += 1,
            Some(_) => return Ok(None),
        }
    }
}

/// Where an element begins, in the list whose elements begin at `at`.
fn element(text: &[u8], mut at: usize, index: usize) -> Result<Option<usize>, Flaw> {
    for _ in 0..index {
        at = json::spaces(text, json::value(text, at)?);
        match text.get(at) {
            None => return Err(Flaw::Truncated),
            Some(b',') => at += 1,
            Some(_) => return Ok(None),
        }
    }
    Ok(Some(at))
}
