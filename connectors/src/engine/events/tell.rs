//! The events that a request means.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use tributary_schemas::{
    id::RemoteId,
    observation::RecordName,
    record_id,
    resource::{Action, EventName, Resource},
    time::Timestamp,
};

use super::{
    EVENTS_MOST, Element, Native, RawBody, SetAside, SetAsideReason, Verified,
    batch::{Item, listed},
    rule::{Becomes, Emits},
};
use crate::{
    definition::events::Lifecycle,
    engine::{
        Kind, Trouble, date, inbound,
        names::{Name, Names},
        value::Value,
    },
};

/// One event that a request means.
#[derive(Debug, Clone)]
pub struct NativeEvent {
    /// Where in the request it is told.
    pub element: Element,
    /// The kind of record.
    pub resource: Resource,
    /// What happened to it.
    pub action: Action,
    /// The provider's name for it.
    pub remote_id: RemoteId,
    /// The name of the key field in `record_id`.
    pub key_name: String,
    /// When it happened, by the provider's clock.
    pub occurred_at: Option<Timestamp>,
    /// What of the body is its own.
    pub raw: RawBody,
    /// What of it maps to the unified model, as JSON text; absent if nothing does.
    pub event_data: Option<String>,
}

/// What a request tells.
#[derive(Debug, Default)]
pub struct Told {
    /// Its events, in their order.
    pub events: Vec<NativeEvent>,
    /// What of it can't be told.
    pub set_aside: Vec<SetAside>,
    /// Moments that are none: their events have happened when we heard of them.
    pub untimed: usize,
    /// Items that no rule is for.
    pub unmatched: usize,
}

/// What a request wants done beside, or instead of, its events.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// Whether unify has to read it: something is told, or can't be.
    pub tells: bool,
    /// Records that are got before they are told, each once.
    pub fetch: BTreeSet<RecordName>,
    /// Resources whose change feed is read.
    pub trigger: BTreeSet<Resource>,
    /// What it says of the subscription that it came by.
    pub lifecycle: Option<Lifecycle>,
    /// Items that no rule is for.
    pub unmatched: usize,
}

/// How much of an event is made.
#[derive(Clone, Copy)]
enum Make<'a> {
    /// Its name alone.
    Names,
    /// All of it, for whose project's record ids begin so.
    Whole { id_prefix: &'a str },
}

/// What is done with what is found in a request.
trait Take {
    fn event(&mut self, emits: &Emits, event: NativeEvent);
    fn untimed(&mut self);
    fn set_aside(&mut self, aside: SetAside);
    fn trigger(&mut self, resources: &[Resource]);
    fn lifecycle(&mut self, lifecycle: Lifecycle);
    fn unmatched(&mut self);
    fn events(&self) -> usize;
}

impl Native {
    /// What a request wants done beside its events.
    pub fn asks(&self, verified: &Verified) -> Asks {
        let mut asked = Asking::default();
        self.read(&verified.headers, &verified.body, Make::Names, &mut asked);
        asked.asks
    }

    /// The events that a request means, and what of it can't be told. `headers` are those that go on.
    pub fn tell(&self, headers: &[(String, String)], body: &[u8], id_prefix: &str) -> Told {
        let mut told = Told::default();
        self.read(headers, &inbound::json(body), Make::Whole { id_prefix }, &mut told);
        if told.events.len() > EVENTS_MOST {
            return Told {
                set_aside: vec![SetAside::whole(SetAsideReason::TooMany, None)],
                ..Told::default()
            };
        }
        told
    }

    fn read(
        &self,
        headers: &[(String, String)],
        body: &Result<Value, Trouble>,
        make: Make<'_>,
        take: &mut impl Take,
    ) {
        let names = self.kept(headers);
        let body = match body {
            Ok(body) => body,
            Err(trouble) => {
                return take.set_aside(SetAside::whole(SetAsideReason::Unreadable, Some(trouble.clone())));
            }
        };
        let items = match self.items.of(body, &names) {
            Ok(items) => items,
            Err(trouble) => return take.set_aside(SetAside::whole(SetAsideReason::NoItems, trouble)),
        };
        for item in items {
            self.item(body, &item, &names, make, take);
            if take.events() > EVENTS_MOST {
                return;
            }
        }
    }

    fn item(&self, body: &Value, item: &Item, names: &Names, make: Make<'_>, take: &mut impl Take) {
        let here = Element { item: item.place, part: None };
        let failed = |trouble| SetAside::part(here, item.raw.clone(), SetAsideReason::Failed, Some(trouble));
        let event = match &self.event {
            Some(event) => match event.one(&item.value, names) {
                Ok(event) => event.as_text().map(|text| text.into_owned()),
                Err(trouble) => return take.set_aside(failed(trouble.of("event"))),
            },
            None => None,
        };
        let mut matched = false;
        for rule in &self.rules {
            match rule.is_for(event.as_deref(), &item.value, names) {
                Ok(false) => continue,
                Ok(true) => matched = true,
                Err(trouble) => {
                    matched = true;
                    take.set_aside(failed(trouble.of("when")));
                    continue;
                }
            }
            match &rule.becomes {
                Becomes::Event(emits) => self.emit(emits, body, item, names, make, take),
                Becomes::Trigger(resources) => take.trigger(resources),
                Becomes::Lifecycle(lifecycle) => take.lifecycle(*lifecycle),
                Becomes::Ignored => {}
            }
        }
        if !matched {
            take.unmatched();
        }
    }

