//! The catalogue (contract §1): 20 resources, 3 actions each, 60 event names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A unified kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are the catalogue's")]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum Resource {
    Account,
    HrisEmployees,
    HrisEmployments,
    AtsAssessments,
    AtsCandidates,
    AtsApplications,
    AtsInterviews,
    AtsJobs,
    AtsJobPostings,
    AtsLists,
    AtsUsers,
    CrmAccounts,
    CrmContacts,
    LmsAssignments,
    LmsCompletions,
    LmsContent,
    LmsCourses,
    LmsUsers,
    DocumentsFiles,
    DocumentsFolders,
}

impl Resource {
    /// All 20, `account` first.
    pub const ALL: [Resource; 20] = [
        Self::Account,
        Self::HrisEmployees,
        Self::HrisEmployments,
        Self::AtsAssessments,
        Self::AtsCandidates,
        Self::AtsApplications,
        Self::AtsInterviews,
        Self::AtsJobs,
        Self::AtsJobPostings,
        Self::AtsLists,
        Self::AtsUsers,
        Self::CrmAccounts,
        Self::CrmContacts,
        Self::LmsAssignments,
        Self::LmsCompletions,
        Self::LmsContent,
        Self::LmsCourses,
        Self::LmsUsers,
        Self::DocumentsFiles,
        Self::DocumentsFolders,
    ];

    /// The resource's name: `hris_employees`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::HrisEmployees => "hris_employees",
            Self::HrisEmployments => "hris_employments",
            Self::AtsAssessments => "ats_assessments",
            Self::AtsCandidates => "ats_candidates",
            Self::AtsApplications => "ats_applications",
            Self::AtsInterviews => "ats_interviews",
            Self::AtsJobs => "ats_jobs",
            Self::AtsJobPostings => "ats_job_postings",
            Self::AtsLists => "ats_lists",
            Self::AtsUsers => "ats_users",
            Self::CrmAccounts => "crm_accounts",
            Self::CrmContacts => "crm_contacts",
            Self::LmsAssignments => "lms_assignments",
            Self::LmsCompletions => "lms_completions",
            Self::LmsContent => "lms_content",
            Self::LmsCourses => "lms_courses",
            Self::LmsUsers => "lms_users",
            Self::DocumentsFiles => "documents_files",
            Self::DocumentsFolders => "documents_folders",
        }
    }

    /// The name without its category, as the legacy `record_type` has it: `employees`; `account` stays.
    pub fn legacy_name(self) -> &'static str {
        self.name().split_once('_').map_or(self.name(), |(_, rest)| rest)
    }
}

/// What happened to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the catalogue's")]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum Action {
    Created,
    Updated,
    Deleted,
}

impl Action {
    /// All three.
    pub const ALL: [Action; 3] = [Self::Created, Self::Updated, Self::Deleted];

    /// The action's name: `created`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
        }
    }
}

/// One of the 60 names: `hris_employees.updated`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct EventName {
    /// The kind of record.
    pub resource: Resource,
    /// What happened to it.
    pub action: Action,
}

impl EventName {
    /// All 60.
    pub fn all() -> impl Iterator<Item = EventName> {
        Resource::ALL
            .into_iter()
            .flat_map(|resource| Action::ALL.map(|action| EventName { resource, action }))
    }
}

/// How an event reached us: a property of (connector, resource, action).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum Mode {
    /// We register with the provider.
    NativeAutomatic,
    /// A person registers a URL and a secret, per account.
    NativeManual,
    /// Found by polling.
    Synthetic,
}

impl Mode {
    /// The mode's name: `native_manual`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NativeAutomatic => "native_automatic",
            Self::NativeManual => "native_manual",
            Self::Synthetic => "synthetic",
        }
    }
}

/// A selection of events: `*` (all 60), a prefix (`hris_*`, `hris_employees.*`), or one name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventPattern(String);

impl EventPattern {
    /// Whether the pattern selects this event.
    pub fn selects(&self, event: EventName) -> bool {
        let name = event.to_string();
        match self.0.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == self.0,
        }
    }
}

/// A text that names nothing in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownName {
    /// No such resource.
    #[error("unknown resource `{0}`: expected one such as hris_employees")]
    Resource(String),
    /// No such event.
    #[error(
        "unknown event `{0}`: expected <resource>.<created|updated|deleted> such as hris_employees.updated"
    )]
    Event(String),
    /// A pattern that selects nothing.
    #[error(
        "unknown event `{0}`: expected `*`, a prefix such as `hris_*`, or a name such as hris_employees.updated"
    )]
    Pattern(String),
}

impl FromStr for Resource {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|it| it.name() == text).ok_or_else(|| UnknownName::Resource(text.into()))
    }
}

impl FromStr for EventName {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let unknown = || UnknownName::Event(text.into());
        let (resource, action) = text.split_once('.').ok_or_else(unknown)?;
        let resource = resource.parse().map_err(|_| unknown())?;
        let action = Action::ALL.into_iter().find(|it| it.name() == action).ok_or_else(unknown)?;
        Ok(Self { resource, action })
    }
}

impl FromStr for EventPattern {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let pattern = Self(text.into());
        if EventName::all().any(|event| pattern.selects(event)) {
            Ok(pattern)
        } else {
            Err(UnknownName::Pattern(text.into()))
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.resource, self.action)
    }
}
impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// As text everywhere, so that a new resource never renumbers an old one.
macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(Resource, EventName, EventPattern);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        assert_eq!(EventName::all().count(), 60);
        for event in EventName::all() {
            assert_eq!(event.to_string().parse(), Ok(event));
        }
        assert!("hris_employees.renamed".parse::<EventName>().is_err());
    }

    #[test]
    fn a_pattern_selects_by_name_or_prefix() {
        let event: EventName = "hris_employees.updated".parse().unwrap();
        for (pattern, selects) in [
            ("*", true),
            ("hris_*", true),
            ("hris_employees.*", true),
            ("hris_employees.updated", true),
            ("hris_employees.deleted", false),
            ("crm_*", false),
        ] {
            assert_eq!(pattern.parse::<EventPattern>().unwrap().selects(event), selects, "{pattern}");
        }
        for nothing in ["", "hr", "payroll_*", "*.updated"] {
            assert!(nothing.parse::<EventPattern>().is_err(), "{nothing}");
        }
    }

    #[test]
    fn the_legacy_name_has_no_category() {
        assert_eq!(Resource::HrisEmployees.legacy_name(), "employees");
        assert_eq!(Resource::AtsJobPostings.legacy_name(), "job_postings");
        assert_eq!(Resource::Account.legacy_name(), "account");
    }
}
