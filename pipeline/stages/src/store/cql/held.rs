//! Parked deliveries in CQL: every write at its own timestamp, so that a note that arrives late never outlives its delivery.

use anyhow::Context;
use scylla::{client::session::Session, statement::prepared::PreparedStatement, value::CqlValue};
use tributary_schemas::{delivery::Line, id::Sequence, time::Timestamp};

use super::{
    super::{Held, StoreError},
    CqlStore,
    control::text,
    prepare,
};

pub(super) struct Statements {
    hold: PreparedStatement,
    let_go: PreparedStatement,
    held: PreparedStatement,
}

impl Statements {
    pub(super) async fn prepare(session: &Session) -> anyhow::Result<Self> {
        const LINE: &str = "webhook = ? AND account = ? AND resource = ? AND record_key = ?";
        let prepare = async |text: &str| prepare(session, text).await;
        Ok(Self {
            hold: prepare(
                "INSERT INTO held_deliveries (webhook, account, resource, record_key, sequence, due) \
                 VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            let_go: prepare(&format!(
                "DELETE FROM held_deliveries USING TIMESTAMP ? WHERE {LINE} AND sequence = ?"
            ))
            .await?,
            held: prepare(&format!(
                "SELECT sequence, due FROM held_deliveries WHERE {LINE} AND sequence <= ? LIMIT ?"
            ))
            .await?,
        })
    }
}

impl CqlStore {
    pub(super) async fn hold_delivery(
        &self,
        line: &Line,
        held: Held,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut values = line_values(line);
        values.extend([held.sequence.0, held.due.as_micros(), at.as_micros()].map(CqlValue::BigInt));
        self.run("holding a delivery", &self.held.hold, values).await
    }

    pub(super) async fn let_delivery_go(
        &self,
        line: &Line,
        sequence: Sequence,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut values = vec![CqlValue::BigInt(at.as_micros())];
        values.extend(line_values(line));
        values.push(CqlValue::BigInt(sequence.0));
        self.run("letting a delivery go", &self.held.let_go, values).await
    }

    pub(super) async fn held_deliveries(
        &self,
        line: &Line,
        until: Sequence,
        limit: usize,
    ) -> Result<Vec<Held>, StoreError> {
        const DOING: &str = "reading held deliveries";
        let mut values = line_values(line);
        values.push(CqlValue::BigInt(until.0));
        values.push(CqlValue::Int(i32::try_from(limit).unwrap_or(i32::MAX)));
        let rows = self.rows(DOING, &self.held.held, values).await?;
        let typed = rows.rows::<(i64, i64)>().context("columns").map_err(StoreError::broken(DOING))?;
        typed
            .map(|row| {
                let (sequence, due) = row.context("a row").map_err(StoreError::broken(DOING))?;
                Ok(Held { sequence: Sequence(sequence), due: Timestamp::from_micros(due) })
            })
            .collect()
    }
}

fn line_values(line: &Line) -> Vec<CqlValue> {
    let record = CqlValue::Blob(line.record.0.to_vec());
    vec![text(&line.webhook), text(&line.account), text(line.resource), record]
}