    /// Each record that an item tells of.
    fn emit(
        &self,
        emits: &Emits,
        body: &Value,
        item: &Item,
        names: &Names,
        make: Make<'_>,
        take: &mut impl Take,
    ) {
        let at = |place| Element { item: item.place, part: Some((place, emits.event)) };
        let names = names.clone().with(Name::With, emits.with.clone());
        let occurred_at = match (&emits.at, &self.at) {
            (None, Some(general)) => self.moment(general.one(&item.value, &names), take),
            (Some(_), _) | (None, None) => None,
        };
        let each = emits.each.as_ref();
        // It claims to tell of a record, and holds none where the definition has it.
        let mut claims_none = false;
        let found =
            listed(each.and_then(|each| each.path()), &item.value).and_then(|listed| match (listed, each) {
                (Some((list, elements)), _) => {
                    let own = |element: &str| (item.value.part(element), item.raw.cut(body, list, element));
                    Ok(elements.into_iter().map(own).collect::<Vec<_>>())
                }
                (None, Some(each)) => {
                    let values = each.each(&item.value, &names)?;
                    claims_none = values.is_empty() && each.path().is_some();
                    Ok(values.into_iter().map(|value| (value, item.raw.clone())).collect())
                }
                (None, None) => Ok(vec![(item.value.clone(), item.raw.clone())]),
            });
        let found = match found {
            Ok(found) => found,
            Err(trouble) => {
                let trouble = Some(trouble.of("each"));
                return take.set_aside(SetAside::part(
                    at(0),
                    item.raw.clone(),
                    SetAsideReason::Failed,
                    trouble,
                ));
            }
        };
        if claims_none {
            return take.set_aside(SetAside::part(at(0), item.raw.clone(), SetAsideReason::NoId, None));
        }
        for ((value, raw), place) in found.into_iter().zip(0..) {
            if take.events() > EVENTS_MOST {
                return;
            }
            let occurred_at = match &emits.at {
                Some(own) => self.moment(own.one(&value, &names), take),
                None => occurred_at,
            };
            match emits.event(&value, &names, make) {
                Ok((remote_id, event_data)) => {
                    let EventName { resource, action } = emits.event;
                    let (element, key_name) = (at(place), emits.key_name.clone());
                    let event = NativeEvent {
                        element,
                        resource,
                        action,
                        remote_id,
                        key_name,
                        occurred_at,
                        raw,
                        event_data,
                    };
                    take.event(emits, event);
                }
                Err((reason, trouble)) => take.set_aside(SetAside::part(at(place), raw, reason, trouble)),
            }
        }
    }

    fn moment(&self, said: Result<Value, Trouble>, take: &mut impl Take) -> Option<Timestamp> {
        let at =
            said.and_then(|value| match self.dates.numbers_are_known() || value.kind() != Kind::Number {
                true => date::instant(value.json(), &self.dates),
                false => Ok(epoch(value.json())),
            });
        at.unwrap_or_else(|_| {
            take.untimed();
            None
        })
    }
}

/// Seconds since 1970, or milliseconds where seconds would be after the year 5000.
fn epoch(digits: &str) -> Option<Timestamp> {
    let number: i64 = digits.split('.').next()?.parse().ok()?;
    let scale = if number.abs() < 100_000_000_000 { 1_000_000 } else { 1_000 };
    number.checked_mul(scale).map(Timestamp::from_micros)
}

impl Emits {
    fn event(
        &self,
        value: &Value,
        names: &Names,
        make: Make<'_>,
    ) -> Result<(RemoteId, Option<String>), (SetAsideReason, Option<Trouble>)> {
        let id =
            self.id.of(value, names).map_err(|trouble| (SetAsideReason::NoId, Some(trouble.of("id"))))?;
        let remote_id = id.ok_or((SetAsideReason::NoId, None))?;
        let (Make::Whole { id_prefix }, Some(mapping)) = (make, &self.mapping) else {
            return Ok((remote_id, None));
        };
        let mapped = mapping.map(value, names, id_prefix);
        let mut mapped = mapped.map_err(|trouble| (SetAsideReason::Unmapped, Some(trouble)))?;
        if mapped.is_empty() {
            return Ok((remote_id, None));
        }
        let id = record_id::encode(id_prefix, &self.key_name, &remote_id);
        mapped.insert("id".into(), Json::from(id));
        mapped.insert("remote_id".into(), Json::from(remote_id.as_str()));
        Ok((remote_id, Some(Json::Object(mapped).to_string())))
    }
}

impl Take for Told {
    fn event(&mut self, _: &Emits, event: NativeEvent) {
        self.events.push(event);
    }

    fn untimed(&mut self) {
        self.untimed += 1;
    }

    fn set_aside(&mut self, aside: SetAside) {
        self.set_aside.push(aside);
    }

    fn trigger(&mut self, _: &[Resource]) {}

    fn lifecycle(&mut self, _: Lifecycle) {}

    fn unmatched(&mut self) {
        self.unmatched += 1;
    }

    fn events(&self) -> usize {
        self.events.len() + self.set_aside.len()
    }
}

#[derive(Default)]
struct Asking {
    asks: Asks,
    events: usize,
}

impl Take for Asking {
    fn event(&mut self, emits: &Emits, event: NativeEvent) {
        self.events += 1;
        self.asks.tells = true;
        if emits.fetch {
            let NativeEvent { resource, remote_id, .. } = event;
            self.asks.fetch.insert(RecordName { resource, remote_id });
        }
    }

    fn untimed(&mut self) {}

    fn set_aside(&mut self, _: SetAside) {
        self.events += 1;
        self.asks.tells = true;
    }

    fn trigger(&mut self, resources: &[Resource]) {
        self.asks.trigger.extend(resources);
    }

    fn lifecycle(&mut self, lifecycle: Lifecycle) {
        self.asks.lifecycle = Some(lifecycle);
    }

    fn unmatched(&mut self) {
        self.asks.unmatched += 1;
    }

    fn events(&self) -> usize {
        self.events
    }
}
