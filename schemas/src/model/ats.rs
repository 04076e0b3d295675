//! The models of hiring.

use super::{
    ID,
    Kind::{Any, DateTime, Enum, List, Object, OpenEnum, Text},
    Model, REMOTE_ID, UNIFIED_CUSTOM_FIELDS, field,
};

const APPLICATION_STATUS: &[&str] = &[
    "active",
    "assessment",
    "background_check",
    "converted",
    "declined_by_candidate",
    "hired",
    "interview",
    "lead",
    "offer",
    "reference_check",
    "rejected",
    "review",
    "screen",
    "new",
    "onboarding",
    "created",
    "accepted",
    "short_list",
    "approved",
];
const INTERVIEW_STATUS: &[&str] = &["unscheduled", "scheduled", "completed", "cancelled", "pending_feedback"];
const JOB_STATUS: &[&str] =
    &["published", "draft", "pending", "internal", "archived", "closed", "open", "deleted", "on_hold"];
const POSTING_STATUS: &[&str] = &["live", "draft", "pending", "internal", "rejected", "closed", "archived"];

/// `ats_assessments`: what is polled is a package (the first four); what an assessment partner is told natively is an order, or
/// its results.
pub(super) static ASSESSMENT: Model = Model(&[
    ID,
    REMOTE_ID,
    field("name", Text),
    field("description", Text),
    field("package", Object),
    field("application", Object),
    field("job", Object),
    field("candidate", Object),
    field("requester", Object),
    field("results_update_url", Text),
    field("passthrough", Any),
    field("score", Any),
    field("start_date", DateTime),
    field("submission_date", DateTime),
    field("summary", Text),
    field("result", Any),
    field("result_url", Text),
    field("attachments", List(&Any)),
]);

/// `ats_candidates`: Candidate.
pub(super) static CANDIDATE: Model = Model(&[
    ID,
    REMOTE_ID,
    UNIFIED_CUSTOM_FIELDS,
    field("name", Text),
    field("first_name", Text),
    field("last_name", Text),
    field("email", Text),
    field("emails", List(&Any)),
    field("social_links", List(&Any)),
    field("phone", Text),
    field("phone_numbers", List(&Any)),
    field("company", Text),
    field("title", Text),
    field("application_ids", List(&Text)),
    field("remote_application_ids", List(&Text)),
    field("hired_at", DateTime),
    field("country", Text),
    field("custom_fields", List(&Any)),
    field("tags", List(&Any)),
    field("created_at", DateTime),
    field("updated_at", DateTime),
]);

/// `ats_applications`: Application.
pub(super) static APPLICATION: Model = Model(&[
    ID,
    REMOTE_ID,
    UNIFIED_CUSTOM_FIELDS,
    field("candidate_id", Text),
    field("remote_candidate_id", Text),
    field("job_id", Text),
    field("remote_job_id", Text),
    field("interview_stage", Object),
    field("application_stage", Object),
    field("interview_stage_id", Text),
    field("remote_interview_stage_id", Text),
    field("application_stage_id", Text),
    field("remote_application_stage_id", Text),
    field("rejected_reasons", List(&Any)),
    field("rejected_reason_ids", List(&Text)),
    field("remote_rejected_reason_ids", List(&Text)),
    field("rejected_at", DateTime),
    field("location_id", Text),
    field("remote_location_id", Text),
    field("location_ids", List(&Text)),
    field("remote_location_ids", List(&Text)),
    field("application_status", Enum(APPLICATION_STATUS)),
    field("questionnaires", List(&Any)),
    field("candidate", Object),
    field("attachments", List(&Any)),
    field("documents", List(&Any)),
    field("result_links", List(&Any)),
    field("source", Object),
    field("created_at", DateTime),
    field("updated_at", DateTime),
    field("custom_fields", List(&Any)),
]);

/// `ats_interviews`: Interview.
pub(super) static INTERVIEW: Model = Model(&[
    ID,
    REMOTE_ID,
    UNIFIED_CUSTOM_FIELDS,
    field("application_id", Text),
    field("remote_application_id", Text),
    field("interview_stage_id", Text),
    field("remote_interview_stage_id", Text),
    field("interview_stage", Object),
    field("interview_status", Enum(INTERVIEW_STATUS)),
    field("interviewer_ids", List(&Text)),
    field("remote_interviewer_ids", List(&Text)),
    field("interview_parts", List(&Any)),
    field("interviewers", List(&Any)),
    field("start_at", DateTime),
    field("end_at", DateTime),
    field("meeting_url", Text),
    field("created_at", DateTime),
    field("updated_at", DateTime),
]);

/// `ats_jobs`: AtsJob.
pub(super) static JOB: Model = Model(&[
    ID,
    REMOTE_ID,
    UNIFIED_CUSTOM_FIELDS,
    field("code", Text),
    field("title", Text),
    field("description", Text),
    field("status", Text),
    field("job_status", Enum(JOB_STATUS)),
    field("department_ids", List(&Text)),
    field("remote_department_ids", List(&Text)),
    field("location_ids", List(&Text)),
    field("remote_location_ids", List(&Text)),
    field("hiring_team", List(&Any)),
    field("interview_stages", List(&Any)),
    field("confidential", OpenEnum),
    field("custom_fields", List(&Any)),
    field("created_at", DateTime),
    field("updated_at", DateTime),
]);

/// `ats_job_postings`: JobPosting.
pub(super) static JOB_POSTING: Model = Model(&[
    ID,
    REMOTE_ID,
    UNIFIED_CUSTOM_FIELDS,
    field("title", Text),
    field("locations", List(&Any)),
    field("internal", OpenEnum),
    field("status", Enum(POSTING_STATUS)),
    field("job_id", Text),
    field("remote_job_id", Text),
    field("content", Object),
    field("compensation", List(&Any)),
    field("employment_type", OpenEnum),
    field("employment_contract_type", OpenEnum),
    field("external_url", Text),
    field("external_apply_url", Text),
    field("questionnaires", List(&Any)),
    field("start_date", DateTime),
    field("created_at", DateTime),
    field("updated_at", DateTime),
]);

/// `ats_lists`: List.
pub(super) static LIST: Model = Model(&[
    ID,
    REMOTE_ID,
    UNIFIED_CUSTOM_FIELDS,
    field("name", Text),
    field("items", List(&Object)),
    field("created_at", DateTime),
    field("updated_at", DateTime),
    field("type", OpenEnum),
]);

/// `ats_users`: User. It has no timestamps.
pub(super) static USER: Model = Model(&[
    ID,
    REMOTE_ID,
    UNIFIED_CUSTOM_FIELDS,
    field("email", Text),
    field("first_name", Text),
    field("last_name", Text),
    field("name", Text),
    field("phone", Text),
]);
