//! The providers, a file each: what is special about it. What they share is in the rooms above.

mod ashby;
mod bamboohr;
mod box_com;
mod canvas;
mod docebo;
mod dropbox;
mod google_drive;
mod greenhouse;
mod hibob;
mod hubspot;
mod learning360;
mod lever;
mod microsoft_graph;
mod moodle;
mod personio;
mod pipedrive;
mod recruitee;
mod salesforce;
mod smartrecruiters;
mod talentlms;
mod teamtailor;
mod thinkific;
mod workable;
mod workday;
mod zoho_crm;

use crate::provider::Provider;

/// All of them.
pub(crate) fn all() -> Vec<Provider> {
    vec![
        ashby::provider(),
        bamboohr::provider(),
        box_com::provider(),
        canvas::provider(),
        docebo::provider(),
        dropbox::provider(),
        google_drive::provider(),
        greenhouse::provider(),
        hibob::provider(),
        hubspot::provider(),
        learning360::provider(),
        lever::provider(),
        microsoft_graph::provider(),
        moodle::provider(),
        personio::provider(),
        pipedrive::provider(),
        recruitee::provider(),
        salesforce::provider(),
        smartrecruiters::provider(),
        talentlms::provider(),
        teamtailor::provider(),
        thinkific::provider(),
        workable::provider(),
        workday::provider(),
        zoho_crm::provider(),
    ]
}
