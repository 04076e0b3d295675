//! The models of customers.

use super::{
    ID,
    Kind::{Any, DateTime, List, Text},
    Model, REMOTE_ID, UNIFIED_CUSTOM_FIELDS, field,
};

/// `crm_accounts`: Account.
pub(super) static ACCOUNT: Model = Model(&[
    ID,
    REMOTE_ID,
    UNIFIED_CUSTOM_FIELDS,
    field("owner_id", Text),
    field("remote_owner_id", Text),
    field("name", Text),
    field("description", Text),
    field("industries", List(&Text)),
    field("annual_revenue", Text),
    field("website", Text),
    field("addresses", List(&Any)),
    field("phone_numbers", List(&Text)),
    field("created_at", DateTime),
    field("updated_at", DateTime),
]);

/// `crm_contacts`: Contact.
pub(super) static CONTACT: Model = Model(&[
    ID,
    REMOTE_ID,
    UNIFIED_CUSTOM_FIELDS,
    field("first_name", Text),
    field("last_name", Text),
    field("company_name", Text),
    field("emails", List(&Text)),
    field("phone_numbers", List(&Text)),
    field("deal_ids", List(&Text)),
    field("remote_deal_ids", List(&Text)),
    field("account_ids", List(&Text)),
    field("remote_account_ids", List(&Text)),
    field("custom_fields", List(&Any)),
    field("created_at", DateTime),
    field("updated_at", DateTime),
]);
