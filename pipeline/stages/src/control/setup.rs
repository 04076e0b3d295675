//! What a caller gives to set an account up: which fields there are, what each may hold, and where secrets may go. A secret
//! is kept for the place that it was given for: who changes where requests lead gives the secrets anew.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use tributary_connectors::{Connector, legacy::SetupField};
use url::Url;

use super::{bounds::Named, read::advice};
use crate::http_error::HttpError;

/// The longest value of a field, in characters: a private key in PEM fits.
const LONGEST: usize = 8_192;

/// Set-up fields as they are given; null clears an optional one.
pub(super) type Given = Named<Option<SetupValue>, 64>;
/// The value of a set-up field. What it may hold is its field's.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct SetupValue(String);

impl JsonSchema for SetupValue {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "SetupValue".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": LONGEST })
    }
}

/// Set-up fields as they are kept.
pub(super) type Fields = BTreeMap<String, String>;

/// What an account's set-up is, and the secret part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Setup {
    pub(super) open: Fields,
    pub(super) secret: Fields,
}

impl Setup {
    /// The set-up of a new account.
    ///
    /// # Errors
    /// 422 naming the field that is unknown, missing, empty or not as expected.
    pub(super) fn new(connector: &Connector, given: &Given) -> Result<Self, HttpError> {
        let mut setup = Self::default();
        setup.take(connector.setup_fields(), given)?;
        setup.check_whole(connector.setup_fields())?;
        Ok(setup)
    }

    /// This set-up with what a caller changes of it.
    ///
    /// # Errors
    /// As [`new`](Self::new); and 422 naming the secrets that are missing where a request would lead elsewhere.
    pub(super) fn changed(&self, connector: &Connector, given: &Given) -> Result<Self, HttpError> {
        let mut changed = self.clone();
        changed.take(connector.setup_fields(), given)?;
        changed.check_whole(connector.setup_fields())?;
        let leads_elsewhere = connector
            .setup_fields()
            .iter()
            .find(|field| {
                let name = &field.name;
                !field.secret && self.open.get(name) != changed.open.get(name) && connector.leads(name)
            })
            .map(|field| field.name.as_str());
        if let Some(field) = leads_elsewhere {
            let given = |name: &String| given.0.get(name).is_some_and(Option::is_some);
            let kept: Vec<String> = changed
                .secret
                .keys()
                .filter(|name| !given(name))
                .map(|name| format!("setup.{name}"))
                .collect();
            if !kept.is_empty() {
                return Err(HttpError::unprocessable(format!(
                    "{}: expected with `setup.{field}`: requests lead elsewhere with it, so the secrets are needed again",
                    kept.join(", ")
                )));
            }
        }
        Ok(changed)
    }

    fn take(&mut self, fields: &[SetupField], given: &Given) -> Result<(), HttpError> {
        for (name, value) in &given.0 {
            let Some(field) = fields.iter().find(|field| field.name == *name) else {
                let known: Vec<String> = fields.iter().map(|field| field.name.clone()).collect();
                let name: String = name.chars().take(64).collect();
                return Err(HttpError::unprocessable(format!(
                    "setup.{name}: unknown field: {}",
                    advice(&name, &known)
                )));
            };
            let side = if field.secret { &mut self.secret } else { &mut self.open };
            match value {
                Some(value) => {
                    let value = checked(field, &value.0)
                        .map_err(|why| HttpError::unprocessable(format!("setup.{name}: {why}")))?;
                    side.insert(name.clone(), value);
                }
                None => drop(side.remove(name)),
            }
        }
        Ok(())
    }

    fn check_whole(&self, fields: &[SetupField]) -> Result<(), HttpError> {
        let held = |field: &SetupField| {
            if field.secret { &self.secret } else { &self.open }.contains_key(&field.name)
        };
        match fields.iter().find(|field| !field.optional && !held(field)) {
            Some(field) => {
                Err(HttpError::unprocessable(format!("setup.{}: {} is required", field.name, field.label)))
            }
            None => Ok(()),
        }
    }
}

/// A field's value as it is kept: without white space around it. Secrets go into headers as they are, so that they hold no
/// line ends; a URL is where paths are put behind.
fn checked(field: &SetupField, value: &str) -> Result<String, String> {
    let trimmed = value.trim();
    if trimmed.is_empty() {
        return Err("expected a value: it is empty".into());
    }
    if trimmed.chars().count() > LONGEST {
        return Err(format!("expected at most {LONGEST} characters"));
    }
    if trimmed.chars().any(char::is_control) {
        return Err("expected a text without control characters such as line ends".into());
    }
    if field.name == "url" || field.name.ends_with("_url") {
        base_url(trimmed)
    } else {
        Ok(trimmed.to_owned())
    }
}

