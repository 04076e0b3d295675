//! The models of files and folders.

use super::{
    ID,
    Kind::{Boolean, DateTime, List, Number, OpenEnum, Text},
    Model, REMOTE_ID, field,
};

/// `documents_files`: Files. `url` may be a signed link that expires.
pub(super) static FILE: Model = Model(&[
    ID,
    REMOTE_ID,
    field("all_parent_folder_ids", List(&Text)),
    field("created_at", DateTime),
    field("default_download_format", Text),
    field("description", Text),
    field("drive_id", Text),
    field("remote_drive_id", Text),
    field("export_formats", List(&Text)),
    field("file_format", OpenEnum),
    field("folder_id", Text),
    field("remote_folder_id", Text),
    field("has_children", Boolean),
    field("has_content", Boolean),
    field("name", Text),
    field("owner_id", Text),
    field("remote_owner_id", Text),
    field("path", Text),
    field("size", Number),
    field("updated_at", DateTime),
    field("url", Text),
]);

/// `documents_folders`: Folders. `url` may be a signed link that expires.
pub(super) static FOLDER: Model = Model(&[
    ID,
    REMOTE_ID,
    field("all_parent_folder_ids", List(&Text)),
    field("created_at", DateTime),
    field("description", Text),
    field("drive_id", Text),
    field("remote_drive_id", Text),
    field("has_children", Boolean),
    field("has_content", Boolean),
    field("is_root", Boolean),
    field("name", Text),
    field("owner_id", Text),
    field("remote_owner_id", Text),
    field("parent_folder_id", Text),
    field("remote_parent_folder_id", Text),
    field("path", Text),
    field("size", Number),
    field("updated_at", DateTime),
    field("url", Text),
]);
