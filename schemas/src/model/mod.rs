//! The unified models (contract §6): which fields each resource has, and of what kind.
//!
//! A file per category holds its tables, in the contract's order. All fields are optional. Where the contract gives a
//! field no kind, it has the one of the same field elsewhere, `…_at` and `…_date` are date-times, `…_ids` are lists of
//! texts, and the rest are texts.

mod ats;
mod crm;
mod documents;
mod hris;
mod lms;
mod value;

pub use value::Mismatch;

use crate::resource::Resource;

/// The unified model of a resource.
#[derive(Debug)]
pub struct Model(&'static [Field]);

/// A field of a model.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name: `work_email`.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A date-time of RFC 3339, or the date alone where the provider has no time.
    DateTime,
    /// `{"value", "source_value"}` with one of these values, or `unmapped_value`.
    Enum(&'static [&'static str]),
    /// `{"value", "source_value"}` with a value that the contract does not list.
    OpenEnum,
    /// An object, whose own fields are not looked at.
    Object,
    /// A list of one kind.
    List(&'static Kind),
    /// Anything.
    Any,
}

impl Model {
    /// Its fields, in the contract's order.
    pub fn fields(&self) -> &'static [Field] {
        self.0
    }

    /// What a field holds, if the model has it.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        self.0.iter().find(|field| field.name == name).map(|field| field.kind)
    }
}

/// The model of a resource; `account` is ours and has none.
pub fn of(resource: Resource) -> Option<&'static Model> {
    match resource {
        Resource::Account => None,
        Resource::HrisEmployees => Some(&hris::EMPLOYEE),
        Resource::HrisEmployments => Some(&hris::EMPLOYMENT),
        Resource::AtsAssessments => Some(&ats::ASSESSMENT),
        Resource::AtsCandidates => Some(&ats::CANDIDATE),
        Resource::AtsApplications => Some(&ats::APPLICATION),
        Resource::AtsInterviews => Some(&ats::INTERVIEW),
        Resource::AtsJobs => Some(&ats::JOB),
        Resource::AtsJobPostings => Some(&ats::JOB_POSTING),
        Resource::AtsLists => Some(&ats::LIST),
        Resource::AtsUsers => Some(&ats::USER),
        Resource::CrmAccounts => Some(&crm::ACCOUNT),
        Resource::CrmContacts => Some(&crm::CONTACT),
        Resource::LmsAssignments => Some(&lms::ASSIGNMENT),
        Resource::LmsCompletions => Some(&lms::COMPLETION),
        Resource::LmsContent => Some(&lms::CONTENT),
        Resource::LmsCourses => Some(&lms::COURSE),
        Resource::LmsUsers => Some(&lms::USER),
        Resource::DocumentsFiles => Some(&documents::FILE),
        Resource::DocumentsFolders => Some(&documents::FOLDER),
    }
}

/// The value of an enum whose source is none of ours.
pub const UNMAPPED: &str = "unmapped_value";

/// Our name for the record, in every model.
const ID: Field = field("id", Kind::Text);
/// The provider's name for the record, in every model.
const REMOTE_ID: Field = field("remote_id", Kind::Text);
/// What the provider has beside the model.
const UNIFIED_CUSTOM_FIELDS: Field = field("unified_custom_fields", Kind::Object);

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The contract's numbers count `id`, `remote_id` and, where a model has it, `unified_custom_fields`. The number of
    /// assessments is the package's 4, and 7 fields each of the order and its results that the package lacks.
    #[test]
    fn every_model_has_as_many_fields_as_the_contract_counts() {
        for (resource, count) in [
            (Resource::HrisEmployees, 53),
            (Resource::HrisEmployments, 30),
            (Resource::AtsAssessments, 4 + 7 + 7),
            (Resource::AtsCandidates, 21),
            (Resource::AtsApplications, 31),
            (Resource::AtsInterviews, 18),
            (Resource::AtsJobs, 18),
            (Resource::AtsJobPostings, 19),
            (Resource::AtsLists, 8),
            (Resource::AtsUsers, 8),
            (Resource::CrmAccounts, 14),
            (Resource::CrmContacts, 15),
            (Resource::LmsAssignments, 21),
            (Resource::LmsCompletions, 24),
            (Resource::LmsContent, 25),
            (Resource::LmsCourses, 19),
            (Resource::LmsUsers, 10),
            (Resource::DocumentsFiles, 21),
            (Resource::DocumentsFolders, 19),
        ] {
            assert_eq!(of(resource).unwrap().fields().len(), count, "{resource}");
        }
    }

    #[test]
    fn every_resource_but_the_account_has_a_model_with_ids_and_no_field_twice() {
        for resource in Resource::ALL {
            let Some(model) = of(resource) else {
                assert_eq!(resource, Resource::Account);
                continue;
            };
            let names: BTreeSet<&str> = model.fields().iter().map(|field| field.name).collect();
            assert_eq!(names.len(), model.fields().len(), "{resource}");
            assert!(names.contains("id") && names.contains("remote_id"), "{resource}");
            let without = [Resource::AtsAssessments, Resource::DocumentsFiles, Resource::DocumentsFolders];
            assert_eq!(names.contains("unified_custom_fields"), !without.contains(&resource), "{resource}");
        }
    }
}
