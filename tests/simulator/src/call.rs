//! A request as a handler sees it, and what handlers share: parameters, rows, pages, cursors.

use crate::{
    clock,
    fault::FaultKind,
    provider::{Provider, Route, Trouble},
    reply::Reply,
    world::{App, Record, Tenant, shape},
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What a request was.
pub(crate) struct Request {
    pub(crate) method: String,
    /// Behind the tenant, as it came: percent-encoded.
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// `http://<host>/<provider>/<tenant>`
    pub(crate) base: String,
}

/// A request at a route of a tenant.
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request,
    pub(crate) holes: Vec<(&'static str, String)>,
    pub(crate) provider: &'a Provider,
    pub(crate) route: &'a Route,
    pub(crate) tenant: &'a mut Tenant,
    pub(crate) app: &'a mut App,
    /// The faults that bite this request.
    pub(crate) faults: Vec<FaultKind>,
}

/// A live record in a listing.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// What the listing is in order of.
    pub(crate) key: (i64, u64),
    pub(crate) resource: &'static str,
    pub(crate) id: String,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    /// The body in the provider's shape.
    pub(crate) body: Value,
}

/// A page of a listing.
pub(crate) struct Page<N> {
    pub(crate) rows: Vec<Row>,
    pub(crate) total: i64,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<N>,
}

impl<N> Page<N> {
    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.rows.iter().map(|row| row.body.clone()).collect()
    }
}

/// What a record came to since a position in the log.
pub(crate) struct Latest {
    pub(crate) id: String,
    /// As it is, unless it is gone.
    pub(crate) row: Option<Row>,
    pub(crate) change: crate::world::Change,
    /// It was not there before.
    pub(crate) fresh: bool,
}

