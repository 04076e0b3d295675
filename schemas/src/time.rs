//! Time, as a value: microseconds since 1970 in UTC. Nothing in this crate reads a clock.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant: microseconds since 1970-01-01T00:00:00Z. In JSON and as text RFC 3339 with milliseconds and `Z`
/// (contract §2); in the compact formats the number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Timestamp(i64);

/// A text that is no RFC 3339 date-time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an RFC 3339 date-time such as 2026-11-01T15:09:22.961Z")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// From microseconds since 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }
    /// Microseconds since 1970.
    pub const fn as_micros(self) -> i64 {
        self.0
    }
    /// Milliseconds since 1970, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }
    /// Whole seconds since 1970, rounded down.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
    /// Later by `span`, at the most the end of time.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }
    /// Earlier by `span`, at the least the beginning of time.
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros(span)))
    }
    /// How long ago `earlier` was; zero if it was not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, of_day) = self.split();
        write_instant(f, day, of_day)?;
        write!(f, ".{:03}Z", of_day / 1_000 % 1_000)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, of_day) = self.split();
        write_instant(f, day, of_day)?;
        write!(f, ".{:06}Z", of_day % 1_000_000)
    }
}

const MICROS_A_DAY: i64 = 86_400_000_000;

impl Timestamp {
    /// The day since 1970-01-01, and the microseconds of the day.
    const fn split(self) -> (i64, i64) {
        (self.0.div_euclid(MICROS_A_DAY), self.0.rem_euclid(MICROS_A_DAY))
    }
}

fn write_instant(f: &mut fmt::Formatter<'_>, day: i64, of_day: i64) -> fmt::Result {
    let (year, month, day) = civil(day);
    match year {
        0..=9_999 => write!(f, "{year:04}")?,
        // ISO 8601's expanded form: a sign and six digits.
        _ => write!(f, "{year:+07}")?,
    }
    let seconds = of_day / 1_000_000;
    write!(f, "-{month:02}-{day:02}T{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// The date of a day since 1970-01-01 in the proleptic Gregorian calendar, counted in eras of 400 years from 0000-03-01.
const fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year_of_era + (month <= 2) as i64, month, day)
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    /// Reads RFC 3339, and for years before 0 or after 9999 ISO 8601's expanded form, as they are written here.
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        if let Ok(instant) = text.parse::<jiff::Timestamp>() {
            return Ok(Self(instant.as_microsecond()));
        }
        // Beyond what jiff reaches, which ends a day before the year 9999 does. 400 years are always as many days, so a
        // year within it stands in.
        let digits = if text.starts_with(['+', '-']) { 7 } else { 4 };
        let (year, rest) = text.split_at_checked(digits).ok_or(InvalidTimestamp)?;
        if !year[digits % 2..].bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidTimestamp);
        }
        let year: i64 = year.parse().map_err(|_| InvalidTimestamp)?;
        let near = format!("{:04}{rest}", 2_000 + year.rem_euclid(400));
        let near: jiff::Timestamp = near.parse().map_err(|_| InvalidTimestamp)?;
        let eras = year.div_euclid(400) - 5;
        let micros =
            i128::from(near.as_microsecond()) + i128::from(eras) * 146_097 * i128::from(MICROS_A_DAY);
        let clamped = micros.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        Ok(Self(i64::try_from(clamped).expect("it was just cut to the range")))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { to.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if !from.is_human_readable() {
            return i64::deserialize(from).map(Self);
        }
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_instant_reads_and_writes_as_the_contract_says() {
        let instant: Timestamp = "2026-11-01T16:09:22.9619+01:00".parse().unwrap();
        assert_eq!(instant.to_string(), "2026-11-01T15:09:22.961Z");
        assert_eq!(serde_json::to_string(&instant).unwrap(), r#""2026-11-01T15:09:22.961Z""#);
        assert_eq!("yesterday".parse::<Timestamp>(), Err(InvalidTimestamp));
    }

    #[test]
    fn years_before_0_and_after_9999_have_six_digits_and_a_sign() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000_000, "+010000-01-01T00:00:00.000Z"),
            (-62_167_219_200_000_000, "0000-01-01T00:00:00.000Z"),
            (-62_167_219_200_000_001, "-000001-12-31T23:59:59.999Z"),
            (i64::MAX, "+294247-01-10T04:00:54.775Z"),
            (i64::MIN, "-290308-12-21T19:59:05.224Z"),
        ] {
            assert_eq!(Timestamp(micros).to_string(), text);
            assert_eq!(text.parse::<Timestamp>().map(|it| it.to_string()), Ok(text.to_owned()));
        }
        for text in ["+10000-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "+éé0000-01-01", "", "+294247"] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn every_instant_reads_back_as_it_was_written(micros in prop_oneof![
            any::<i64>(), -400_000_000_000_000_000..400_000_000_000_000_000_i64,
        ]) {
            let instant = Timestamp(micros);
            // JSON and text keep milliseconds; the compact formats keep all.
            let whole = Timestamp(micros.div_euclid(1_000).saturating_mul(1_000));
            let json = serde_json::to_string(&instant).unwrap();
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), whole);
            prop_assert_eq!(format!("{instant:?}").parse::<Timestamp>().unwrap(), instant);
            let compact = postcard::to_allocvec(&instant).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Timestamp>(&compact).unwrap(), instant);
        }

        #[test]
        fn within_its_calendar_jiff_says_the_same(seconds in -377_705_023_000_i64..253_402_207_000) {
            let ours = Timestamp(seconds * 1_000_000).to_string();
            prop_assert_eq!(ours, format!("{:.3}", jiff::Timestamp::from_second(seconds).unwrap()));
        }
    }
}
