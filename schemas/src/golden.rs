//! Every internal format, byte for byte: `golden/<value>.<format>.hex`, for each format that `read` still takes.
//!
//! A change of a type changes its bytes, and is then seen here: it takes the next format, and its file is added beside.

use std::{fmt::Debug, time::Duration};

use proptest::prelude::*;

use crate::{
    codec::{self, Format, Undecodable},
    delivery::{Delivery, LogPosition},
    event::{Subject, UnifiedEvent},
    id::{
        Bits, EventId, ProjectionDigest, ProjectionVersion, RecordHash, RecordKey, RemoteId, RunId, Sequence,
    },
    observation::{
        Absence, Announce, Ask, Baseline, Content, DeliveryId, DeltaPage, Fetch, FetchedRecord, Listed,
        NativePayload, NativeRequest, Notification, RangeListing, RecordName, Run, Snapshot, Source, Summary,
        Tombstone, Trigger, TriggerReason,
    },
    resource::{Mode, Resource},
    state::{At, Bucket, Head, Introduced, Known, RangeRow, State},
    time::Timestamp,
    wal::{Cut, InputPosition, Mutation, Twin, WalRecord},
};

const AT: Timestamp = Timestamp::from_micros(1_764_000_000_000_001);
const BITS: Bits = Bits::NATIVE;

fn source() -> Source {
    Source {
        project: "acme-27270".parse().unwrap(),
        account: "GnQoASvosYhE5wJcmmAQs".parse().unwrap(),
        provider: "tryton".parse().unwrap(),
        origin_owner_id: Some("customer-7".into()),
    }
}

fn projection() -> ProjectionVersion {
    ProjectionVersion { identity: ProjectionDigest([1; 8]), content: ProjectionDigest([2; 8]) }
}

fn run() -> Run {
    Run {
        source: source(),
        resource: Resource::HrisEmployees,
        run: RunId(7),
        begun_at: AT,
        lasted: Duration::from_millis(1_500),
        projection: projection(),
        baseline: Baseline { from: RunId(3), announce: Announce::Created },
        settle: Duration::from_secs(120),
        bits: BITS,
        id_prefix: "tr1!".into(),
        key_name: "id".into(),
    }
}

fn name(id: &str) -> RecordName {
    RecordName { resource: Resource::HrisEmployees, remote_id: RemoteId::new(id) }
}