pub(crate) fn decoded(segment: &str) -> String {
    url::form_urlencoded::parse(format!("v={}", segment.replace('+', "%2B")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The fields of a JSON or form body; a JSON body that is no object has none.
    pub(crate) fn fields(&self) -> Map<String, Value> {
        if self.header("content-type").is_some_and(|t| t.starts_with("application/x-www-form-urlencoded")) {
            let pairs = url::form_urlencoded::parse(&self.body);
            return pairs.map(|(name, value)| (name.into_owned(), Value::from(value.into_owned()))).collect();
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        }
    }
}

impl Call<'_> {
    pub(crate) fn hole(&self, name: &str) -> &str {
        self.holes.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.request.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.request.header(name)
    }

    pub(crate) fn fields(&self) -> Map<String, Value> {
        self.request.fields()
    }

    /// A field of the body as text.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        self.fields().get(name).filter(|value| !value.is_null()).map(crate::world::text)
    }

    pub(crate) fn now(&self) -> i64 {
        self.tenant.clock.now()
    }

    pub(crate) fn refuse(&self, trouble: Trouble, words: &str) -> Reply {
        (self.provider.refuse)(trouble, words)
    }

    pub(crate) fn bad(&self, words: &str) -> Reply {
        self.refuse(Trouble::BadRequest, words)
    }

    pub(crate) fn missing(&self) -> Reply {
        self.refuse(Trouble::NotFound, "not found")
    }

    /// A number between 1 (or 0) and `most`; more than that is refused, as a connector that asks for it hasn't read.
    pub(crate) fn number(
        &self,
        name: &str,
        default: usize,
        least: usize,
        most: usize,
    ) -> Result<usize, Reply> {
        self.bounded(self.query(name).map(str::to_owned), name, default, least, most)
    }

    pub(crate) fn bounded(
        &self,
        given: Option<String>,
        name: &str,
        default: usize,
        least: usize,
        most: usize,
    ) -> Result<usize, Reply> {
        let Some(given) = given else { return Ok(default) };
        match given.parse() {
            Ok(n) if (least..=most).contains(&n) => Ok(n),
            _ => Err(self.bad(&format!("{name} must be between {least} and {most}"))),
        }
    }

    /// A time in RFC 3339 in a query parameter.
    pub(crate) fn time(&self, name: &str) -> Result<Option<i64>, Reply> {
        self.query(name)
            .map(|text| clock::instant(text).ok_or_else(|| self.bad(&format!("{name} is not a time"))))
            .transpose()
    }

    /// A time as a number of units of so many milliseconds.
    pub(crate) fn epoch(&self, name: &str, unit: i64) -> Result<Option<i64>, Reply> {
        self.query(name)
            .map(|text| {
                text.parse::<i64>()
                    .map(|n| n * unit)
                    .map_err(|_| self.bad(&format!("{name} is not a number")))
            })
            .transpose()
    }

    pub(crate) fn bites(&self, kind: &FaultKind) -> bool {
        self.faults.contains(kind)
    }

    fn row(&self, record: &Record, resource: &'static str) -> Option<Row> {
        let kind = self.provider.kind(resource)?;
        Some(Row {
            key: (0, record.number),
            resource,
            id: record.id.clone(),
            created: record.created,
            updated: record.updated,
            body: shape(kind, record),
        })
    }

    /// The live records, oldest first, as the faults leave them. Every listing begins here.
    pub(crate) fn rows(&mut self, resource: &'static str) -> Vec<Row> {
        if self.bites(&FaultKind::SkipWhileDeleting) {
            let first = self.tenant.tables.get(resource).into_iter().flat_map(BTreeMap::values);
            if let Some(id) = first.filter(|r| r.deleted.is_none()).map(|r| r.id.clone()).next() {
                self.tenant.delete(self.provider, resource, &id);
            }
        }
        if self.bites(&FaultKind::Empty) {
            return Vec::new();
        }
        let mut rows = self.all(resource, false);
        if self.bites(&FaultKind::Order) {
            rows.reverse();
        }
        rows
    }

    /// The deleted ones (`true`), whose `updated` is when they were deleted, or the live ones.
    pub(crate) fn all(&self, resource: &'static str, deleted: bool) -> Vec<Row> {
        let records = self.tenant.tables.get(resource).into_iter().flat_map(BTreeMap::values);
        records.filter(|r| r.deleted.is_some() == deleted).filter_map(|r| self.row(r, resource)).collect()
    }

    /// A live record.
    pub(crate) fn one(&self, resource: &'static str, id: &str) -> Option<Row> {
        let record = self.tenant.find(resource, id).filter(|r| r.deleted.is_none())?;
        self.row(record, resource)
    }

    /// Live records of several kinds, as one listing.
    pub(crate) fn rows_of(&mut self, resources: &[&'static str]) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for resource in resources {
            rows.extend(self.rows(resource));
        }
        rows.sort_by_key(|row| row.key);
        if self.bites(&FaultKind::Order) {
            rows.reverse();
        }
        rows
    }

    /// A stretch of the log, page by page: `None` for a token that isn't known. The last page has the log's end instead of a next.
    pub(crate) fn stretch(
        &mut self,
        resources: &[&'static str],
        token: &str,
        size: usize,
    ) -> Option<(Vec<Latest>, Result<String, usize>)> {
        let state = self.recall(token)?;
        let place =
            |name: &str| state.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let from = place("log")?;
        let (to, offset) = (place("to").unwrap_or(self.end()), place("offset").unwrap_or(0));
        let most =
            self.tenant.settings.get("page").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let size = size.min(most.unwrap_or(size)).max(1);
        let mut changes = self.changed(resources, from, to);
        let all = changes.len();
        let shown = changes.drain(offset.min(all)..(offset + size).min(all)).collect();
        let next = if self.bites(&FaultKind::RepeatCursor) {
            Some(offset)
        } else {
            (offset + size < all).then_some(offset + size)
        };
        let next =
            next.map(|offset| self.remember(&serde_json::json!({"log": from, "to": to, "offset": offset})));
        Some((shown, next.ok_or(to)))
    }

    /// `GET …/{id}`: the record as it stands.
    pub(crate) fn get(&self, resource: &'static str) -> Result<Value, Reply> {
        self.one(resource, self.hole("id")).map(|row| row.body).ok_or_else(|| self.missing())
    }

    /// So many rows from an offset. The next page begins behind them, or, with the fault, where this one did.
    pub(crate) fn window(&self, rows: &[Row], from: usize, size: usize) -> Page<usize> {
        let shown: Vec<Row> = rows.iter().skip(from).take(size).cloned().collect();
        let next = if self.bites(&FaultKind::RepeatCursor) {
            Some(from)
        } else {
            (from + size < rows.len()).then_some(from + size)
        };
        Page { rows: shown, total: self.total(rows.len()), next }
    }

    /// So many rows behind the one that the cursor names: records that come and go before it move nothing.
    /// `carry` is kept with the cursor.
    pub(crate) fn behind(
        &mut self,
        rows: &[Row],
        after: Option<(i64, u64)>,
        size: usize,
        carry: &Value,
    ) -> Page<String> {
        // A provider that gives cursors may give shorter pages than asked for.
        let most =
            self.tenant.settings.get("page").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let size = size.min(most.unwrap_or(size)).max(1);
        let down = rows.first().zip(rows.last()).is_some_and(|(first, last)| first.key > last.key);
        let passed = |row: &Row| after.is_some_and(|key| if down { row.key >= key } else { row.key <= key });
        let rest: Vec<&Row> = rows.iter().filter(|row| !passed(row)).collect();
        let shown: Vec<Row> = rest.iter().take(size).map(|row| (*row).clone()).collect();
        let place = if self.bites(&FaultKind::RepeatCursor) {
            Some(after)
        } else {
            shown.last().filter(|_| rest.len() > size).map(|row| Some(row.key))
        };
        let next = place.map(|after| self.remember(&serde_json::json!({"after": after, "carry": carry})));
        Page { rows: shown, total: self.total(rows.len()), next }
    }

    /// A listing by cursor: what `begin` carries on the first page comes back on the others.
    pub(crate) fn cursor(
        &mut self,
        token: Option<&str>,
        begin: Value,
    ) -> Option<(Option<(i64, u64)>, Value)> {
        let Some(token) = token else { return Some((None, begin)) };
        let state = self.recall(token)?;
        let after = serde_json::from_value(state.get("after")?.clone()).ok()?;
        Some((after, state.get("carry")?.clone()))
    }

    fn total(&self, true_total: usize) -> i64 {
        let lie = self.faults.iter().find_map(|fault| match fault {
            FaultKind::Total { by } => Some(*by),
            _ => None,
        });
        i64::try_from(true_total).unwrap_or(i64::MAX) + lie.unwrap_or(0)
    }

    /// Gives out a position. The same position is the same token.
    pub(crate) fn remember(&mut self, state: &Value) -> String {
        let token = crate::sign::digest(&format!("{}/{}/{state}", self.provider.name, self.tenant.name))
            [..40]
            .to_owned();
        self.tenant.cursors.insert(token.clone(), state.clone());
        token
    }

    pub(crate) fn recall(&self, token: &str) -> Option<Value> {
        self.tenant.cursors.get(token).cloned()
    }

    /// Where the log ends now.
    pub(crate) fn end(&self) -> usize {
        self.tenant.log.len()
    }

    /// What the records of these kinds came to in a stretch of the log, in order of their last change.
    pub(crate) fn changed(&mut self, resources: &[&'static str], from: usize, to: usize) -> Vec<Latest> {
        if self.bites(&FaultKind::Empty) {
            return Vec::new();
        }
        let mut latest: BTreeMap<(&str, u64), (usize, bool)> = BTreeMap::new();
        for (position, change) in self.tenant.log.iter().enumerate().take(to).skip(from) {
            if resources.contains(&change.resource) {
                let fresh = change.action == crate::world::Action::Created;
                let entry = latest.entry((change.resource, change.number)).or_insert((position, fresh));
                entry.0 = position;
            }
        }
        let mut places: Vec<(usize, bool)> = latest.into_values().collect();
        places.sort_unstable();
        let of = |(position, fresh): (usize, bool)| {
            let change = self.tenant.log[position].clone();
            let row = self.one(change.resource, &change.id);
            Latest { id: change.id.clone(), row, change, fresh }
        };
        places.into_iter().map(of).collect()
    }

    /// `<base><path>?<pairs>`, encoded.
    pub(crate) fn url(&self, path: &str, pairs: &[(&str, String)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs);
        let query = query.finish();
        format!("{}{path}{}{query}", self.request.base, if query.is_empty() { "" } else { "?" })
    }

    /// This request's URL with other values for some parameters.
    pub(crate) fn again(&self, changed: &[(&str, String)]) -> String {
        let kept =
            self.request.query.iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name));
        let pairs: Vec<(&str, String)> = kept
            .map(|(name, value)| (name.as_str(), value.clone()))
            .chain(changed.iter().map(|(name, value)| (*name, value.clone())))
            .collect();
        self.url(&self.request.path, &pairs)
    }
}

/// In order of the last change.
pub(crate) fn by_updated(mut rows: Vec<Row>) -> Vec<Row> {
    for row in &mut rows {
        row.key = (row.updated, row.key.1);
    }
    rows.sort_by_key(|row| row.key);
    rows
}

/// Those that changed at or after a time.
pub(crate) fn since(mut rows: Vec<Row>, from: Option<i64>) -> Vec<Row> {
    rows.retain(|row| from.is_none_or(|from| row.updated >= from));
    rows
}

/// Those that changed at or before a time.
pub(crate) fn until(mut rows: Vec<Row>, to: Option<i64>) -> Vec<Row> {
    rows.retain(|row| to.is_none_or(|to| row.updated <= to));
    rows
}

/// The newest first.
pub(crate) fn newest_first(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| std::cmp::Reverse(row.key));
    rows
}

/// Those whose field has a value.
pub(crate) fn with(mut rows: Vec<Row>, field: &str, value: Option<&str>) -> Vec<Row> {
    if let Some(value) = value {
        rows.retain(|row| {
            crate::world::at(&row.body, field).map(crate::world::text).as_deref() == Some(value)
        });
    }
    rows
}
