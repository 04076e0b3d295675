//! Avro's binary encoding, as far as the schemas of unified events need it: longs, strings, and unions with null first
//! (Avro 1.12 specification, "Binary Encoding"). The tests hold it to the `apache-avro` crate.

use std::{fmt, str::FromStr};

use super::Unreadable;
use crate::time::Timestamp;

/// Writes fields one after the other.
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn long(&mut self, value: i64) {
        let mut zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while zigzag >= 0x80 {
            self.0.push(zigzag as u8 | 0x80);
            zigzag >>= 7;
        }
        self.0.push(zigzag as u8);
    }
    pub(super) fn text(&mut self, value: &str) {
        self.long(value.len() as i64);
        self.0.extend_from_slice(value.as_bytes());
    }
    /// A value as it shows itself.
    pub(super) fn shown(&mut self, value: impl fmt::Display) {
        self.text(&value.to_string());
    }
    pub(super) fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            None => self.long(0),
            Some(value) => {
                self.long(1);
                write(self, value);
            }
        }
    }
    pub(super) fn optional_text(&mut self, value: Option<&str>) {
        self.optional(value, Self::text);
    }
}

/// Reads fields one after the other. Each names itself, for the error.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn long(&mut self, field: &'static str) -> Result<i64, Unreadable> {
        let mut zigzag = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Unreadable::Field(field))?;
            self.0 = rest;
            zigzag |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
            }
        }
        Err(Unreadable::Field(field))
    }
    pub(super) fn text(&mut self, field: &'static str) -> Result<&'a str, Unreadable> {
        let length = usize::try_from(self.long(field)?).map_err(|_| Unreadable::Field(field))?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Unreadable::Field(field))?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| Unreadable::Field(field))
    }
    pub(super) fn parsed<T: FromStr>(&mut self, field: &'static str) -> Result<T, Unreadable> {
        self.text(field)?.parse().map_err(|_| Unreadable::Field(field))
    }
    pub(super) fn instant(&mut self, field: &'static str) -> Result<Timestamp, Unreadable> {
        Ok(Timestamp::from_micros(self.long(field)?.saturating_mul(1000)))
    }
    pub(super) fn optional<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, Unreadable> {
        match self.long(field)? {
            0 => Ok(None),
            1 => read(self, field).map(Some),
            _ => Err(Unreadable::Field(field)),
        }
    }
    pub(super) fn optional_text(&mut self, field: &'static str) -> Result<Option<String>, Unreadable> {
        Ok(self.optional(field, Self::text)?.map(str::to_owned))
    }
    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), Unreadable> {
        if self.0.is_empty() { Ok(()) } else { Err(Unreadable::Longer) }
    }
}
