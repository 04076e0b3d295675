//! unify's cells in CQL: every write at its own timestamp, so that an older one never shows.

use std::collections::BTreeMap;

use anyhow::Context;
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use scylla::{
    client::session::Session,
    response::{PagingState, PagingStateResponse},
    statement::{batch::Batch, batch::BatchType, prepared::PreparedStatement},
    value::CqlValue,
};
use tributary_core::cells::{Cell, CellKey, CellValue, Want};
use tributary_schemas::{
    codec,
    id::{AccountId, Bits, RecordKey},
    resource::Resource,
    state::{Bucket, State},
    wal::{Cut, Mutation},
};

use super::{
    super::{Ranges, StateStore, StoreError},
    CqlStore, prepare, retried,
};

/// Requests under way for one call.
const CONCURRENCY: usize = 32;
/// An unlogged batch of one partition stays below this (design §6).
const BATCH_BYTES: usize = 40 * 1024;

/// How long a gone record is kept, for its chain of events and against what comes late: nobody lists it any more, and where
/// there are only native events nobody ever reads its range.
const GONE_KEPT_SECONDS: u32 = 7 * 86_400;

pub(super) struct Statements {
    record: PreparedStatement,
    slice: PreparedStatement,
    range: PreparedStatement,
    head: PreparedStatement,
    ranges: PreparedStatement,
    delivery: PreparedStatement,
    forgotten: PreparedStatement,
    put_record: PreparedStatement,
    put_gone: PreparedStatement,
    drop_record: PreparedStatement,
    put_range: PreparedStatement,
    drop_range: PreparedStatement,
    put_head: PreparedStatement,
    put_delivery: PreparedStatement,
    put_forgotten: PreparedStatement,
    forget_records: PreparedStatement,
    forget_ranges: PreparedStatement,
}

