//! Numbers as they came: digits are kept until something is calculated with them.

use std::{cmp::Ordering, fmt, rc::Rc};

/// A number.
#[derive(Clone, Debug)]
pub(super) enum Number {
    /// A whole one, spelt as we would.
    Whole(i64),
    /// What was calculated.
    Float(f64),
    /// Any other, as it came.
    Digits(Rc<str>),
}

impl Number {
    /// Of JSON's spelling.
    pub(super) fn of(text: &str) -> Self {
        match text.parse::<i64>() {
            Ok(whole) if text != "-0" => Self::Whole(whole),
            Ok(_) | Err(_) => Self::Digits(text.into()),
        }
    }

    pub(super) fn float(&self) -> f64 {
        match self {
            Self::Whole(whole) => *whole as f64,
            Self::Float(float) => *float,
            Self::Digits(text) => text.parse().unwrap_or(f64::NAN),
        }
    }

    /// As a whole number, if it is one.
    pub(super) fn whole(&self) -> Option<i64> {
        match self {
            Self::Whole(whole) => Some(*whole),
            Self::Float(_) | Self::Digits(_) => {
                let float = self.float();
                (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
            }
        }
    }

    pub(super) fn calculated(float: f64) -> Self {
        match float.fract() == 0.0 && float.abs() < 9e15 {
            true => Self::Whole(float as i64),
            false => Self::Float(float),
        }
    }

    /// The digits of a whole number that no `f64` need hold.
    fn digits(&self) -> Option<(bool, String)> {
        let text = match self {
            Self::Whole(whole) => whole.to_string(),
            Self::Digits(text) => text.to_string(),
            Self::Float(_) => return None,
        };
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.as_str()),
        };
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| (negative, digits.to_owned()))
    }

    pub(super) fn order(&self, other: &Self) -> Ordering {
        if let (Self::Whole(a), Self::Whole(b)) = (self, other) {
            return a.cmp(b);
        }
        // Ids beyond 2^53 are not one because floats say so.
        if let (Some((false, a)), Some((false, b))) = (self.digits(), other.digits()) {
            return a.len().cmp(&b.len()).then_with(|| a.cmp(&b));
        }
        let (a, b) = (self.float(), other.float());
        if a == b { Ordering::Equal } else { a.total_cmp(&b) }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(whole) => whole.fmt(f),
            Self::Digits(text) => f.write_str(text),
            // What JSON can't say is nothing.
            Self::Float(float) => match serde_json::Number::from_f64(*float) {
                Some(number) => number.fmt(f),
                None => f.write_str("null"),
            },
        }
    }
}
