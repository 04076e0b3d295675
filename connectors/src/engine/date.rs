//! Dates in any usual spelling, as RFC 3339: an instant in UTC, or the date alone where there is no time.
//!
//! Read: RFC 3339 with or without seconds, a space for the `T`, `-`, `/` or `.` between year, month and day, or nothing;
//! offsets as `Z`, `UTC`, `GMT`, `+01`, `+0100`, `+01:00`; RFC 1123 and 2822; month names; parts of an object; numbers
//! where the definition says what they count. What can be read in two ways (`01/02/2026`) is trouble, unless the
//! definition has its spelling.

use std::fmt::Write as _;

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};

use super::{
    json,
    trouble::{Kind, Trouble, TroubleKind},
    value::member,
};
use crate::definition::{
    Problem,
    resource::{self, Numbers},
};

/// How a resource writes its dates.
#[derive(Debug, Clone)]
pub struct Dates {
    numbers: Option<Numbers>,
    zone: Zone,
    never: Vec<String>,
    also: Vec<String>,
}

#[derive(Debug, Clone)]
enum Zone {
    Utc,
    Other(TimeZone),
}

/// A date, with its time if it has one.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Parts {
    year: i16,
    month: i8,
    day: i8,
    time: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Time {
    hour: i8,
    minute: i8,
    second: i8,
    nanos: i32,
    /// Seconds east of UTC, where it says.
    offset: Option<i32>,
}

const UNLIKE: TroubleKind = TroubleKind::Unlike("a date in a usual spelling");

impl Default for Dates {
    fn default() -> Self {
        Self { numbers: None, zone: Zone::Utc, never: Vec::new(), also: Vec::new() }
    }
}

