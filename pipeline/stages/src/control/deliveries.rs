//! What became of a webhook's deliveries, and whether there are any. A delivery can be read after its webhook is gone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tributary_schemas::{
    entity::{Webhook, WebhookStatus},
    time::Timestamp,
};

use super::{
    api::Listed,
    bounds::{Cursor, PageSize},
    route::{Call, Id, Ids, Route, Shown, get, post},
    webhooks::{WebhookShown, find, shown},
};
use crate::{clock::now, http_error::HttpError, store::AttemptRow};

pub(super) fn routes() -> Vec<Route> {
    vec![
        post("/webhooks/{id}/enable", "Delivers events from now on", enable),
        post("/webhooks/{id}/disable", "Delivers nothing any more", disable),
        get(
            "/webhooks/{id}/attempts",
            "Lists a webhook's attempts of the last 7 days, the latest first",
            attempts,
        ),
        get("/webhooks/{id}/deliveries/{delivery}", "Shows a delivery's attempts", delivery_of),
        get("/deliveries/{id}", "Shows a delivery's attempts", delivery),
    ]
}

async fn enable(call: Call<Id>) -> Result<Shown<WebhookShown>, HttpError> {
    let enabled_at = call.app.skew.broker_now();
    let apply = |webhook: &mut Webhook| {
        if webhook.status != WebhookStatus::Enabled {
            webhook.status = WebhookStatus::Enabled;
            webhook.enabled_at = enabled_at;
        }
        Ok::<_, HttpError>(())
    };
    Ok(Shown(shown(call.writer().update(&call.caller.project, &call.path.0, apply).await?)))
}

async fn disable(call: Call<Id>) -> Result<Shown<WebhookShown>, HttpError> {
    let apply = |webhook: &mut Webhook| {
        if webhook.status == WebhookStatus::Enabled {
            webhook.status = WebhookStatus::Disabled { reason: "by request".into() };
        }
        Ok::<_, HttpError>(())
    };
    Ok(Shown(shown(call.writer().update(&call.caller.project, &call.path.0, apply).await?)))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Paging {
    page_size: Option<PageSize>,
    next: Option<Cursor>,
}

async fn attempts(call: Call<Id, Paging>) -> Result<Shown<Listed<Value>>, HttpError> {
    let webhook = find(&call.app, &call.caller.project, &call.path.0).await?;
    let size = call.query.page_size.map_or(25, |size| size.get() as usize);
    let latest = now().plus(std::time::Duration::from_secs(3_600));
    let before = match &call.query.next {
        // No later than the clock, and no earlier than time: a day is looked at after the other.
        Some(next) => match next.as_str().parse::<i64>() {
            Ok(micros) if (0..=latest.as_micros()).contains(&micros) => Timestamp::from_micros(micros),
            _ => return Err(HttpError::unprocessable("next: expected the cursor of a page before")),
        },
        None => latest,
    };
    let rows = call.app.stores.control.attempts(&webhook.id, before, size).await?;
    let next = (rows.len() == size).then(|| rows.last().map(|row| row.at.as_micros().to_string())).flatten();
    Ok(Shown(Listed { data: documents(rows)?, next }))
}

/// A delivery, by its attempts.
#[derive(Serialize, JsonSchema)]
struct DeliveryShown {
    id: String,
    /// The first first.
    attempts: Vec<Value>,
}

async fn delivery_of(call: Call<Ids>) -> Result<Shown<DeliveryShown>, HttpError> {
    let Ids(id, delivery) = &call.path;
    let webhook = find(&call.app, &call.caller.project, id).await?;
    delivery_shown(call.app.stores.control.attempts_of(&webhook.id, delivery).await?, delivery)
}

async fn delivery(call: Call<Id>) -> Result<Shown<DeliveryShown>, HttpError> {
    let Id(delivery) = &call.path;
    let Some(webhook) = call.app.stores.api.webhook_of(&call.caller.project, delivery).await? else {
        return delivery_shown(Vec::new(), delivery);
    };
    delivery_shown(call.app.stores.control.attempts_of(&webhook, delivery).await?, delivery)
}

fn delivery_shown(rows: Vec<AttemptRow>, delivery: &str) -> Result<Shown<DeliveryShown>, HttpError> {
    match documents(rows)? {
        attempts if attempts.is_empty() => {
            Err(HttpError::not_found("no attempt of such a delivery in the last 7 days"))
        }
        attempts => Ok(Shown(DeliveryShown { id: delivery.to_owned(), attempts })),
    }
}

fn documents(rows: Vec<AttemptRow>) -> Result<Vec<Value>, HttpError> {
    let parsed: Result<_, _> = rows.into_iter().map(|row| serde_json::from_slice(&row.doc)).collect();
    Ok(parsed.map_err(anyhow::Error::from)?)
}
