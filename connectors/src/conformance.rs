//! What the unified models (contract §6) ask of a definition, and of the records in its examples.
//!
//! A definition that breaks them can't be used. A provider's live record that does is let through: it is the consumer's
//! to judge.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tributary_schemas::{
    model::{self, Kind, Model},
    resource::Resource,
};

use crate::legacy::{EnumForm, FieldForm, Native, Polled};

/// Checks the fields that a polled resource fills, leaves out of its projection or takes for sets.
pub(crate) fn check_polled(resource: Resource, form: &Polled) -> Result<(), String> {
    check_fields(resource, &form.fields)?;
    let model = model_of(resource)?;
    for name in form.volatile.iter().chain(&form.sets) {
        kind_of(resource, model, name)?;
    }
    Ok(())
}

/// Checks the native side's field maps: each fits the resources that its events are of.
pub(crate) fn check_native(form: &Native) -> Result<(), String> {
    for (name, fields) in &form.models {
        let serves: BTreeSet<Resource> = form
            .events
            .iter()
            .filter(|event| event.model.as_ref() == Some(name))
            .map(|event| event.resource)
            .collect();
        if serves.is_empty() {
            return Err(format!("models.{name}: no event maps to it"));
        }
        for resource in serves {
            check_fields(resource, fields).map_err(|why| format!("models.{name}: {why}"))?;
        }
    }
    Ok(())
}

/// Checks that the values of a mapped record are of its model's kinds.
pub(crate) fn check_record(resource: Resource, record: &Map<String, Value>) -> Result<(), String> {
    let model = model_of(resource)?;
    for (name, value) in record {
        let kind = kind_of(resource, model, name)?;
        kind.check(name, value).map_err(|mismatch| format!("{resource}.{mismatch}"))?;
    }
    Ok(())
}

fn model_of(resource: Resource) -> Result<&'static Model, String> {
    model::of(resource).ok_or_else(|| format!("{resource} has no unified model"))
}

fn kind_of(resource: Resource, model: &Model, name: &str) -> Result<Kind, String> {
    model.kind(name).ok_or_else(|| no_field(resource, model, name))
}

/// Checks that each field of a map is the model's, in the form that its kind asks for.
fn check_fields(resource: Resource, fields: &BTreeMap<String, FieldForm>) -> Result<(), String> {
    let model = model_of(resource)?;
    for (name, form) in fields {
        let kind = kind_of(resource, model, name)?;
        let checked = match form {
            FieldForm::Plain(_) => check_plain(kind),
            FieldForm::Enum(form) => check_enum(kind, form),
        };
        checked.map_err(|why| format!("{resource}.{name} {why}"))?;
    }
    Ok(())
}

fn check_plain(kind: Kind) -> Result<(), String> {
    match kind {
        Kind::Enum(_) | Kind::OpenEnum => Err("is an enum: expected `from` and `values`".into()),
        Kind::Text | Kind::Number | Kind::Boolean | Kind::DateTime => Ok(()),
        Kind::Object | Kind::List(_) | Kind::Any => Ok(()),
    }
}

fn check_enum(kind: Kind, form: &EnumForm) -> Result<(), String> {
    match kind {
        Kind::Enum(known) => match form.values.values().find(|value| !known.contains(&value.as_str())) {
            Some(value) => Err(format!("has no value `{value}`: expected one of {}", known.join(", "))),
            None => Ok(()),
        },
        Kind::OpenEnum => Ok(()),
        Kind::Text
        | Kind::Number
        | Kind::Boolean
        | Kind::DateTime
        | Kind::Object
        | Kind::List(_)
        | Kind::Any => Err("is no enum: expected an expression alone".into()),
    }
}

/// Says which field was probably meant, or else which there are.
fn no_field(resource: Resource, model: &Model, name: &str) -> String {
    let names = || model.fields().iter().map(|field| field.name);
    let nearest = names().map(|known| (strsim::osa_distance(name, known), known)).min();
    match nearest {
        // A third of its letters wrong is a slip; more is another word.
        Some((distance, known)) if distance * 3 <= name.len() => {
            format!("{resource} has no field `{name}`; did you mean `{known}`?")
        }
        _ => {
            let names: Vec<&str> = names().collect();
            format!("{resource} has no field `{name}`: expected one of {}", names.join(", "))
        }
    }
}