impl Dates {
    /// Compiles `dates`.
    ///
    /// # Errors
    /// When a zone does not exist.
    pub fn compile(written: &resource::Dates) -> Result<Self, Problem> {
        let never = written.never.iter().map(|never| match never {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        let zone =
            written.zone.as_deref().map_or(Ok(Zone::Utc), zone).map_err(|problem| problem.at("zone"))?;
        Ok(Self { numbers: written.numbers, zone, never: never.collect(), also: written.also.clone() })
    }

    /// Whether it is said what numbers count.
    pub(super) fn numbers_are_known(&self) -> bool {
        self.numbers.is_some()
    }

    /// With a field's own spelling and zone.
    pub(super) fn spelt(&self, spelling: Option<&str>, own: Option<&str>) -> Result<Self, Problem> {
        let mut dates = self.clone();
        dates.also.splice(0..0, spelling.map(str::to_owned));
        if let Some(own) = own {
            dates.zone = zone(own).map_err(|problem| problem.at("zone"))?;
        }
        Ok(dates)
    }

    /// Writes the date that a JSON value is, with its quotes; false where it is absent.
    pub(super) fn write(&self, value: &str, to: &mut String) -> Result<bool, Trouble> {
        match json::kind(value) {
            Kind::Null => Ok(false),
            Kind::Text => {
                let said = json::unescape(value);
                let said = said.trim();
                if said.is_empty() || self.never.iter().any(|never| never == said) {
                    return Ok(false);
                }
                self.text(said, to).map(|()| true)
            }
            Kind::Number => match self.never.iter().any(|never| never == value) {
                true => Ok(false),
                false => self.number(value, to).map(|()| true),
            },
            Kind::Object => self.object(value, to),
            found @ (Kind::Boolean | Kind::List) => Err(Trouble::expected("a date", found)),
        }
    }

    fn text(&self, said: &str, to: &mut String) -> Result<(), Trouble> {
        for spelling in &self.also {
            if let Some(parts) = spelt(spelling, said) {
                return self.parts(parts, to);
            }
        }
        if let Some(parts) = usual(said.as_bytes()) {
            return self.parts(parts, to);
        }
        if said.bytes().all(|byte| byte.is_ascii_digit()) && self.numbers.is_some() {
            return self.number(said, to);
        }
        if let Some(instant) = named(said) {
            return match instant {
                Named::Instant(instant) => write_instant(instant, to),
                Named::Parts(parts) => self.parts(parts, to),
            };
        }
        Err(UNLIKE.into())
    }

    fn number(&self, digits: &str, to: &mut String) -> Result<(), Trouble> {
        let numbers = self.numbers.ok_or(TroubleKind::NumberDate)?;
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let nanos = match whole.parse::<i128>() {
            Ok(whole) => {
                let unit: i128 = match numbers {
                    Numbers::EpochSeconds => 1_000_000_000,
                    Numbers::EpochMillis => 1_000_000,
                };
                let mut part = 0;
                let mut place = unit / 10;
                for digit in fraction.bytes().filter(u8::is_ascii_digit) {
                    part += i128::from(digit - b'0') * place;
                    place /= 10;
                }
                whole.saturating_mul(unit) + if whole < 0 || digits.starts_with('-') { -part } else { part }
            }
            Err(_) => return Err(UNLIKE.into()),
        };
        let instant = Timestamp::from_nanosecond(nanos).map_err(|_| TroubleKind::DateRange)?;
        write_instant(instant, to)
    }

    /// The parts of a date, as an object has them.
    fn object(&self, value: &str, to: &mut String) -> Result<bool, Trouble> {
        let unlike = || Trouble::from(TroubleKind::Unlike("a date's parts (year, month, day)"));
        let (mut numbers, mut seen) = ([None::<i64>; 7], false);
        for (key, part) in json::members(value) {
            let place = match key {
                "\"year\"" => 0,
                "\"month\"" => 1,
                "\"day\"" => 2,
                "\"hour\"" | "\"hours\"" => 3,
                "\"minute\"" | "\"minutes\"" => 4,
                "\"second\"" | "\"seconds\"" => 5,
                "\"microsecond\"" => 6,
                _ => continue,
            };
            let digits = part.trim_matches('"');
            numbers[place] = match json::kind(part) {
                Kind::Null => None,
                _ => Some(digits.parse().map_err(|_| unlike())?),
            };
            seen = true;
        }
        if !seen {
            // A text in an object: `{"value": "2026-01-01"}`, `{"date": …}`, an element of XML.
            let inner = ["#text", "value", "date", "dateTime"].iter().find_map(|key| member(value, key));
            return match inner.filter(|inner| matches!(json::kind(inner), Kind::Text | Kind::Number)) {
                Some(inner) => self.write(inner, to),
                None if json::members(value).next().is_none() => Ok(false),
                None => Err(unlike()),
            };
        }
        let [Some(year), Some(month), Some(day), hour, minute, second, micro] = numbers else {
            return Err(unlike());
        };
        let small = |number: i64| i8::try_from(number).map_err(|_| unlike());
        let time = match hour {
            None => None,
            Some(hour) => Some(Time {
                hour: small(hour)?,
                minute: small(minute.unwrap_or(0))?,
                second: small(second.unwrap_or(0))?,
                nanos: i32::try_from(micro.unwrap_or(0).saturating_mul(1000)).map_err(|_| unlike())?,
                offset: None,
            }),
        };
        let year = i16::try_from(year).map_err(|_| TroubleKind::DateRange)?;
        self.parts(Parts { year, month: small(month)?, day: small(day)?, time }, to).map(|()| true)
    }

    fn parts(&self, parts: Parts, to: &mut String) -> Result<(), Trouble> {
        let Parts { year, month, day, time } = parts;
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            _ => return Err(UNLIKE.into()),
        };
        if !(0..=9999).contains(&year) {
            return Err(TroubleKind::DateRange.into());
        }
        if !(1..=days).contains(&day) {
            return Err(UNLIKE.into());
        }
        let Some(time) = time else {
            write_date(year, month, day, to);
            return Ok(());
        };
        // A leap second is the one before it, as everywhere that has none.
        let second = if time.second == 60 { 59 } else { time.second };
        if !(0..24).contains(&time.hour) || !(0..60).contains(&time.minute) || !(0..60).contains(&second) {
            return Err(UNLIKE.into());
        }
        match (time.offset, &self.zone) {
            (Some(0), _) | (None, Zone::Utc) => {
                write_date(year, month, day, to);
                write_time(Time { second, ..time }, to);
                Ok(())
            }
            (offset, zone) => {
                let civil = DateTime::new(year, month, day, time.hour, time.minute, second, time.nanos)
                    .map_err(|_| UNLIKE)?;
                let instant = match (offset, zone) {
                    (Some(offset), _) => {
                        Offset::from_seconds(offset).and_then(|offset| offset.to_timestamp(civil))
                    }
                    (None, Zone::Other(zone)) => zone.to_timestamp(civil),
                    (None, Zone::Utc) => TimeZone::UTC.to_timestamp(civil),
                };
                write_instant(instant.map_err(|_| TroubleKind::DateRange)?, to)
            }
        }
    }
}

fn zone(name: &str) -> Result<Zone, Problem> {
    if matches!(name, "UTC" | "GMT" | "Z") {
        return Ok(Zone::Utc);
    }
    if let Some((offset, b"")) = offset(name.as_bytes()) {
        let fixed = Offset::from_seconds(offset).map(|offset| Zone::Other(offset.to_time_zone()));
        return fixed.map_err(|_| Problem::new(format!("no zone `{name}`")));
    }
    TimeZone::get(name).map(Zone::Other).map_err(|_| {
        Problem::new(format!(
            "no zone `{name}`: expected UTC, an offset such as +01:00, or a name such as Europe/Berlin"
        ))
    })
}

fn write_instant(instant: Timestamp, to: &mut String) -> Result<(), Trouble> {
    let civil = TimeZone::UTC.to_datetime(instant);
    if !(0..=9999).contains(&civil.year()) {
        return Err(TroubleKind::DateRange.into());
    }
    write_date(civil.year(), civil.month(), civil.day(), to);
    let nanos = civil.subsec_nanosecond();
    write_time(
        Time { hour: civil.hour(), minute: civil.minute(), second: civil.second(), nanos, offset: Some(0) },
        to,
    );
    Ok(())
}

fn two(number: i8, to: &mut String) {
    to.push(char::from(b'0' + (number / 10).unsigned_abs()));
    to.push(char::from(b'0' + (number % 10).unsigned_abs()));
}

/// `"2026-11-01"`, with its quotes: a time takes the last one away.
fn write_date(year: i16, month: i8, day: i8, to: &mut String) {
    to.push('"');
    let (high, low) = ((year / 100) as i8, (year % 100) as i8);
    two(high, to);
    two(low, to);
    to.push('-');
    two(month, to);
    to.push('-');
    two(day, to);
    to.push('"');
}

fn write_time(time: Time, to: &mut String) {
    to.pop();
    to.push('T');
    two(time.hour, to);
    to.push(':');
    two(time.minute, to);
    to.push(':');
    two(time.second, to);
    if time.nanos != 0 {
        let _ = write!(to, ".{:09}", time.nanos);
        while to.ends_with('0') {
            to.pop();
        }
    }
    to.push_str("Z\"");
}

/// `2026-11-01T15:09:22.961+01:00` and what is spelt like it.
fn usual(text: &[u8]) -> Option<Parts> {
    let (year, rest) = digits(text, 4)?;
    let (month, day, rest) = match rest.first()? {
        separator @ (b'-' | b'/' | b'.') => {
            let (month, rest) = one_or_two(rest.get(1..)?)?;
            let rest = rest.strip_prefix(std::slice::from_ref(separator))?;
            let (day, rest) = one_or_two(rest)?;
            (month, day, rest)
        }
        _ => {
            let (month, rest) = digits(rest, 2)?;
            let (day, rest) = digits(rest, 2)?;
            (month, day, rest)
        }
    };
    let date = |time| Some(Parts { year: year as i16, month: month as i8, day: day as i8, time });
    let rest = match rest {
        [] | [b'Z' | b'z'] => return date(None),
        [b'T' | b't', rest @ ..] => rest,
        [b' ', rest @ ..] => rest.trim_ascii_start(),
        // An offset behind a date alone says nothing of an instant.
        [b'+' | b'-', ..] => {
            return offset(rest).filter(|(_, rest)| rest.is_empty()).and_then(|_| date(None));
        }
        _ => return None,
    };
    let (hour, mut rest) = digits(rest, 2).or_else(|| one_or_two(rest))?;
    let (mut minute, mut second, mut nanos) = (0, 0, 0);
    if let Some((found, behind)) =
        rest.strip_prefix(b":").map_or_else(|| digits(rest, 2), |rest| digits(rest, 2))
    {
        (minute, rest) = (found, behind);
        if let Some((found, behind)) =
            rest.strip_prefix(b":").map_or_else(|| digits(rest, 2), |rest| digits(rest, 2))
        {
            (second, rest) = (found, behind);
            if let [b'.' | b',', fraction @ ..] = rest {
                let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
                if length == 0 {
                    return None;
                }
                for place in 0..9 {
                    let digit = fraction[..length].get(place).map_or(0, |digit| i32::from(digit - b'0'));
                    nanos = nanos * 10 + digit;
                }
                rest = &fraction[length..];
            }
        }
    }
    let mut hour = hour as i8;
    rest = rest.trim_ascii_start();
    if let [half @ (b'A' | b'a' | b'P' | b'p'), b'M' | b'm', behind @ ..] = rest {
        if !(1..=12).contains(&hour) {
            return None;
        }
        hour = hour % 12 + if matches!(half, b'P' | b'p') { 12 } else { 0 };
        rest = behind.trim_ascii_start();
    }
    let (offset, rest) = match rest {
        [] => (None, rest),
        _ => offset(rest).map(|(offset, rest)| (Some(offset), rest))?,
    };
    // `[Europe/Berlin]` behind an offset repeats it.
    let ended = rest.is_empty() || (offset.is_some() && rest.starts_with(b"[") && rest.ends_with(b"]"));
    let time = Time { hour, minute: minute as i8, second: second as i8, nanos, offset };
    ended.then(|| date(Some(time))).flatten()
}

fn digits(text: &[u8], length: usize) -> Option<(i32, &[u8])> {
    let (digits, rest) = text.split_at_checked(length)?;
    let number = digits
        .iter()
        .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i32::from(byte - b'0')))?;
    Some((number, rest))
}

