//! What a provider's webhooks tell: whose they are, what is answered at once, and which events they mean (language §2).
//!
//! Three questions, each asked once a request. Ingest asks [`Native::hear`]: is it the provider's, and what tells it from
//! others. Then [`Native::asks`]: what it wants done beside events. unify asks [`Native::tell`]: its events. All read the body by one
//! reader, and of the headers the rules see those that go on, so that what ingest took in unify reads alike.
//!
//! An element that can't be mapped is set aside alone, with a reason of a closed set, and the others are told. Nothing of
//! a body is copied before its size is known ([`RawBody`]).

mod batch;
mod compile;
mod handshake;
mod rule;
mod tell;
#[cfg(test)]
mod tests;

use std::time::Duration;

use sha2::{Digest, Sha256};
use tributary_schemas::{
    observation::DeliveryId,
    resource::{Action, Mode, Resource},
    time::Timestamp,
};

use self::{batch::Items, handshake::Handshake, rule::Rule};
pub use self::{
    batch::RawBody,
    handshake::Reply,
    rule::{Element, SetAside, SetAsideReason},
    tell::{Asks, NativeEvent, Told},
};
use super::{
    Trouble,
    date::Dates,
    expression::Expression,
    inbound::{Asked, Inbound},
    names::{Name, Names},
    value::Value,
    verify::{Claim, Forged, Verify},
};

/// Events of one request at the most: more are set aside whole.
pub const EVENTS_MOST: usize = 16_384;

/// The native side of a connector, compiled.
#[derive(Debug)]
pub struct Native {
    verify: Verify,
    handshakes: Vec<Handshake>,
    answer: u16,
    keep: Vec<String>,
    items: Items,
    account: Option<Expression>,
    event: Option<Expression>,
    at: Option<Expression>,
    delivery: Delivery,
    dates: Dates,
    rules: Vec<Rule>,
    settle: Duration,
    automatic: bool,
    steps: Vec<String>,
    /// Whether an expression over the request asks for the body's text.
    body: Asked,
    /// Whether one asks for the account's set-up.
    account_is_asked_for: bool,
}

/// What tells a delivery from others, compiled.
#[derive(Debug)]
enum Delivery {
    Digest,
    None,
    Value(Expression),
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Heard {
    /// It only asks whether we are there.
    Handshake(Reply),
    /// It is not believed.
    Refused(Forged),
    /// It is the provider's.
    Verified(Verified),
}

/// A request that is the provider's.
#[derive(Debug)]
pub struct Verified {
    /// Its body, or why it can't be read.
    pub body: Result<Value, Trouble>,
    /// The headers that go on.
    pub headers: Vec<(String, String)>,
    /// What tells it from others.
    pub delivery: DeliveryId,
}

impl Native {
    /// The status that means success to the provider.
    pub fn success(&self) -> u16 {
        self.answer
    }

    /// How long after a native event a run is not to be trusted about its record.
    pub fn settle(&self) -> Duration {
        self.settle
    }

    /// Whether [`hear`](Self::hear) asks for the account's set-up.
    pub fn asks_for_the_account(&self) -> bool {
        self.account_is_asked_for
    }

    /// The events that the webhooks can tell, and who registers for them.
    pub fn tells(&self) -> impl Iterator<Item = (Resource, Action, Mode)> {
        self.rules.iter().filter_map(|rule| {
            let (resource, action) = rule.tells()?;
            Some((resource, action, if self.automatic { rule.mode() } else { Mode::NativeManual }))
        })
    }

    /// Who registers the webhooks, in general.
    pub fn mode(&self) -> Mode {
        if self.automatic { Mode::NativeAutomatic } else { Mode::NativeManual }
    }

    /// The steps for the person who registers them.
    pub fn instructions(&self, url: &str, secret: &str) -> Vec<String> {
        let filled = |step: &String| step.replace("{url}", url).replace("{secret}", secret);
        self.steps.iter().map(filled).collect()
    }

    /// Hears a request out. `account` is what its expressions know of the account (`$setup`, `$app`), `secrets` are those of the
    /// account or the subscription that are live.
    pub fn hear(&self, request: &Inbound<'_>, account: Names, secrets: &[&[u8]], now: Timestamp) -> Heard {
        let names = request.names(account, self.body);
        let json = request.json();
        let body = json.as_ref().map_or(Value::null(), Value::clone);
        if let Some(reply) = self.handshakes.iter().find_map(|it| it.answer(&body, &names)) {
            return Heard::Handshake(reply);
        }
        let items: Vec<Value> = self
            .items
            .of(&body, &names)
            .map_or_else(|_| Vec::new(), |items| items.map(|it| it.value).collect());
        let claim = Claim { request, body: &body, items: &items, names: &names, secrets, now };
        if let Err(forged) = self.verify.verify(&claim) {
            return Heard::Refused(forged);
        }
        let kept = request.headers.iter().filter(|(name, _)| self.keep.contains(name));
        Heard::Verified(Verified {
            delivery: self.delivery(request.body, &body, &items, &names),
            headers: kept.cloned().collect(),
            body: json,
        })
    }

    /// What tells a delivery from others (design §6): of a batch, what all its items say together.
    fn delivery(&self, raw: &[u8], body: &Value, items: &[Value], names: &Names) -> DeliveryId {
        let digest = |of: &[u8]| {
            let mut first = [0; 16];
            first.copy_from_slice(&Sha256::digest(of)[..16]);
            DeliveryId::Digest(first)
        };
        let expression = match &self.delivery {
            Delivery::Digest => return digest(raw),
            Delivery::None => return DeliveryId::None,
            Delivery::Value(expression) => expression,
        };
        let whole = std::slice::from_ref(body);
        let mut said = Vec::new();
        for item in if self.items.is_batch() { items } else { whole } {
            match expression.one(item, names) {
                Ok(value) if !value.is_null() && value.json() != "[]" && value.json() != "\"\"" => {
                    said.push(value)
                }
                // One that says nothing can't be told from another of its kind.
                Ok(_) | Err(_) => return DeliveryId::None,
            }
        }
        match said.as_slice() {
            [] => DeliveryId::None,
            [one] => DeliveryId::Declared(one.as_text().map_or_else(|| one.json().to_owned(), Into::into)),
            several => DeliveryId::Declared(several.iter().map(Value::json).collect::<Vec<_>>().join(",")),
        }
    }

    /// Whose data each item is, over an app's URL, with the element's place in the batch.
    pub fn accounts(&self, verified: &Verified) -> Vec<(u32, Option<String>)> {
        let (Some(account), Ok(body)) = (&self.account, &verified.body) else { return Vec::new() };
        let names = self.kept(&verified.headers);
        let Ok(items) = self.items.of(body, &names) else { return Vec::new() };
        let said = |value: &Value| account.one(value, &names).ok()?.as_text().map(Into::into);
        items.map(|item| (item.place, said(&item.value))).collect()
    }

    /// What rules may name: of the headers those that go on.
    fn kept(&self, headers: &[(String, String)]) -> Names {
        Names::new().with(Name::Headers, super::inbound::headers(headers))
    }
}
