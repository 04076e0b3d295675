//! The models of learning.

use super::{
    ID,
    Kind::{Any, Boolean, DateTime, Enum, List, Number, Object, OpenEnum, Text},
    Model, REMOTE_ID, UNIFIED_CUSTOM_FIELDS, field,
};

const ASSIGNMENT_STATUS: &[&str] = &["pending", "in_progress", "completed"];
const LEARNING_OBJECT_TYPE: &[&str] = &["content", "course", "collection"];
const RESULT: &[&str] = &["Pass", "Fail"];

/// `lms_assignments`: Assignment.
pub(super) static ASSIGNMENT: Model = Model(&[
    ID,
    REMOTE_ID,
    UNIFIED_CUSTOM_FIELDS,
    field("external_reference", Text),
    field("learning_object_id", Text),
    field("remote_learning_object_id", Text),
    field("learning_object_external_reference", Text),
    field("progress", Number),
    field("updated_at", DateTime),
    field("created_at", DateTime),
    field("assigned_at", DateTime),
    field("due_date", DateTime),
    field("status", Enum(ASSIGNMENT_STATUS)),
    field("learning_object_type", Enum(LEARNING_OBJECT_TYPE)),
    field("user_id", Text),
    field("remote_user_id", Text),
    field("certificate_url", Text),
    field("result", Enum(RESULT)),
    field("completed_at", DateTime),
    field("course_id", Text),
    field("remote_course_id", Text),
]);

/// `lms_completions`: Completion. `time_spent` is an ISO 8601 duration.
pub(super) static COMPLETION: Model = Model(&[
    ID,
    REMOTE_ID,
    UNIFIED_CUSTOM_FIELDS,
    field("learning_object_external_reference", Text),
    field("external_reference", Text),
    field("result", Enum(RESULT)),
    field("completed_at", DateTime),
    field("created_at", DateTime),
    field("updated_at", DateTime),
    field("learning_object_type", Enum(LEARNING_OBJECT_TYPE)),
    field("learning_object_id", Text),
    field("remote_learning_object_id", Text),
    field("user_id", Text),
    field("remote_user_id", Text),
    field("time_spent", Text),
    field("certificate_url", Text),
    field("external_id", Text),
    field("content_external_reference", Text),
    field("remote_external_id", Text),
    field("content_id", Text),
    field("remote_content_id", Text),
    field("course_id", Text),
    field("remote_course_id", Text),
    field("score", Object),
]);

/// `lms_content`: Content.
pub(super) static CONTENT: Model = Model(&[
    ID,
    REMOTE_ID,
    UNIFIED_CUSTOM_FIELDS,
    field("external_reference", Text),
    field("course_ids", List(&Text)),
    field("remote_course_ids", List(&Text)),
    field("title", Text),
    field("description", Text),
    field("languages", List(&OpenEnum)),
    field("content_url", Text),
    field("mobile_launch_content_url", Text),
    field("content_type", OpenEnum),
    field("cover_url", Text),
    field("active", Boolean),
    field("duration", Text),
    field("categories", List(&Any)),
    field("skills", List(&Any)),
    field("order", Number),
    field("provider", Text),
    field("short_description", Text),
    field("localizations", List(&Any)),
    field("tags", List(&Text)),
    field("authors", List(&Any)),
    field("updated_at", DateTime),
    field("created_at", DateTime),
]);

/// `lms_courses`: Course.
pub(super) static COURSE: Model = Model(&[
    ID,
    REMOTE_ID,
    UNIFIED_CUSTOM_FIELDS,
    field("external_reference", Text),
    field("content_ids", List(&Text)),
    field("remote_content_ids", List(&Text)),
    field("title", Text),
    field("description", Text),
    field("languages", List(&OpenEnum)),
    field("cover_url", Text),
    field("url", Text),
    field("active", Boolean),
    field("duration", Text),
    field("categories", List(&Any)),
    field("skills", List(&Any)),
    field("provider", Text),
    field("authors", List(&Any)),
    field("updated_at", DateTime),
    field("created_at", DateTime),
]);

/// `lms_users`: LmsUser.
pub(super) static USER: Model = Model(&[
    ID,
    REMOTE_ID,
    UNIFIED_CUSTOM_FIELDS,
    field("external_reference", Text),
    field("name", Text),
    field("email", Text),
    field("phone_number", Text),
    field("active", Boolean),
    field("created_at", DateTime),
    field("updated_at", DateTime),
]);
