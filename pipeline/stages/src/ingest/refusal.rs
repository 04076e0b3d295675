//! Why a request is not taken: a closed set, each with its status and its words. It is the `outcome` that ingest counts, so
//! that what a provider hears, what an operator sees and what an alert watches are one thing.

use std::time::Duration;

use axum::response::{IntoResponse, Response};

use crate::http_error::HttpError;

/// What was over a caller's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// The account's requests or bytes a second.
    AccountRate,
    /// The project's requests or bytes a second.
    ProjectRate,
    /// The account's requests at a time, or the project's.
    AtATime,
    /// The bytes of bodies that the account holds.
    AccountHeld,
    /// Look-ups of tokens that are not known, by address.
    AddressLookUps,
}

/// Why a request is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No such provider, or no such token.
    UnknownUrl,
    /// The account takes no webhooks any more.
    AccountClosed,
    /// It is one of our own deliveries.
    OwnDelivery,
    /// The operator has suspended the project; what comes again is taken once it is resumed.
    Suspended,
    /// The body has more bytes than `ingest.body_bytes`, or than the broker takes.
    TooLarge,
    /// Over a share; again after so long.
    OverShare(Share, Duration),
    /// The process holds as many bytes of bodies as it may (`ingest.held_bytes`).
    Full,
    /// The body came too slowly, or not whole.
    Slow,
    /// The signature is not what the account's secrets make of it.
    Forged(String),
    /// The body is no JSON at all.
    NoJson,
    /// The store did not answer.
    StoreAway,
    /// What we keep of the account can't be read by this release.
    Unreadable,
    /// A secret of the account does not open with the keys that we have.
    Sealed,
    /// The broker did not take it.
    BrokerAway,
}

impl Refusal {
    /// The `outcome` that it is counted as.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::UnknownUrl => "unknown_url",
            Self::AccountClosed => "account_closed",
            Self::OwnDelivery => "own_delivery",
            Self::Suspended => "suspended",
            Self::TooLarge => "too_large",
            Self::OverShare(Share::AccountRate, _) => "account_rate",
            Self::OverShare(Share::ProjectRate, _) => "project_rate",
            Self::OverShare(Share::AtATime, _) => "at_a_time",
            Self::OverShare(Share::AccountHeld, _) => "account_held",
            Self::OverShare(Share::AddressLookUps, _) => "address_look_ups",
            Self::Full => "full",
            Self::Slow => "slow",
            Self::Forged(_) => "forged",
            Self::NoJson => "no_json",
            Self::StoreAway => "store_away",
            Self::Unreadable => "unreadable",
            Self::Sealed => "sealed",
            Self::BrokerAway => "broker_away",
        }
    }

    /// What the caller hears (contract §5): 429 is theirs to mend, 503 is ours, and both say when to come again.
    pub(super) fn http(self) -> HttpError {
        match self {
            Self::UnknownUrl => HttpError::not_found("no such URL: check the provider and the token"),
            Self::AccountClosed => HttpError::not_found("this account takes no webhooks any more"),
            Self::OwnDelivery => HttpError::unauthorized("this is a delivery of ours: no provider sent it"),
            Self::Suspended => HttpError::unavailable("this project is suspended: try again later"),
            Self::TooLarge => HttpError::too_large("body: larger than is taken"),
            Self::OverShare(share, wait) => HttpError::too_many(share.words(), wait),
            Self::Full => HttpError::unavailable("too many bytes at a time: try again"),
            Self::Slow => HttpError::unavailable("body: it comes too slowly, or broke off"),
            Self::Forged(why) => HttpError::unauthorized(why),
            Self::NoJson => HttpError::bad_request("body: expected JSON"),
            Self::StoreAway => HttpError::unavailable("the store is away"),
            Self::Unreadable => HttpError::unavailable("what is kept of this account can't be read"),
            Self::Sealed => HttpError::unavailable("a secret does not open"),
            Self::BrokerAway => HttpError::unavailable("the broker is away: try again"),
        }
    }
}

impl Share {
    /// Refused; again after so long.
    pub(super) fn spent(self, wait: Duration) -> Refusal {
        Refusal::OverShare(self, wait)
    }

    fn words(self) -> &'static str {
        match self {
            Self::AccountRate => "too much at a time for this account",
            Self::ProjectRate => "too much at a time for this project",
            Self::AtATime => "requests: too many of this account at a time",
            Self::AccountHeld => "body: too many bytes of this account at a time",
            Self::AddressLookUps => "too many unknown URLs from this address",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.http().into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_come_again_is_told_when_and_nobody_else_is() {
        let wait = Duration::from_secs(2);
        for (refusal, status) in [
            (Refusal::UnknownUrl, 404),
            (Refusal::AccountClosed, 404),
            (Refusal::OwnDelivery, 401),
            (Refusal::Suspended, 503),
            (Refusal::TooLarge, 413),
            (Refusal::OverShare(Share::AccountRate, wait), 429),
            (Refusal::OverShare(Share::ProjectRate, wait), 429),
            (Refusal::OverShare(Share::AtATime, wait), 429),
            (Refusal::OverShare(Share::AccountHeld, wait), 429),
            (Refusal::OverShare(Share::AddressLookUps, wait), 429),
            (Refusal::Full, 503),
            (Refusal::Slow, 503),
            (Refusal::Forged("no".into()), 401),
            (Refusal::NoJson, 400),
            (Refusal::StoreAway, 503),
            (Refusal::Unreadable, 503),
            (Refusal::Sealed, 503),
            (Refusal::BrokerAway, 503),
        ] {
            let name = refusal.name();
            let response = refusal.into_response();
            assert_eq!(response.status(), status, "{name}");
            let again = response.headers().contains_key("retry-after");
            assert_eq!(again, matches!(status, 429 | 503), "{name}");
        }
    }
}
