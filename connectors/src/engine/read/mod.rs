//! An answer's bytes, read as what the definition says they are.
//!
//! A BOM, cut emojis, bytes that are no UTF-8 and digits of any length are read, not refused. What is held has a bound,
//! and so has what is read; both count after decoding, so that no bomb gets past them. Where the records are at a plain
//! path, a body of any size is one pass that holds one record at a time ([`Reader`]).

mod gzip;
mod rows;
mod stream;

pub(super) use self::rows::csv;
use self::{gzip::Gunzip, rows::Rows, stream::Stream};
use super::{
    expression::Expression,
    json,
    names::Names,
    trouble::{Kind, Trouble, TroubleKind},
    value::Value,
    xml,
};
use crate::definition::request::Format;

/// How much there may be, in bytes after decoding.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Of what is held at once: a record, and the body around the records.
    pub held: usize,
    /// Of what is read.
    pub read: u64,
}

impl Bounds {
    /// A body that is held whole.
    pub fn whole(bytes: usize) -> Self {
        Self { held: bytes, read: bytes as u64 }
    }

    fn hold(&self, bytes: usize) -> Result<(), Trouble> {
        match bytes > self.held {
            true => Err(TroubleKind::TooLarge { what: "held", most: self.held as u64 }.into()),
            false => Ok(()),
        }
    }
}

/// A page: its body, and the records in it.
#[derive(Debug)]
pub struct Page {
    /// The body; where records were streamed, without them.
    pub body: Value,
    /// The records; `None` where the path to them is not there.
    pub records: Option<Vec<Value>>,
}

/// What is left when the last record was read.
#[derive(Debug)]
pub struct Ended {
    /// The body; where records were streamed, without them.
    pub body: Value,
    /// Whether the path to the records is there.
    pub found: bool,
}

/// Reads a whole body; an empty one is null.
///
/// # Errors
/// Where it is not what its format says, or too much.
pub fn body(format: Format, bytes: &[u8], bounds: Bounds) -> Result<Value, Trouble> {
    bounds.hold(bytes.len())?;
    match format {
        Format::Json => json_body(bytes),
        Format::Xml => xml::read(&lossy(bytes)),
        Format::JsonLines | Format::Csv => {
            let mut records = Vec::new();
            let mut rows = Rows::new(format);
            rows.feed(bytes, &bounds, &mut |record| {
                records.push(record);
                Ok(())
            })?;
            rows.end(&mut |record| {
                records.push(record);
                Ok(())
            })?;
            Value::list(records)
        }
    }
}

fn json_body(bytes: &[u8]) -> Result<Value, Trouble> {
    let text = lossy(bytes);
    match json::spaces(text.as_bytes(), 0) == text.len() {
        true => Ok(Value::null()),
        false => Value::parse(&*text),
    }
}

/// The text of bytes, without a BOM; what is no UTF-8 is U+FFFD.
fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes.strip_prefix(stream::BOM).unwrap_or(bytes))
}

/// Reads a whole page.
///
/// # Errors
/// Where the body is not what its format says, or the records are no list.
pub fn page(
    format: Format,
    gzip: bool,
    bytes: &[u8],
    records: &Expression,
    names: &Names,
    bounds: Bounds,
) -> Result<Page, Trouble> {
    let mut found = Vec::new();
    let mut each = |record| {
        found.push(record);
        Ok(())
    };
    let mut reader = Reader::new(format, gzip, records, bounds);
    reader.feed(bytes, &mut each)?;
    let ended = reader.end(names, &mut each)?;
    Ok(Page { body: ended.body, records: ended.found.then_some(found) })
}

/// Reads a body as it comes.
pub struct Reader<'e> {
    format: Format,
    records: &'e Expression,
    gunzip: Option<Gunzip>,
    inner: Inner,
}

struct Inner {
    bounds: Bounds,
    read: u64,
    shape: Shape,
}

enum Shape {
    Stream(Stream),
    Rows(Rows),
    Whole(Vec<u8>),
}

/// What a record is given to.
pub type Each<'f> = dyn FnMut(Value) -> Result<(), Trouble> + 'f;

