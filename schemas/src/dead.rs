//! `unify.dead`: input that could not be decoded, mapped or produced. The record is the input itself, key and value as
//! they came, so that it can be sent again as it is; what is wrong with it is in the headers. Behind it, in its partition, a
//! record without a value says that it was sent again, in the transaction that did.

use std::collections::BTreeMap;

use crate::time::Timestamp;

/// What is wrong with an input, and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct DeadLetter {
    /// The topic that it came by.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// From a fixed set, as a metric label has it.
    pub reason: String,
    /// What is wrong, for people. No value of the input.
    pub detail: String,
    /// When it was set aside.
    pub at: Timestamp,
}

/// The headers that name the parts of a [`DeadLetter`].
const HEADERS: [&str; 6] = ["topic", "partition", "offset", "reason", "detail", "at"];

/// A header that is missing, or does not hold what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the header `{0}` of a dead letter is missing, or does not hold what it should")]
pub struct InvalidHeader(pub &'static str);

impl DeadLetter {
    /// As the headers of the record.
    pub fn to_headers(&self) -> Vec<(String, Vec<u8>)> {
        let values = [
            self.topic.clone(),
            self.partition.to_string(),
            self.offset.to_string(),
            self.reason.clone(),
            self.detail.clone(),
            self.at.as_micros().to_string(),
        ];
        HEADERS.into_iter().zip(values).map(|(name, value)| (name.to_owned(), value.into_bytes())).collect()
    }

    /// Reads [`to_headers`](Self::to_headers). Other headers are passed over.
    ///
    /// # Errors
    /// [`InvalidHeader`] names the first that is missing or wrong.
    pub fn from_headers<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, InvalidHeader> {
        let given: BTreeMap<&str, &[u8]> = headers.into_iter().collect();
        let text = |name| {
            let value = given.get(name).and_then(|value| std::str::from_utf8(value).ok());
            value.map(str::to_owned).ok_or(InvalidHeader(name))
        };
        let number = |name| text(name)?.parse().map_err(|_| InvalidHeader(name));
        Ok(Self {
            topic: text("topic")?,
            partition: text("partition")?.parse().map_err(|_| InvalidHeader("partition"))?,
            offset: number("offset")?,
            reason: text("reason")?,
            detail: text("detail")?,
            at: Timestamp::from_micros(number("at")?),
        })
    }
}

/// Says of a [`DeadLetter`] that its input was sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Redriven {
    /// The letter's offset; its partition is this record's.
    pub offset: i64,
    /// When.
    pub at: Timestamp,
}

/// The headers that name the parts of a [`Redriven`].
const REDRIVEN: [&str; 2] = ["redriven", "redriven_at"];

impl Redriven {
    /// As the headers of the record.
    pub fn to_headers(self) -> Vec<(String, Vec<u8>)> {
        let values = [self.offset.to_string(), self.at.as_micros().to_string()];
        REDRIVEN.into_iter().zip(values).map(|(name, value)| (name.to_owned(), value.into_bytes())).collect()
    }

    /// Reads [`to_headers`](Self::to_headers). `None` where the record is another, as a [`DeadLetter`] is.
    pub fn from_headers<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Option<Self> {
        let given: BTreeMap<&str, &[u8]> = headers.into_iter().collect();
        let number = |name| std::str::from_utf8(given.get(name)?).ok()?.parse().ok();
        let [offset, at] = REDRIVEN.map(number);
        Some(Self { offset: offset?, at: Timestamp::from_micros(at?) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_letter_reads_back(letter: DeadLetter) {
            let headers = letter.to_headers();
            let given = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
            prop_assert_eq!(DeadLetter::from_headers(given.clone()), Ok(letter));
            prop_assert_eq!(Redriven::from_headers(given), None);
        }

        #[test]
        fn that_it_was_sent_again_reads_back(redriven: Redriven) {
            let headers = redriven.to_headers();
            let given = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
            prop_assert_eq!(Redriven::from_headers(given.clone()), Some(redriven));
            prop_assert!(DeadLetter::from_headers(given).is_err());
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let all = [
            ("topic", "t"),
            ("partition", "1"),
            ("offset", "2"),
            ("reason", "r"),
            ("detail", "d"),
            ("at", "3"),
        ];
        for name in HEADERS {
            let rest = all.iter().filter(|(given, _)| *given != name);
            let rest = rest.map(|(name, value)| (*name, value.as_bytes()));
            assert_eq!(DeadLetter::from_headers(rest), Err(InvalidHeader(name)));
        }
        let wrong =
            all.map(|(name, value)| (name, if name == "offset" { &b"two"[..] } else { value.as_bytes() }));
        assert_eq!(DeadLetter::from_headers(wrong), Err(InvalidHeader("offset")));
    }
}
