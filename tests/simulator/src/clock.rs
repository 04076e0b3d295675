//! A tenant's clock and the ways in which providers write a time. Instants are milliseconds since 1970, UTC.

use jiff::{
    Timestamp,
    tz::{Offset, TimeZone},
};

/// The machine's clock and how far this tenant is ahead of it: `advance` lets tokens and subscriptions expire.
#[derive(Debug, Default, Clone)]
pub(crate) struct Clock {
    ahead: i64,
}

impl Clock {
    pub(crate) fn now(&self) -> i64 {
        Timestamp::now().as_millisecond().saturating_add(self.ahead)
    }

    pub(crate) fn advance(&mut self, milliseconds: i64) {
        self.ahead = self.ahead.saturating_add(milliseconds);
    }
}

/// How a provider writes a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    /// `2026-05-29T14:29:44Z`
    Seconds,
    /// `2026-05-29T14:29:44.123Z`
    Milliseconds,
    /// `2026-05-29T14:29:44.000+0000`
    Salesforce,
    /// `2026-05-29T14:29:44+00:00`
    Colon,
    /// `2026-05-29T14:29:44` with an offset of so many hours, written `+03:00`
    Zone(i8),
    /// `2026-05-29 14:29:44`, UTC
    Space,
    /// A number: milliseconds since 1970
    EpochMilliseconds,
    /// A number: seconds since 1970
    EpochSeconds,
}

impl Time {
    pub(crate) fn text(self, at: i64) -> String {
        let instant = Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH);
        let format = |form: &str| instant.strftime(form).to_string();
        match self {
            Self::Seconds => format("%Y-%m-%dT%H:%M:%SZ"),
            Self::Milliseconds => format("%Y-%m-%dT%H:%M:%S.%3fZ"),
            Self::Salesforce => format("%Y-%m-%dT%H:%M:%S.%3f+0000"),
            Self::Colon => format("%Y-%m-%dT%H:%M:%S+00:00"),
            Self::Space => format("%Y-%m-%d %H:%M:%S"),
            Self::Zone(hours) => {
                let zone = TimeZone::fixed(Offset::constant(hours));
                instant.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
            }
            Self::EpochMilliseconds => at.to_string(),
            Self::EpochSeconds => at.div_euclid(1000).to_string(),
        }
    }

    pub(crate) fn json(self, at: i64) -> serde_json::Value {
        match self {
            Self::EpochMilliseconds => at.into(),
            Self::EpochSeconds => at.div_euclid(1000).into(),
            _ => self.text(at).into(),
        }
    }
}

/// An instant in RFC 3339, with or without a zone (then UTC), a blank for the `T`, a zone without a colon; or a date.
pub(crate) fn instant(text: &str) -> Option<i64> {
    let mut text = text.trim().to_owned();
    if text.len() == 10 {
        text.push_str("T00:00:00Z");
    }
    if text.get(10..11) == Some(" ") {
        text.replace_range(10..11, "T");
    }
    let tail = text.get(11..)?;
    if !tail.contains(['Z', 'z', '+', '-']) {
        text.push('Z');
    } else if let Some(sign) = tail.rfind(['+', '-'])
        && tail.len() - sign == 5
    {
        text.insert(text.len() - 2, ':');
    }
    text.parse::<Timestamp>().ok().map(|at| at.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_in_each_form() {
        let at = 1_780_064_984_000;
        for (form, text) in [
            (Time::Seconds, "2026-05-29T14:29:44Z"),
            (Time::Milliseconds, "2026-05-29T14:29:44.000Z"),
            (Time::Salesforce, "2026-05-29T14:29:44.000+0000"),
            (Time::Colon, "2026-05-29T14:29:44+00:00"),
            (Time::Zone(-7), "2026-05-29T07:29:44-07:00"),
            (Time::Zone(3), "2026-05-29T17:29:44+03:00"),
            (Time::Space, "2026-05-29 14:29:44"),
        ] {
            assert_eq!(form.text(at), text);
            assert_eq!(instant(text), Some(at), "{text}");
        }
        assert_eq!(instant("2026-05-29"), Some(1_780_012_800_000));
        assert_eq!(instant("2026-05-29T14:29:44 00:00"), None, "a plus that was not encoded");
    }
}