impl<'e> Reader<'e> {
    /// A body of which `records` are the records.
    pub fn new(format: Format, gzip: bool, records: &'e Expression, bounds: Bounds) -> Self {
        let shape = match (format, records.path()) {
            (Format::Json, Some(path)) => Shape::Stream(Stream::new(path.clone())),
            (Format::JsonLines | Format::Csv, Some(path)) if path.0.is_empty() => {
                Shape::Rows(Rows::new(format))
            }
            (Format::Json | Format::JsonLines | Format::Csv | Format::Xml, _) => Shape::Whole(Vec::new()),
        };
        let inner = Inner { bounds, read: 0, shape };
        Self { format, records, gunzip: gzip.then(Gunzip::new), inner }
    }

    /// Takes a piece, and gives each record that it ends.
    ///
    /// # Errors
    /// Where the body is not what its format says, is too much, or `each` refuses.
    pub fn feed(&mut self, bytes: &[u8], each: &mut Each<'_>) -> Result<(), Trouble> {
        match &mut self.gunzip {
            None => self.inner.take(bytes, each),
            Some(gunzip) => gunzip.feed(bytes, &mut |piece| self.inner.take(piece, each)),
        }
    }

    /// The body has ended: gives the last records, and what is left.
    ///
    /// # Errors
    /// Where the body breaks off, or the records are no list.
    pub fn end(mut self, names: &Names, each: &mut Each<'_>) -> Result<Ended, Trouble> {
        if let Some(gunzip) = self.gunzip.take() {
            gunzip.end(&mut |piece| self.inner.take(piece, each))?;
        }
        let body = match self.inner.shape {
            Shape::Rows(rows) => {
                rows.end(each)?;
                return Ok(Ended { body: Value::null(), found: true });
            }
            Shape::Stream(stream) => match stream.end(each)? {
                stream::Rest::Streamed(body) => return Ok(Ended { body, found: true }),
                stream::Rest::Whole(bytes) => json_body(&bytes)?,
            },
            Shape::Whole(bytes) => body(self.format, &bytes, self.inner.bounds)?,
        };
        let records = found(self.records, self.format, &body, names)?;
        let there = records.is_some();
        records.into_iter().flatten().try_for_each(each)?;
        Ok(Ended { body, found: there })
    }
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("format", &self.format).finish_non_exhaustive()
    }
}

impl Inner {
    fn take(&mut self, bytes: &[u8], each: &mut Each<'_>) -> Result<(), Trouble> {
        self.read += bytes.len() as u64;
        if self.read > self.bounds.read {
            return Err(TroubleKind::TooLarge { what: "read", most: self.bounds.read }.into());
        }
        match &mut self.shape {
            Shape::Stream(stream) => stream.feed(bytes, &self.bounds, each),
            Shape::Rows(rows) => rows.feed(bytes, &self.bounds, each),
            Shape::Whole(held) => {
                held.extend_from_slice(bytes);
                self.bounds.hold(held.len())
            }
        }
    }
}

/// The records of a body that is held whole; `None` where the path, or one of several, is not there.
fn found(
    records: &Expression,
    format: Format,
    body: &Value,
    names: &Names,
) -> Result<Option<Vec<Value>>, Trouble> {
    let trouble = |found| Trouble::expected("a list", found).of("records");
    if let Some(all) = records.all() {
        let mut lists = Vec::new();
        for one in all {
            match self::found(one, format, body, names)? {
                Some(list) => lists.extend(list),
                None => return Ok(None),
            }
        }
        return Ok(Some(lists));
    }
    if records.is_jq() {
        return records.each(body, names).map(Some).map_err(|trouble| trouble.of("records"));
    }
    let list = records.one(body, names).map_err(|trouble| trouble.of("records"))?;
    match (list.kind(), format) {
        (Kind::Null, _) => Ok(None),
        (Kind::List, _) => Ok(list.items()),
        // XML has no lists: an element that stands once is itself, and an empty one is an empty text.
        (Kind::Object, Format::Xml) => Ok(Some(vec![list])),
        (Kind::Text, Format::Xml) if list.json() == "\"\"" => Ok(Some(Vec::new())),
        (found, _) => Err(trouble(found)),
    }
}

#[cfg(test)]
mod tests;
