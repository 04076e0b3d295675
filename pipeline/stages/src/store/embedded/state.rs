//! unify's cells in the embedded store.

use anyhow::Context;
use async_trait::async_trait;
use tributary_core::cells::{Cell, CellKey, CellValue, Want, written};
use tributary_schemas::{
    codec,
    id::{AccountId, Bits, RecordKey},
    resource::Resource,
    state::Bucket,
    wal::Mutation,
};

use super::{
    super::{Ranges, StateStore, StoreError},
    EmbeddedStore, away, key,
};

#[async_trait]
impl StateStore for EmbeddedStore {
    async fn read(&self, wants: &[Want]) -> Result<Vec<Cell>, StoreError> {
        let mut cells = Vec::new();
        for want in wants {
            match want {
                Want::Cell(key) => cells.extend(self.cell(key)?),
                Want::Slice(bucket) => {
                    cells.extend(self.cell(&CellKey::Range(bucket.clone()))?);
                    cells.extend(self.slice(bucket)?);
                }
            }
        }
        Ok(cells)
    }

    async fn apply(&self, mutations: &[(i64, Mutation)]) -> Result<(), StoreError> {
        let _writing = self.writing();
        for (ts, mutation) in mutations {
            let cell = written(*ts, mutation);
            let at = place(&cell.key);
            let held = self.cells.get(&at).map_err(away)?;
            if held.is_some_and(|held| stamp(&held).is_some_and(|held| held > *ts)) {
                continue;
            }
            let mut value = ts.to_be_bytes().to_vec();
            match &cell.value {
                None => {}
                Some(CellValue::Mark) => value.push(1),
                Some(CellValue::Record(known)) => value.extend(codec::encode(known)),
                Some(CellValue::Range(row)) => value.extend(codec::encode(row)),
                Some(CellValue::Head(head)) => value.extend(codec::encode(head)),
                Some(CellValue::Unreadable) => unreachable!("no mutation writes it"),
            }
            self.cells.insert(at, value).map_err(away)?;
        }
        Ok(())
    }

    async fn outline(&self, account: &AccountId) -> Result<Vec<Cell>, StoreError> {
        let mut cells = Vec::new();
        for resource in Resource::ALL {
            cells.extend(self.outline_of(account, resource)?);
        }
        Ok(cells)
    }

    async fn ranges(&self, account: &AccountId, resource: Resource) -> Result<Ranges, StoreError> {
        let mut found = Ranges::default();
        for cell in self.outline_of(account, resource)? {
            match (cell.key, cell.value) {
                (_, Some(CellValue::Head(head))) => found.head = Some(head),
                (CellKey::Range(bucket), Some(CellValue::Range(row))) => {
                    found.rows.push((bucket.bits, bucket.range, row));
                }
                (_, None) => {}
                _ => {
                    let unreadable = anyhow::anyhow!("a cell: `tributary unify repair {account}`");
                    return Err(StoreError::broken("reading ranges")(unreadable));
                }
            }
        }
        Ok(found)
    }
}

impl EmbeddedStore {
    /// An (account, resource)'s head and its ranges' rows.
    fn outline_of(&self, account: &AccountId, resource: Resource) -> Result<Vec<Cell>, StoreError> {
        let mut cells = Vec::from_iter(self.cell(&CellKey::Head(account.clone(), resource))?);
        let prefix = key(&[b"range", account.as_str().as_bytes(), resource.name().as_bytes(), b""]);
        for entry in self.cells.prefix(prefix) {
            let (at, value) = entry.into_inner().map_err(away)?;
            let Some([bits, a, b, c, d]) = at.last_chunk::<5>() else { continue };
            let Some(bits) = Bits::new(*bits) else { continue };
            let range = u32::from_be_bytes([*a, *b, *c, *d]);
            let bucket = Bucket { account: account.clone(), resource, bits, range };
            cells.extend(self.visible(CellKey::Range(bucket), &value)?);
        }
        Ok(cells)
    }

    fn cell(&self, key: &CellKey) -> Result<Option<Cell>, StoreError> {
        match self.cells.get(place(key)).map_err(away)? {
            Some(value) => self.visible(key.clone(), &value),
            None => Ok(None),
        }
    }

    fn slice(&self, bucket: &Bucket) -> Result<Vec<Cell>, StoreError> {
        let mut cells = Vec::new();
        for entry in self.cells.prefix(bucket_place(b"record", bucket)) {
            let (at, value) = entry.into_inner().map_err(away)?;
            let Some(record) = at.last_chunk::<16>() else { continue };
            cells.extend(self.visible(CellKey::Record(bucket.clone(), RecordKey(*record)), &value)?);
        }
        Ok(cells)
    }

    /// The cell, unless its account was forgotten after it was written.
    fn visible(&self, key: CellKey, bytes: &[u8]) -> Result<Option<Cell>, StoreError> {
        let cell = decode(key, bytes).map_err(StoreError::broken("reading a cell"))?;
        if matches!(cell.key, CellKey::Forgotten(_)) {
            return Ok(Some(cell));
        }
        let forgotten = place(&CellKey::Forgotten(cell.key.account().clone()));
        let since = self.cells.get(forgotten).map_err(away)?.and_then(|value| stamp(&value));
        Ok(since.is_none_or(|since| since < cell.ts).then_some(cell))
    }
}

fn decode(key: CellKey, bytes: &[u8]) -> anyhow::Result<Cell> {
    let (ts, value) = bytes.split_first_chunk::<8>().context("a cell without a timestamp")?;
    let value = (!value.is_empty()).then(|| CellValue::read(&key, value)).transpose()?;
    Ok(Cell { key, ts: i64::from_be_bytes(*ts), value })
}

fn stamp(value: &[u8]) -> Option<i64> {
    value.first_chunk::<8>().map(|ts| i64::from_be_bytes(*ts))
}

fn place(cell: &CellKey) -> Vec<u8> {
    match cell {
        CellKey::Record(bucket, record) => {
            let mut place = bucket_place(b"record", bucket);
            place.extend(record.0);
            place
        }
        CellKey::Range(bucket) => bucket_place(b"range", bucket),
        CellKey::Head(account, resource) => {
            key(&[b"head", account.as_str().as_bytes(), resource.name().as_bytes()])
        }
        CellKey::Delivery { account, delivery } => {
            key(&[b"delivery", account.as_str().as_bytes(), delivery.as_str().as_bytes()])
        }
        CellKey::Forgotten(account) => key(&[b"forgotten", account.as_str().as_bytes()]),
    }
}

fn bucket_place(table: &[u8], bucket: &Bucket) -> Vec<u8> {
    let mut place = key(&[table, bucket.account.as_str().as_bytes(), bucket.resource.name().as_bytes(), b""]);
    place.push(bucket.bits.get());
    place.extend(bucket.range.to_be_bytes());
    place
}
