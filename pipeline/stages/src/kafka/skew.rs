//! How far this process's clock is from the brokers' (design §6): what ingest stamps on a request and poll on a run is
//! compared across processes, so one whose clock is wrong is not ready.
//!
//! Brokers stamp the records of some topics themselves (`message.timestamp.type=LogAppendTime` in `ops/topics.yaml`) and
//! say when in their answer. That moment lies between the sending and the answer; what is certain of the difference
//! counts, so that a slow answer is not taken for a wrong clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rdkafka::Timestamp as RecordTime;
use tributary_schemas::time::Timestamp;

use super::metrics;

/// From how far off on a process is not ready.
pub const SKEW_MOST: Duration = Duration::from_secs(30);

/// A broker's clock shows more than this, as it did in September 2001; librdkafka's mock cluster always says 1234.
pub(super) const MOCKED: i64 = 1_000_000_000_000;

/// How far the process's clock was ahead of the brokers' when one last answered. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Skew(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// By how much our clock is ahead, in microseconds, as far as that is certain.
    ahead: AtomicI64,
    /// What is added to our clock's time to be no later than the broker's.
    to_broker: AtomicI64,
}

impl Skew {
    /// Microseconds: positive when our clock is ahead. 0 until a broker has said.
    pub fn micros(&self) -> i64 {
        self.0.ahead.load(Ordering::Relaxed)
    }

    /// What a broker's clock shows now, or up to an answer's time earlier: what a broker appends after this call has no
    /// earlier time. Ours, until a broker has said.
    pub fn broker_now(&self) -> Timestamp {
        let now = crate::clock::now().as_micros() + self.0.to_broker.load(Ordering::Relaxed);
        // A broker's milliseconds are rounded down.
        Timestamp::from_micros(now - now.rem_euclid(1_000))
    }

    /// Whether what is stamped here can't be compared with what others stamp.
    pub fn is_large(&self) -> bool {
        u128::from(self.micros().unsigned_abs()) > SKEW_MOST.as_micros()
    }

    /// Takes in the time that a broker gave a record which was sent and acknowledged at these times of ours.
    pub(super) fn saw(&self, sent: Timestamp, appended: RecordTime, acknowledged: Timestamp) {
        let RecordTime::LogAppendTime(millis @ MOCKED..) = appended else { return };
        let was_large = self.is_large();
        let micros = certain(sent.as_micros(), millis * 1_000, acknowledged.as_micros());
        self.0.ahead.store(micros, Ordering::Relaxed);
        self.0.to_broker.store(millis * 1_000 - acknowledged.as_micros(), Ordering::Relaxed);
        ::metrics::gauge!(metrics::SKEW_SECONDS).set(micros as f64 / 1e6);
        if self.is_large() && !was_large {
            tracing::error!(seconds = micros / 1_000_000, "the clock is ahead of the broker's by: not ready");
        }
    }
}

/// By how much the clock is ahead at the least (behind, if negative): the record was appended after it was sent and
/// before it was acknowledged.
fn certain(sent: i64, appended: i64, acknowledged: i64) -> i64 {
    // A broker's milliseconds are rounded down.
    if sent > appended + 999 { sent - appended - 999 } else { (acknowledged - appended).min(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_certain_of_a_difference_counts() {
        for (sent, appended, acknowledged, ahead, case) in [
            (10_500, 10_000, 12_000, 0, "rounded down"),
            (10_000, 11_000, 12_000, 0, "between the two"),
            (10_000, 11_000, 90_000, 0, "acknowledged late"),
            (50_999, 10_000, 60_000, 40_000, "appended before it was sent"),
            (10_000, 70_000, 30_000, -40_000, "acknowledged before it was appended"),
        ] {
            assert_eq!(certain(sent, appended, acknowledged), ahead, "{case}");
        }
    }

    #[test]
    fn the_broker_s_time_is_never_given_as_later_than_it_is() {
        for (ours, broker, took) in [(0, 0, 0), (40_000_000, 0, 20_000), (-40_000_000, 0, 900_000)] {
            let skew = Skew::default();
            // A record is appended right when it is sent: all of the time goes into its answer.
            let (sent, base) = (crate::clock::now().as_micros() + ours, crate::clock::now().as_micros());
            let acknowledged = Timestamp::from_micros(sent + took);
            let appended = RecordTime::LogAppendTime((base + broker).div_euclid(1_000));
            skew.saw(Timestamp::from_micros(sent), appended, acknowledged);
            let told = skew.0.to_broker.load(Ordering::Relaxed);
            assert!(told <= base + broker - sent - took + 1_000, "{told}");
            assert!(told >= base + broker - sent - took - 1_000, "{told}");
            assert_eq!(skew.broker_now().as_micros() % 1_000, 0);
        }
    }

    #[test]
    fn a_clock_half_a_minute_off_is_large_and_mends() {
        let skew = Skew::default();
        let broker = 1_700_000_000;
        let at = |seconds: i64| Timestamp::from_micros((broker + seconds) * 1_000_000);
        for (ahead, large) in [(0, false), (32, true), (-32, true), (-10, false)] {
            skew.saw(at(ahead), RecordTime::LogAppendTime(broker * 1_000), at(ahead));
            assert_eq!(skew.is_large(), large, "{ahead} s");
        }
        for (other, why) in [
            (RecordTime::CreateTime(0), "the time that a record was made at is our own"),
            (RecordTime::LogAppendTime(1_234), "the mock cluster's"),
        ] {
            skew.saw(at(0), other, at(0));
            assert!(!skew.is_large(), "{why}");
        }
    }
}
