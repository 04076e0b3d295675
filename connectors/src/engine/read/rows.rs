//! Records that are lines: a JSON value a line, or CSV under a line of names.

use super::{Bounds, Each, lossy};
use crate::{
    definition::request::Format,
    engine::{
        json,
        trouble::{Trouble, TroubleKind},
        value::Value,
    },
};

/// Fields of a CSV line at the most.
const FIELDS_MOST: usize = 10_000;

pub(super) enum Rows {
    Lines(Vec<u8>),
    Csv(Box<Csv>),
}

impl Rows {
    pub(super) fn new(format: Format) -> Self {
        match format {
            Format::Csv => Self::Csv(Box::new(Csv::new())),
            Format::Json | Format::JsonLines | Format::Xml => Self::Lines(Vec::new()),
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8], bounds: &Bounds, each: &mut Each<'_>) -> Result<(), Trouble> {
        match self {
            Self::Lines(held) => {
                let mut rest = bytes;
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    match held.is_empty() {
                        true => line(&rest[..end], each)?,
                        false => {
                            held.extend_from_slice(&rest[..end]);
                            bounds.hold(held.len())?;
                            line(held, each)?;
                            held.clear();
                        }
                    }
                    rest = &rest[end + 1..];
                }
                held.extend_from_slice(rest);
                bounds.hold(held.len())
            }
            Self::Csv(csv) => csv.feed(bytes, bounds, each),
        }
    }

    pub(super) fn end(self, each: &mut Each<'_>) -> Result<(), Trouble> {
        match self {
            Self::Lines(held) => line(&held, each),
            Self::Csv(mut csv) => csv.feed(&[], &Bounds::whole(usize::MAX), each),
        }
    }
}

fn line(bytes: &[u8], each: &mut Each<'_>) -> Result<(), Trouble> {
    let text = lossy(bytes);
    match json::spaces(text.as_bytes(), 0) == text.len() {
        true => Ok(()),
        false => each(Value::parse(&*text)?),
    }
}

/// CSV in pieces.
pub(super) struct Csv {
    reader: csv_core::Reader,
    names: Option<Vec<String>>,
    line: Vec<u8>,
    length: usize,
    ends: Vec<usize>,
    fields: usize,
}

impl Csv {
    fn new() -> Self {
        let (line, ends) = (vec![0; 4096], vec![0; 64]);
        Self { reader: csv_core::Reader::new(), names: None, line, length: 0, ends, fields: 0 }
    }

    /// Takes a piece; an empty one is the end.
    fn feed(&mut self, bytes: &[u8], bounds: &Bounds, each: &mut Each<'_>) -> Result<(), Trouble> {
        let mut rest = bytes;
        // An empty piece tells the reader of the end.
        while !rest.is_empty() || bytes.is_empty() {
            let (result, read, wrote, ended) =
                self.reader.read_record(rest, &mut self.line[self.length..], &mut self.ends[self.fields..]);
            rest = &rest[read..];
            self.length += wrote;
            self.fields += ended;
            match result {
                csv_core::ReadRecordResult::InputEmpty => return Ok(()),
                csv_core::ReadRecordResult::End => return Ok(()),
                csv_core::ReadRecordResult::OutputFull => {
                    bounds.hold(self.line.len())?;
                    self.line.resize(self.line.len() * 2, 0);
                }
                csv_core::ReadRecordResult::OutputEndsFull => {
                    if self.ends.len() > FIELDS_MOST {
                        return Err(
                            TroubleKind::TooLarge { what: "of fields", most: FIELDS_MOST as u64 }.into()
                        );
                    }
                    self.ends.resize(self.ends.len() * 2, 0);
                }
                csv_core::ReadRecordResult::Record => {
                    self.record(each)?;
                    (self.length, self.fields) = (0, 0);
                    if bytes.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, each: &mut Each<'_>) -> Result<(), Trouble> {
        let mut begin = 0;
        let fields = self.ends[..self.fields].iter().map(|end| {
            let field = String::from_utf8_lossy(&self.line[begin..*end]).into_owned();
            begin = *end;
            field
        });
        match &self.names {
            None => {
                self.names =
                    Some(fields.map(|name| name.trim_start_matches('\u{feff}').trim().to_owned()).collect());
                Ok(())
            }
            Some(names) => {
                let fields: Vec<String> = fields.collect();
                if fields.len() != names.len() {
                    return Err(TroubleKind::Unlike("a line with as many fields as there are names").into());
                }
                let members =
                    names.iter().map(String::as_str).zip(fields.iter().map(|said| Value::text(said)));
                each(Value::object(members)?)
            }
        }
    }
}

/// A CSV text within a record: a list of objects.
pub(in crate::engine) fn csv(text: &str) -> Result<Value, Trouble> {
    super::body(Format::Csv, text.as_bytes(), Bounds::whole(text.len().max(1)))
}