/// An absolute URL that paths can be put behind: no credentials, query or fragment, no slash at its end, none doubled.
fn base_url(text: &str) -> Result<String, String> {
    let expected = "expected an absolute URL such as https://erp.example.com";
    if text.chars().any(char::is_whitespace) {
        return Err(format!("{expected}, without spaces"));
    }
    let url = Url::parse(text).map_err(|_| expected.to_owned())?;
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none_or(str::is_empty) {
        return Err(expected.into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{expected}, without credentials"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{expected}, without `?` and `#`"));
    }
    let path: Vec<&str> = url.path().split('/').filter(|segment| !segment.is_empty()).collect();
    let origin = url.origin().ascii_serialization();
    Ok(path.iter().fold(origin, |url, segment| format!("{url}/{segment}")))
}

#[cfg(test)]
mod tests {
    use tributary_connectors::Catalog;

    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Given {
        Named(pairs.iter().map(|(name, value)| ((*name).into(), Some(SetupValue((*value).into())))).collect())
    }

    #[test]
    fn a_base_url_is_made_right_or_refused() {
        for (text, expected) in [
            ("https://erp.example.com", Some("https://erp.example.com")),
            ("https://erp.example.com/", Some("https://erp.example.com")),
            ("  https://erp.example.com \t", Some("https://erp.example.com")),
            ("https://ERP.example.com//a//b/", Some("https://erp.example.com/a/b")),
            ("https://erp.example.com:8443/x", Some("https://erp.example.com:8443/x")),
            ("http://127.0.0.1:8069", Some("http://127.0.0.1:8069")),
            ("https://erp.exa mple.com", None),
            ("https://erp.example.com/a b", None),
            ("https://u:p@erp.example.com", None),
            ("https://erp.example.com?x=1", None),
            ("https://erp.example.com/#x", None),
            ("ftp://erp.example.com", None),
            ("erp.example.com", None),
            ("https://", None),
            ("javascript:alert(1)", None),
        ] {
            assert_eq!(base_url(text.trim()).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_set_up_is_whole_and_each_field_as_expected() {
        let catalog = Catalog::built_in().unwrap();
        let tryton = catalog.old("tryton").unwrap();
        let whole =
            [("base_url", " https://a.example// "), ("database", "d"), ("login", "l"), ("password", "p")];
        let setup = Setup::new(tryton, &given(&whole)).unwrap();
        assert_eq!(setup.open["base_url"], "https://a.example");
        for (change, expected) in [
            (("password", "p\nq"), "setup.password: expected a text without control characters"),
            (("password", "p\r\nx-evil: 1"), "setup.password: expected a text without control characters"),
            (("password", ""), "setup.password: expected a value"),
            (("database", "   "), "setup.database: expected a value"),
            (("base_url", "https://a b"), "setup.base_url: expected an absolute URL"),
            (("databse", "d"), "setup.databse: unknown field: did you mean `database`?"),
            (("login", &"x".repeat(9_000)), "setup.login: expected at most 8192 characters"),
        ] {
            let mut fields = given(&whole);
            fields.0.insert(change.0.into(), Some(SetupValue(change.1.into())));
            let refused = Setup::new(tryton, &fields).unwrap_err();
            assert!(refused.message().starts_with(expected), "{change:?}: {refused:?}");
        }
        let refused = Setup::new(tryton, &given(&whole[..3])).unwrap_err();
        assert_eq!(refused.message(), "setup.password: Password is required");
    }

    #[test]
    fn who_changes_where_requests_lead_gives_the_secrets_again() {
        let catalog = Catalog::built_in().unwrap();
        let tryton = catalog.old("tryton").unwrap();
        let whole = [("base_url", "https://a.example"), ("database", "d"), ("login", "l"), ("password", "p")];
        let setup = Setup::new(tryton, &given(&whole)).unwrap();
        for (change, refused) in [
            (vec![("base_url", "https://mine.example")], true),
            (vec![("database", "other")], true),
            (vec![("login", "other")], true),
            (vec![("base_url", "https://mine.example"), ("password", "p")], false),
            // The same place, written otherwise.
            (vec![("base_url", "https://A.example/")], false),
            (vec![("password", "new")], false),
        ] {
            let changed = setup.changed(tryton, &given(&change));
            assert_eq!(changed.is_err(), refused, "{change:?}: {changed:?}");
            if let Err(error) = changed {
                assert!(error.message().starts_with("setup.password: expected with"), "{error:?}");
            }
        }
    }
}