fn one_or_two(text: &[u8]) -> Option<(i32, &[u8])> {
    digits(text, 2).or_else(|| digits(text, 1))
}

/// Seconds east of UTC, and what stands behind.
fn offset(text: &[u8]) -> Option<(i32, &[u8])> {
    match text {
        [b'Z' | b'z', rest @ ..] => Some((0, rest)),
        [b'U', b'T', b'C', rest @ ..] | [b'G', b'M', b'T', rest @ ..] => match rest {
            [b'+' | b'-', ..] => offset(rest),
            _ => Some((0, rest)),
        },
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let (hours, rest) = digits(rest, 2).or_else(|| digits(rest, 1))?;
            let minutes = rest.strip_prefix(b":").map_or_else(|| digits(rest, 2), |rest| digits(rest, 2));
            let (minutes, rest) = minutes.unwrap_or((0, rest));
            let seconds = hours * 3600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some((if *sign == b'-' { -seconds } else { seconds }, rest))
        }
        _ => None,
    }
}

enum Named {
    Instant(Timestamp),
    Parts(Parts),
}

/// Spellings with the names of days and months.
fn named(said: &str) -> Option<Named> {
    if let Ok(zoned) = jiff::fmt::rfc2822::parse(said) {
        return Some(Named::Instant(zoned.timestamp()));
    }
    // .NET's JSON: `/Date(1700000000000+0100)/`.
    if let Some(millis) = said.strip_prefix("/Date(").and_then(|rest| rest.strip_suffix(")/")) {
        let end = millis
            .char_indices()
            .skip(1)
            .find(|(_, it)| matches!(it, '+' | '-'))
            .map_or(millis.len(), |(at, _)| at);
        return Timestamp::from_millisecond(millis[..end].parse().ok()?).ok().map(Named::Instant);
    }
    let spellings = [
        "%a, %d %b %Y %H:%M:%S",
        "%a %b %d %H:%M:%S %Y",
        "%d %b %Y %H:%M:%S",
        "%d %b %Y %H:%M",
        "%d %b %Y",
        "%d-%b-%Y",
        "%d %B %Y",
        "%b %d, %Y %H:%M:%S",
        "%b %d, %Y",
        "%B %d, %Y",
        "%b %d %Y",
        "%B %d %Y",
    ];
    spellings.iter().find_map(|spelling| spelt(spelling, said)).map(Named::Parts)
}

