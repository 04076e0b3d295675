//! The URL that a provider calls for an account, and the secret it signs with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tributary_connectors::Connector;
use tributary_schemas::{
    entity::{Account, Sealed},
    id::AccountId,
};

use super::{
    accounts::find,
    api::App,
    bounds::Text,
    route::{Call, Given, Id, Route, Shown, get, post, put},
};
use crate::{
    http_error::HttpError,
    secret::{Field, Secret},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/accounts/{id}/native-webhook", "Shows what to register at the provider by hand", show),
        put("/accounts/{id}/native-webhook", "Takes the secret that the provider issued", bring)
            .example(json!({ "secret": "issued-by-the-provider" })),
        post(
            "/accounts/{id}/native-webhook/rotate",
            "Makes a new secret; the one before verifies too",
            rotate,
        ),
    ]
}

/// What to register at the provider by hand.
#[derive(Serialize, JsonSchema)]
struct NativeShown {
    url: String,
    secret: String,
    instructions: Vec<String>,
}

async fn show(call: Call<Id>) -> Result<Shown<NativeShown>, HttpError> {
    let account = find(&call.app, &call.caller.project, &call.path.0).await?;
    shown(&call.app, &account)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Brought {
    secret: Text<1, 1_024>,
}

/// The one that is held stays sealed as it is: the same again is no change.
async fn bring(call: Call<Id, (), Given<Brought>>) -> Result<Shown<NativeShown>, HttpError> {
    let app = &call.app;
    let secret = call.body.0.secret.as_str();
    let apply = |account: &mut Account| {
        listens(app, account)?;
        if let [held] = account.native.secrets.as_slice()
            && app.keys.open(&Field::NativeSecret.of(&account.id), held)?.expose() == secret.as_bytes()
        {
            return Ok(());
        }
        account.native.secrets = vec![sealed(app, &account.id, secret)?];
        Ok::<_, HttpError>(())
    };
    let account = call.writer().update(&call.caller.project, &call.path.0, apply).await?;
    shown(app, &account)
}

/// A new secret beside the last one: requests signed with either are believed until the next rotation.
async fn rotate(call: Call<Id>) -> Result<Shown<NativeShown>, HttpError> {
    let app = &call.app;
    let secret = hex::encode(Secret::random(24).expose());
    let apply = |account: &mut Account| {
        listens(app, account)?;
        account.native.secrets.insert(0, sealed(app, &account.id, &secret)?);
        account.native.secrets.truncate(2);
        Ok::<_, HttpError>(())
    };
    let account = call.writer().update(&call.caller.project, &call.path.0, apply).await?;
    shown(app, &account)
}

fn sealed(app: &App, account: &AccountId, secret: &str) -> Result<Sealed, HttpError> {
    Ok(app.keys.seal(&Field::NativeSecret.of(account), &Secret::new(secret))?)
}

/// Refuses what is polled only, before anything is changed.
fn listens<'a>(
    app: &'a App,
    account: &Account,
) -> Result<&'a tributary_connectors::native::Native, HttpError> {
    let native = app.catalog.old(account.provider.as_str()).and_then(Connector::native);
    native.ok_or_else(|| HttpError::not_found("this provider has no webhooks: it is polled"))
}

fn shown(app: &App, account: &Account) -> Result<Shown<NativeShown>, HttpError> {
    let native = listens(app, account)?;
    let open = |field: Field, sealed: &Sealed| app.keys.open(&field.of(&account.id), sealed);
    let token = open(Field::NativeToken, &account.native.token)?;
    let url = format!("{}/native/{}/{}", app.public_url, account.provider, token.expose_text()?);
    let secret =
        account.native.secrets.first().map(|secret| open(Field::NativeSecret, secret)).transpose()?;
    let secret = secret.as_ref().map(Secret::expose_text).transpose()?.unwrap_or_default().to_owned();
    let instructions = native.instructions(&url, &secret);
    Ok(Shown(NativeShown { url, secret, instructions }))
}