impl Statements {
    pub(super) async fn prepare(session: &Session) -> anyhow::Result<Self> {
        const BUCKET: &str = "account = ? AND resource = ? AND bits = ? AND range = ?";
        let prepare = async |text: &str| prepare(session, text).await;
        let mut slice =
            prepare(&format!("SELECT record_key, v, WRITETIME(v) FROM records WHERE {BUCKET}")).await?;
        slice.set_page_size(2_000);
        let mut ranges = prepare(
            "SELECT bits, range, v, WRITETIME(v), head, WRITETIME(head) FROM ranges WHERE account = ? AND resource = ?",
        )
        .await?;
        ranges.set_page_size(5_000);
        Ok(Self {
            record: prepare(&format!("SELECT v, WRITETIME(v) FROM records WHERE {BUCKET} AND record_key = ?")).await?,
            slice,
            range: prepare(&format!("SELECT v, WRITETIME(v) FROM ranges WHERE {BUCKET}")).await?,
            head: prepare(
                "SELECT head, WRITETIME(head) FROM ranges WHERE account = ? AND resource = ? LIMIT 1",
            )
            .await?,
            ranges,
            delivery: prepare(
                "SELECT v, WRITETIME(v) FROM deliveries WHERE account = ? AND delivery = ?",
            )
            .await?,
            forgotten: prepare("SELECT v, WRITETIME(v) FROM forgotten WHERE account = ?").await?,
            put_record: prepare(
                "INSERT INTO records (account, resource, bits, range, record_key, v) VALUES (?, ?, ?, ?, ?, ?) \
                 USING TIMESTAMP ?",
            )
            .await?,
            put_gone: prepare(&format!(
                "INSERT INTO records (account, resource, bits, range, record_key, v) VALUES (?, ?, ?, ?, ?, ?) \
                 USING TIMESTAMP ? AND TTL {GONE_KEPT_SECONDS}"
            ))
            .await?,
            drop_record: prepare(&format!("DELETE FROM records USING TIMESTAMP ? WHERE {BUCKET} AND record_key = ?"))
                .await?,
            put_range: prepare(
                "INSERT INTO ranges (account, resource, bits, range, v) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            drop_range: prepare(&format!("DELETE FROM ranges USING TIMESTAMP ? WHERE {BUCKET}")).await?,
            put_head: prepare(
                "INSERT INTO ranges (account, resource, head) VALUES (?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            put_delivery: prepare(
                "INSERT INTO deliveries (account, delivery, v) VALUES (?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            put_forgotten: prepare("INSERT INTO forgotten (account, v) VALUES (?, ?) USING TIMESTAMP ?").await?,
            forget_records: prepare(&format!("DELETE FROM records USING TIMESTAMP ? WHERE {BUCKET}")).await?,
            forget_ranges: prepare("DELETE FROM ranges USING TIMESTAMP ? WHERE account = ? AND resource = ?").await?,
        })
    }
}

#[async_trait]
impl StateStore for CqlStore {
    async fn read(&self, wants: &[Want]) -> Result<Vec<Cell>, StoreError> {
        let wants: Vec<Want> = wants.to_vec();
        let answers: Vec<Vec<Cell>> = stream::iter(wants)
            .map(|want| self.answer(want))
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        Ok(answers.into_iter().flatten().collect())
    }

    async fn apply(&self, mutations: &[(i64, Mutation)]) -> Result<(), StoreError> {
        let writes: Vec<Write> = batches(mutations);
        stream::iter(writes)
            .map(|write| self.write(write))
            .buffer_unordered(CONCURRENCY)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    }

    async fn outline(&self, account: &AccountId) -> Result<Vec<Cell>, StoreError> {
        let mut cells = Vec::new();
        for resource in Resource::ALL {
            cells.extend(self.outline_of(account, resource).await?);
        }
        Ok(cells)
    }

    async fn ranges(&self, account: &AccountId, resource: Resource) -> Result<Ranges, StoreError> {
        let mut found = Ranges::default();
        for cell in self.outline_of(account, resource).await? {
            match (cell.key, cell.value) {
                (_, Some(CellValue::Head(head))) => found.head = Some(head),
                (CellKey::Range(bucket), Some(CellValue::Range(row))) => {
                    found.rows.push((bucket.bits, bucket.range, row));
                }
                _ => {
                    let unreadable = anyhow::anyhow!("a cell: `tributary unify repair {account}`");
                    return Err(StoreError::broken("reading ranges")(unreadable));
                }
            }
        }
        Ok(found)
    }
}

/// Writes that go together: one partition's cells, or the forgetting of an account.
enum Write {
    Cells(Vec<(i64, Mutation)>),
    Forget(i64, AccountId, Vec<Cut>),
}

/// Puts cells of one partition together, up to the size of a batch.
fn batches(mutations: &[(i64, Mutation)]) -> Vec<Write> {
    let mut partitions: BTreeMap<String, Vec<(i64, Mutation)>> = BTreeMap::new();
    let mut writes = Vec::new();
    for (ts, mutation) in mutations {
        let partition = match mutation {
            Mutation::Record { bucket: Bucket { account, resource, bits, range }, .. } => {
                format!("r {account} {resource} {} {range}", bits.get())
            }
            Mutation::Range { bucket, .. } => format!("g {} {}", bucket.account, bucket.resource),
            Mutation::Head { account, resource, .. } => format!("g {account} {resource}"),
            Mutation::Delivery { account, delivery } => format!("d {account} {}", delivery.as_str()),
            Mutation::Forget { account, cuts } => {
                writes.push(Write::Forget(*ts, account.clone(), cuts.clone()));
                continue;
            }
        };
        partitions.entry(partition).or_default().push((*ts, mutation.clone()));
    }
    for cells in partitions.into_values() {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for (ts, mutation) in cells {
            let size = match &mutation {
                Mutation::Record { known: Some(known), .. } => 150 + known.remote_id.as_str().len(),
                Mutation::Record { .. }
                | Mutation::Range { .. }
                | Mutation::Head { .. }
                | Mutation::Delivery { .. }
                | Mutation::Forget { .. } => 150,
            };
            if bytes + size > BATCH_BYTES && !batch.is_empty() {
                writes.push(Write::Cells(std::mem::take(&mut batch)));
                bytes = 0;
            }
            bytes += size;
            batch.push((ts, mutation));
        }
        writes.push(Write::Cells(batch));
    }
    writes
}

impl CqlStore {
    /// An (account, resource)'s head and its ranges' rows.
    async fn outline_of(&self, account: &AccountId, resource: Resource) -> Result<Vec<Cell>, StoreError> {
        type Row = (Option<i32>, Option<i32>, Option<Vec<u8>>, Option<i64>, Option<Vec<u8>>, Option<i64>);
        let partition = (account.as_str(), resource.name());
        let (mut head, mut cells) = (None, Vec::new());
        let mut page = PagingState::start();
        loop {
            let (answer, next) = retried("reading ranges", || {
                self.session.execute_single_page(&self.state.ranges, partition, page.clone())
            })
            .await?;
            let rows = answer.into_rows_result().context("rows");
            let rows = rows.map_err(StoreError::broken("reading ranges"))?;
            let typed =
                rows.rows::<Row>().context("columns").map_err(StoreError::broken("reading ranges"))?;
            for row in typed {
                let (bits, range, v, ts, the_head, head_ts) =
                    row.context("a row").map_err(StoreError::broken("reading ranges"))?;
                if let (Some(v), Some(ts), None) = (the_head, head_ts, &head) {
                    let key = CellKey::Head(account.clone(), resource);
                    let value = Some(value(&key, &v)?);
                    head = Some(Cell { key, ts, value });
                }
                if let (Some(bits), Some(range), Some(v), Some(ts)) = (bits.and_then(to_bits), range, v, ts) {
                    let range = range as u32;
                    let key = CellKey::Range(Bucket { account: account.clone(), resource, bits, range });
                    let value = Some(value(&key, &v)?);
                    cells.push(Cell { key, ts, value });
                }
            }
            match next {
                PagingStateResponse::HasMorePages { state } => page = state,
                PagingStateResponse::NoMorePages => break,
            }
        }
        cells.extend(head);
        Ok(cells)
    }

    async fn answer(&self, want: Want) -> Result<Vec<Cell>, StoreError> {
        match want {
            Want::Cell(key) => Ok(self.cell(key).await?.into_iter().collect()),
            Want::Slice(bucket) => {
                let mut cells = self.slice(&bucket).await?;
                cells.extend(self.cell(CellKey::Range(bucket)).await?);
                Ok(cells)
            }
        }
    }

    async fn cell(&self, key: CellKey) -> Result<Option<Cell>, StoreError> {
        let (statement, values) = match &key {
            CellKey::Record(bucket, record) => {
                let mut values = bucket_values(bucket);
                values.push(CqlValue::Blob(record.0.to_vec()));
                (&self.state.record, values)
            }
            CellKey::Range(bucket) => (&self.state.range, bucket_values(bucket)),
            CellKey::Head(account, resource) => (&self.state.head, vec![text(account), text(resource)]),
            CellKey::Delivery { account, delivery } => {
                (&self.state.delivery, vec![text(account), text(delivery.as_str())])
            }
            CellKey::Forgotten(account) => (&self.state.forgotten, vec![text(account)]),
        };
        let answer =
            retried("reading a cell", || self.session.execute_unpaged(statement, values.as_slice())).await?;
        let row = answer
            .into_rows_result()
            .context("rows")
            .and_then(|rows| Ok(rows.maybe_first_row::<(Option<Vec<u8>>, Option<i64>)>()?))
            .map_err(StoreError::broken("reading a cell"))?;
        let Some((Some(v), Some(ts))) = row else { return Ok(None) };
        let value = Some(value(&key, &v)?);
        Ok(Some(Cell { key, ts, value }))
    }

    async fn slice(&self, bucket: &Bucket) -> Result<Vec<Cell>, StoreError> {
        let values = bucket_values(bucket);
        let mut cells = Vec::new();
        let mut page = PagingState::start();
        loop {
            let (answer, next) = retried("reading a slice", || {
                self.session.execute_single_page(&self.state.slice, values.as_slice(), page.clone())
            })
            .await?;
            let rows =
                answer.into_rows_result().context("rows").map_err(StoreError::broken("reading a slice"))?;
            let typed = rows
                .rows::<(Vec<u8>, Option<Vec<u8>>, Option<i64>)>()
                .context("columns")
                .map_err(StoreError::broken("reading a slice"))?;
            for row in typed {
                let (key, v, ts) = row.context("a row").map_err(StoreError::broken("reading a slice"))?;
                let (Some(v), Some(ts), Ok(key)) = (v, ts, <[u8; 16]>::try_from(key.as_slice())) else {
                    continue;
                };
                let key = CellKey::Record(bucket.clone(), RecordKey(key));
                let value = Some(value(&key, &v)?);
                cells.push(Cell { key, ts, value });
            }
            match next {
                PagingStateResponse::HasMorePages { state } => page = state,
                PagingStateResponse::NoMorePages => return Ok(cells),
            }
        }
    }

    async fn write(&self, write: Write) -> Result<(), StoreError> {
        match write {
            Write::Cells(cells) => {
                let mut batch = Batch::new(BatchType::Unlogged);
                batch.set_is_idempotent(true);
                let mut values = Vec::new();
                for (ts, mutation) in &cells {
                    let Some((statement, bound)) = self.bound(*ts, mutation) else { continue };
                    batch.append_statement(statement.clone());
                    values.push(bound);
                }
                if values.is_empty() {
                    return Ok(());
                }
                retried("writing state", || self.session.batch(&batch, &values)).await?;
                Ok(())
            }
            Write::Forget(ts, account, cuts) => self.forget(ts, &account, &cuts).await,
        }
    }

    fn bound(&self, ts: i64, mutation: &Mutation) -> Option<(&PreparedStatement, Vec<CqlValue>)> {
        let ts = CqlValue::BigInt(ts);
        Some(match mutation {
            Mutation::Record { bucket, key, known } => {
                let mut values = bucket_values(bucket);
                values.push(CqlValue::Blob(key.0.to_vec()));
                match known {
                    Some(known) => {
                        values.extend([CqlValue::Blob(codec::encode(known)), ts]);
                        let put = match known.state {
                            State::Gone => &self.state.put_gone,
                            State::Live(_) | State::Missing { .. } | State::Touched => &self.state.put_record,
                        };
                        (put, values)
                    }
                    None => {
                        values.insert(0, ts);
                        (&self.state.drop_record, values)
                    }
                }
            }
            Mutation::Range { bucket, row } => {
                let mut values = bucket_values(bucket);
                match row {
                    Some(row) => {
                        values.extend([CqlValue::Blob(codec::encode(row)), ts]);
                        (&self.state.put_range, values)
                    }
                    None => {
                        values.insert(0, ts);
                        (&self.state.drop_range, values)
                    }
                }
            }
            Mutation::Head { account, resource, head } => {
                let values = vec![text(account), text(resource), CqlValue::Blob(codec::encode(head)), ts];
                (&self.state.put_head, values)
            }
            Mutation::Delivery { account, delivery } => {
                let values = vec![text(account), text(delivery.as_str()), CqlValue::Blob(vec![1]), ts];
                (&self.state.put_delivery, values)
            }
            Mutation::Forget { .. } => return None,
        })
    }

    /// Deletes every partition of the account at `ts`, and leaves the mark. The mark comes first, so that a broken-off
    /// forgetting is seen as forgotten and repeated from the WAL. What is written before `ts`, also if it comes later, is
    /// below the deletions.
    async fn forget(&self, ts: i64, account: &AccountId, cuts: &[Cut]) -> Result<(), StoreError> {
        let mark = (account.as_str(), vec![1u8], ts);
        retried("forgetting an account", || self.session.execute_unpaged(&self.state.put_forgotten, &mark))
            .await?;
        for Cut { resource, bits } in cuts {
            let buckets = (0..bits.ranges()).map(|range| Bucket {
                account: account.clone(),
                resource: *resource,
                bits: *bits,
                range,
            });
            let deletions: Vec<_> = buckets.map(|bucket| self.forget_records(ts, bucket)).collect();
            stream::iter(deletions).buffer_unordered(CONCURRENCY).try_collect::<Vec<()>>().await?;
            let values = (ts, account.as_str(), resource.name());
            retried("forgetting an account", || {
                self.session.execute_unpaged(&self.state.forget_ranges, values)
            })
            .await?;
        }
        Ok(())
    }

    async fn forget_records(&self, ts: i64, bucket: Bucket) -> Result<(), StoreError> {
        let mut values = bucket_values(&bucket);
        values.insert(0, CqlValue::BigInt(ts));
        let forget = || self.session.execute_unpaged(&self.state.forget_records, values.as_slice());
        retried("forgetting an account", forget).await.map(drop)
    }
}

fn bucket_values(bucket: &Bucket) -> Vec<CqlValue> {
    vec![
        text(&bucket.account),
        text(bucket.resource),
        CqlValue::Int(i32::from(bucket.bits.get())),
        CqlValue::Int(bucket.range as i32),
    ]
}

fn text(value: impl std::fmt::Display) -> CqlValue {
    CqlValue::Text(value.to_string())
}

fn to_bits(bits: i32) -> Option<Bits> {
    Bits::new(u8::try_from(bits).ok()?)
}

fn value(key: &CellKey, bytes: &[u8]) -> Result<CellValue, StoreError> {
    CellValue::read(key, bytes).context("a cell").map_err(StoreError::broken("reading state"))
}