fn notification() -> Notification {
    let raw_event = Some(r#"{"headers":{},"body":null}"#.into());
    Notification { received_at: AT, mode: Mode::NativeAutomatic, raw_event }
}

fn request() -> NativeRequest {
    NativeRequest {
        source: source(),
        received_at: AT,
        mode: Mode::NativeManual,
        headers: vec![("x-event".into(), "hired".into())],
        body: r#"{"id":42}"#.into(),
        delivery: DeliveryId::Declared("d-1".into()),
        payload: NativePayload::Full,
        id_prefix: "tr1!".into(),
        settle: Duration::from_secs(120),
        fetched: vec![FetchedRecord { record: name("42"), event_data: r#"{"id":"42"}"#.into() }],
    }
}

fn bucket() -> Bucket {
    Bucket { account: source().account, resource: Resource::HrisEmployees, bits: BITS, range: 9 }
}

fn known() -> Known {
    Known {
        state: State::Live(RecordHash([3; 16])),
        at: At::Run { run: RunId(7), begun_at: AT },
        introduced: Introduced::Yes,
        sequence: Some(Sequence(1_764_000_000_000_009)),
        remote_id: RemoteId::new("42"),
    }
}

fn row() -> RangeRow {
    let (projection, run) = (Some(projection()), Some(RunId(7)));
    RangeRow { projection, run, live: 2_048, touched: 3, missing: 1, sum: 1 << 100 }
}

const HEAD: Head =
    Head { last_full_run: Some(RunId(7)), bits: BITS, bits_before: Some(Bits::MAX), moved: 12 };

fn snapshots() -> [Snapshot; 4] {
    let listed = |id: &str, content| Listed { remote_id: RemoteId::new(id), content };
    let records = vec![listed("42", Content::Hash(RecordHash([4; 16]))), listed("43", Content::Unread)];
    let deleted = vec![Tombstone { remote_id: RemoteId::new("44"), deleted_at: Some(AT) }];
    [
        Snapshot::Summary(Summary { run: run(), records: 2, ranges_sent: 1 }),
        Snapshot::Range(RangeListing {
            run: run(),
            range: 9,
            absence: Absence::Partial,
            records: records.clone(),
        }),
        Snapshot::Delta(DeltaPage {
            run: run(),
            changed: records,
            deleted,
            notification: Some(notification()),
        }),
        Snapshot::Forget(source()),
    ]
}

fn wal_record() -> WalRecord {
    let (account, resource) = (source().account, Resource::HrisEmployees);
    let key = RecordKey([5; 16]);
    WalRecord {
        ts: 1_764_000_000_000_009,
        input: InputPosition { twin: Twin::Snapshots, partition: 3, offset: 77 },
        mutations: vec![
            Mutation::Record { bucket: bucket(), key, known: Some(known()) },
            Mutation::Record { bucket: bucket(), key, known: None },
            Mutation::Range { bucket: bucket(), row: Some(row()) },
            Mutation::Head { account: account.clone(), resource, head: HEAD },
            Mutation::Delivery {
                account: account.clone(),
                delivery: DeliveryId::Declared("d-1".into()).key().unwrap(),
            },
            Mutation::Forget { account, cuts: vec![Cut { resource, bits: BITS }] },
        ],
    }
}

fn delivery() -> Delivery {
    let subject = Subject::Record {
        record_id: "dHIxIWlkOjQy".into(),
        remote_id: RemoteId::new("42"),
        raw_event: None,
        event_data: Some("{}".into()),
    };
    let Source { project, account, provider, origin_owner_id } = source();
    Delivery {
        webhook: "w1".parse().unwrap(),
        event: UnifiedEvent {
            event_id: EventId([6; 16]),
            sequence: Sequence(9),
            previous_sequence: Some(Sequence(8)),
            project,
            account,
            provider,
            origin_owner_id,
            event: "hris_employees.updated".parse().unwrap(),
            event_date: AT,
            detected_at: AT,
            mode: Mode::NativeManual,
            subject,
        },
        attempt: 2,
        due: AT,
        position: Some(LogPosition {
            topic: "unified.hris_employees".into(),
            partition: 3,
            offset: 1_234_567,
        }),
        appended: Timestamp::from_micros(1_764_000_000_250_000),
    }
}

/// The value's bytes are those of its file, and its file reads as the value.
fn golden<T: Format + PartialEq + Debug>(value: &T, file: &str) {
    let written = hex::encode(codec::encode(value));
    assert_eq!(written, file.trim(), "a {} is not written as its file has it", T::NAME);
    let read: T = codec::decode(&hex::decode(file.trim()).unwrap()).unwrap();
    assert_eq!(&read, value);
}

#[test]
fn a_record_is_kept_as_it_was() {
    golden(&known(), include_str!("../golden/known.2.hex"));
}
#[test]
fn a_range_row_is_kept_as_it_was() {
    golden(&row(), include_str!("../golden/range_row.2.hex"));
}
#[test]
fn a_head_is_kept_as_it_was() {
    golden(&HEAD, include_str!("../golden/head.2.hex"));
}
#[test]
fn a_wal_record_is_sent_as_it_was() {
    golden(&wal_record(), include_str!("../golden/wal_record.2.hex"));
}
#[test]
fn a_native_request_is_sent_as_it_was() {
    golden(&request(), include_str!("../golden/native_request.2.hex"));
}
#[test]
fn a_delivery_is_sent_as_it_was() {
    golden(&delivery(), include_str!("../golden/delivery.3.hex"));
    let before = hex::decode(include_str!("../golden/delivery.2.hex").trim()).unwrap();
    let read: Delivery = codec::decode(&before).unwrap();
    assert_eq!(
        read,
        Delivery { appended: AT, ..delivery() },
        "what did not say was written when it was detected"
    );
}
#[test]
fn snapshots_are_sent_as_they_were() {
    let [summary, range, delta, forget] = snapshots();
    golden(&summary, include_str!("../golden/summary.2.hex"));
    golden(&range, include_str!("../golden/range_listing.2.hex"));
    golden(&delta, include_str!("../golden/delta_page.2.hex"));
    golden(&forget, include_str!("../golden/forget.2.hex"));
}
#[test]
fn triggers_are_sent_as_they_were() {
    let trigger = |ask| Trigger { source: source(), at: AT, ask };
    let reason = TriggerReason::Notified(notification());
    let run = trigger(Ask::Run { resources: vec![Resource::HrisEmployees], reason });
    let fetch = trigger(Ask::Fetch(Box::new(Fetch { records: vec![name("42")], request: request() })));
    golden(&run, include_str!("../golden/run_trigger.2.hex"));
    golden(&fetch, include_str!("../golden/fetch_trigger.2.hex"));
}

#[test]
fn a_format_of_before_is_refused_in_words_and_a_later_one_too() {
    for (format, said) in
        [(1, "before the first release"), (3, "a later release must read it"), (63, "no release writes it")]
    {
        let mut bytes = codec::encode(&HEAD);
        bytes[0] = format;
        let error = codec::decode::<Head>(&bytes).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(matches!(error, Undecodable::Newer { .. }), format == 3);
    }
}

fn reads_back<T: Format + PartialEq + Debug>(value: &T) -> Result<(), TestCaseError> {
    let read: T =
        codec::decode(&codec::encode(value)).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(&read, value);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_kept_reads_back(known: Known, row: RangeRow, head: Head) {
        reads_back(&known)?;
        reads_back(&row)?;
        reads_back(&head)?;
    }

    #[test]
    fn a_wal_record_reads_back(record: WalRecord) {
        reads_back(&record)?;
    }

    #[test]
    fn a_snapshot_reads_back(snapshot: Snapshot) {
        reads_back(&snapshot)?;
    }

    #[test]
    fn a_native_request_reads_back(request: NativeRequest) {
        reads_back(&request)?;
    }

    #[test]
    fn a_trigger_reads_back(trigger: Trigger) {
        reads_back(&trigger)?;
    }

    #[test]
    fn a_delivery_reads_back(delivery: Delivery) {
        reads_back(&delivery)?;
    }

    #[test]
    fn bytes_of_anybody_are_read_or_refused_and_never_more(bytes: Vec<u8>) {
        let _ = codec::decode::<Snapshot>(&bytes);
        let _ = codec::decode::<NativeRequest>(&bytes);
        let _ = codec::decode::<WalRecord>(&bytes);
    }
}