fn spelt(spelling: &str, said: &str) -> Option<Parts> {
    let broken = jiff::fmt::strtime::parse(spelling, said).ok()?;
    let date = broken.to_date().ok()?;
    let time = match broken.hour() {
        None => None,
        Some(_) => {
            let time = broken.to_time().ok()?;
            let offset = broken.offset().map(Offset::seconds);
            let nanos = time.subsec_nanosecond();
            Some(Time { hour: time.hour(), minute: time.minute(), second: time.second(), nanos, offset })
        }
    };
    Some(Parts { year: date.year(), month: date.month(), day: date.day(), time })
}

/// Reads an instant in any usual spelling, for native `at`, `Retry-After` and their like; a date alone is its beginning.
///
/// # Errors
/// Where it is no date.
pub fn instant(value: &str, dates: &Dates) -> Result<Option<tributary_schemas::time::Timestamp>, Trouble> {
    let mut text = String::new();
    if !dates.write(value, &mut text)? {
        return Ok(None);
    }
    let said = text.trim_matches('"');
    let whole = if said.len() == 10 { format!("{said}T00:00:00Z") } else { said.to_owned() };
    whole.parse().map(Some).map_err(|_| UNLIKE.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dates(written: &str) -> Dates {
        use crate::definition::{keys::Read, node::Node};
        Dates::compile(&resource::Dates::read(&Node::parse(written).unwrap()).unwrap()).unwrap()
    }

    fn date(written: &str, value: &str) -> Result<String, String> {
        let mut to = String::new();
        match dates(written).write(value, &mut to) {
            Ok(true) => Ok(to.trim_matches('"').to_owned()),
            Ok(false) => Ok("absent".into()),
            Err(trouble) => Err(trouble.to_string()),
        }
    }

    #[test]
    fn one_instant_in_its_spellings_is_one() {
        for said in [
            "2026-11-01T15:09:22Z",
            "2026-11-01T15:09:22.000Z",
            "2026-11-01t15:09:22z",
            "2026-11-01 15:09:22",
            "2026-11-01 15:09:22 UTC",
            "2026-11-01T16:09:22+01:00",
            "2026-11-01T16:09:22+01",
            "2026-11-01T16:09:22+0100",
            "2026-11-01T16:09:22 +0100",
            "2026-11-01T10:09:22-05:00",
            "2026/11/01 15:09:22",
            "20261101T150922Z",
            "Sun, 01 Nov 2026 15:09:22 GMT",
            "Sun, 1 Nov 2026 16:09:22 +0100",
            "2026-11-01T16:09:22+01:00[Europe/Berlin]",
            "2026-11-01 03:09:22 PM",
            "/Date(1793545762000)/",
            "Sun Nov  1 15:09:22 2026",
            "01 Nov 2026 15:09:22",
            "2026-11-01T15:09:22,000Z",
        ] {
            assert_eq!(date("{}", &format!("{said:?}")).as_deref(), Ok("2026-11-01T15:09:22Z"), "{said}");
        }
        for (written, value) in [
            ("numbers: epoch_s", "1793545762"),
            ("numbers: epoch_ms", "1793545762000"),
            ("numbers: epoch_s", "1793545762.0"),
            ("numbers: epoch_s", "\"1793545762\""),
            ("zone: Europe/Berlin", "\"2026-11-01 16:09:22\""),
            ("zone: '+02:00'", "\"2026-11-01T17:09:22\""),
            (
                "{}",
                r#"{"__class__":"datetime","year":2026,"month":11,"day":1,"hour":15,"minute":9,"second":22,"microsecond":0}"#,
            ),
            ("also: ['%d.%m.%Y %H:%M:%S']", "\"01.11.2026 15:09:22\""),
            ("{}", r##"{"@nil":"0","#text":"2026-11-01T15:09:22Z"}"##),
        ] {
            assert_eq!(date(written, value).as_deref(), Ok("2026-11-01T15:09:22Z"), "{value}");
        }
    }

    #[test]
    fn a_date_alone_stays_one_and_what_is_none_says_so() {
        for (written, value, expected) in [
            ("{}", "\"2026-11-01\"", Ok("2026-11-01")),
            ("{}", "\"2026/11/1\"", Ok("2026-11-01")),
            ("{}", "\"20261101\"", Ok("2026-11-01")),
            ("{}", "\"1 November 2026\"", Ok("2026-11-01")),
            ("{}", "\"Nov 1, 2026\"", Ok("2026-11-01")),
            ("{}", r#"{"__class__":"date","year":2026,"month":11,"day":1}"#, Ok("2026-11-01")),
            ("{}", "\"2026-11-01T15:09\"", Ok("2026-11-01T15:09:00Z")),
            ("{}", "\"2026-11-01T15:09:22.9610\"", Ok("2026-11-01T15:09:22.961Z")),
            ("numbers: epoch_ms", "1793545762961", Ok("2026-11-01T15:09:22.961Z")),
            ("numbers: epoch_ms", "-1", Ok("1969-12-31T23:59:59.999Z")),
            ("{}", "\"2016-12-31T23:59:60Z\"", Ok("2016-12-31T23:59:59Z")),
            ("{}", "null", Ok("absent")),
            ("{}", "\"\"", Ok("absent")),
            ("{}", "{}", Ok("absent")),
            ("never: [0, '0000-00-00']", "0", Ok("absent")),
            ("never: [0, '0000-00-00']", "\"0000-00-00\"", Ok("absent")),
            ("{}", "\"0000-00-00\"", Err("expected a date in a usual spelling, found another text")),
            ("{}", "\"2026-02-29\"", Err("expected a date in a usual spelling, found another text")),
            (
                "{}",
                "\"2026-11-01T25:00:00Z\"",
                Err("expected a date in a usual spelling, found another text"),
            ),
            ("{}", "\"01/02/2026\"", Err("expected a date in a usual spelling, found another text")),
            ("{}", "\"soon\"", Err("expected a date in a usual spelling, found another text")),
            (
                "{}",
                "1793545762",
                Err(
                    "a number where a date is wanted: the definition has to say what it counts (`dates.numbers`)",
                ),
            ),
            ("{}", "true", Err("expected a date, found true or false")),
            ("numbers: epoch_s", "99999999999999999999", Err("a date before year 0 or after 9999")),
            (
                "{}",
                r#"{"year":2026,"month":13,"day":1}"#,
                Err("expected a date in a usual spelling, found another text"),
            ),
            ("{}", r#"{"canary":1}"#, Err("expected a date's parts (year, month, day), found another text")),
        ] {
            assert_eq!(date(written, value), expected.map(str::to_owned).map_err(str::to_owned), "{value}");
        }
        let zone = resource::Dates {
            numbers: None,
            zone: Some("Europe/Berlino".into()),
            never: vec![],
            also: vec![],
        };
        assert!(Dates::compile(&zone).unwrap_err().to_string().starts_with("zone: no zone"));
    }

    proptest! {
        #[test]
        fn an_instant_is_one_in_every_zone_and_spelling(seconds in -62_000_000_000_i64..250_000_000_000, nanos in 0..1000_i32, hours in -12..13_i8, choice in 0..4) {
            let instant = Timestamp::new(seconds, if seconds < 0 { 0 } else { nanos * 1_000_000 }).unwrap();
            prop_assume!(instant.to_string().len() <= 24 && !instant.to_string().starts_with('-'));
            let there = instant.to_zoned(Offset::constant(hours).to_time_zone());
            prop_assume!((0..=9999).contains(&there.year()));
            let said = match choice {
                0 => there.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string(),
                1 => there.strftime("%Y-%m-%d %H:%M:%S%.f%z").to_string(),
                2 => instant.to_string(),
                _ => there.strftime("%Y/%m/%d %H:%M:%S%.f %:z").to_string(),
            };
            prop_assert_eq!(date("{}", &format!("{said:?}")), Ok(instant.to_string()), "{}", said);
        }

        #[test]
        fn any_text_ends_and_what_is_written_is_a_date(said in "[0-9TZ:+. /-]{0,30}") {
            if let Ok(written) = date("numbers: epoch_s", &format!("{said:?}")) && written != "absent" {
                let kind = tributary_schemas::model::Kind::DateTime;
                prop_assert!(kind.check("d", &written.clone().into()).is_ok(), "{} {}", said, written);
            }
        }
    }
}
