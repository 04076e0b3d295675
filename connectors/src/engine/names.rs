//! Which `$name` means what, and where.
//!
//! A [`Scope`] says which names mean something in a place of a definition: any other is an error that names the nearest.
//! [`Names`] holds what they mean when an expression runs; a name that is in scope and not set is null.

use std::sync::Arc;

use super::value::Value;
use crate::definition::Problem;

macro_rules! names {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// A name.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Name {
            $($(#[doc = $doc])* $name,)*
            /// What an `as` names.
            Named(Arc<str>),
        }

        impl Name {
            /// As it is written, with its `$`.
            pub fn written(&self) -> String {
                match self {
                    $(Name::$name => $text.to_owned(),)*
                    Name::Named(name) => format!("${name}"),
                }
            }

            fn parse(text: &str) -> Self {
                match text {
                    $($text => Name::$name,)*
                    other => Name::Named(other.trim_start_matches('$').into()),
                }
            }
        }
    };
}

names! {
    /// What linking the account asked for.
    Setup = "$setup",
    /// The project's registration at the provider.
    App = "$app",
    /// What a login or a token request gave.
    Auth = "$auth",
    /// Whose data it is.
    Identity = "$identity",
    /// The resource's constants.
    With = "$with",
    /// The fields that the mapping reads.
    Fields = "$fields",
    /// The page's size.
    Size = "$size",
    /// Where the next page begins.
    Cursor = "$cursor",
    /// Since when.
    Since = "$since",
    /// Until when.
    Until = "$until",
    /// The change feed's position.
    Token = "$token",
    /// The answer's status.
    Status = "$status",
    /// Headers of the answer or of the webhook, in lower case.
    Headers = "$headers",
    /// The answer's cookies.
    Cookies = "$cookies",
    /// The webhook's method.
    Method = "$method",
    /// The webhook's URL; in a subscription, ours.
    Url = "$url",
    /// The webhook's query.
    Query = "$query",
    /// The webhook's body, as text.
    Body = "$body",
    /// What a signature header is split into.
    Pairs = "$pairs",
    /// The subscription's secret.
    Secret = "$secret",
    /// The event that is asked for.
    Event = "$event",
    /// The events that are asked for.
    Events = "$events",
    /// When the subscription is to end.
    Expires = "$expires",
    /// A fresh UUID.
    Uuid = "$uuid",
    /// What is known of the subscription.
    Subscription = "$subscription",
}

/// The names that mean something in a place.
#[derive(Debug, Clone, Default)]
pub struct Scope(Vec<Name>);

impl Scope {
    /// These and no others.
    pub fn of(names: &[Name]) -> Self {
        Self(names.to_vec())
    }

    /// One more.
    #[must_use]
    pub fn and(mut self, name: Name) -> Self {
        self.0.push(name);
        self
    }

    /// One more, that an `as` names.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        self.and(Name::Named(name.into()))
    }

    /// The name that is written so.
    ///
    /// # Errors
    /// When it means nothing here: the nearest that does.
    pub fn name(&self, written: &str) -> Result<Name, Problem> {
        let name = Name::parse(written);
        match self.0.contains(&name) {
            true => Ok(name),
            false => {
                let known: Vec<String> = self.0.iter().map(Name::written).collect();
                Err(Problem::unknown("name", written, known.iter().map(String::as_str)))
            }
        }
    }
}

/// What names mean while an expression runs.
#[derive(Debug, Clone, Default)]
pub struct Names(Vec<(Name, Value)>);

impl Names {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more, in place of what it meant before.
    #[must_use]
    pub fn with(mut self, name: Name, value: Value) -> Self {
        self.set(name, value);
        self
    }

    /// Sets one, in place of what it meant before.
    pub fn set(&mut self, name: Name, value: Value) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    /// What a name means; null where it is not set.
    pub fn get(&self, name: &Name) -> &Value {
        const NULL: &Value = &Value::null();
        self.0.iter().find(|(known, _)| known == name).map_or(NULL, |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_something_here_or_the_nearest_is_told() {
        let scope = Scope::of(&[Name::Setup, Name::Since]).named("company");
        assert_eq!(scope.name("$setup"), Ok(Name::Setup));
        assert_eq!(scope.name("$company"), Ok(Name::Named("company".into())));
        assert_eq!(scope.name("$sinse").unwrap_err().what(), "no name `$sinse`; did you mean `$since`?");
        assert_eq!(
            scope.name("$cursor").unwrap_err().what(),
            "no name `$cursor`: expected one of $setup, $since, $company"
        );
    }

    #[test]
    fn the_last_that_was_said_of_a_name_counts() {
        let names = Names::new().with(Name::Size, Value::text("a")).with(Name::Size, Value::text("b"));
        assert_eq!(names.get(&Name::Size), &Value::text("b"));
        assert!(names.get(&Name::Cursor).is_null());
    }
}
