//! A row a provider: what linking an account gives, and where the simulator's words are not ours.

/// A provider in the suite.
#[derive(Debug)]
pub struct Row {
    /// Its name, here and at the simulator.
    pub provider: &'static str,
    /// The set-up: a field, and its value. `{x}` is the tenant's credential `x`, `{base}` where its provider answers.
    pub setup: &'static [(&'static str, &'static str)],
    /// The tenant's settings, as JSON.
    pub settings: &'static str,
    /// A record's id, where it is not the simulator's: what it is made of, as paths of the provider's record.
    pub ids: &'static [(&'static str, &'static [&'static str])],
    /// What a record is made with, by resource: `{n}` counts.
    pub made: &'static [(&'static str, &'static str)],
    /// How a record is changed, where the simulator's own change is nothing that a unified record shows.
    pub changes: &'static [(&'static str, &'static str)],
    /// Records of the one resource that are seen as the other too.
    pub also: &'static [(&'static str, &'static str)],
    /// Kinds of the simulator's that the definition has no resource for, or changes that its resource can't see, and why.
    pub unseen: &'static [(&'static str, &'static str)],
}

/// A row with the set-up alone.
const fn plain(provider: &'static str, setup: &'static [(&'static str, &'static str)]) -> Row {
    Row { provider, setup, settings: "{}", ids: &[], made: &[], changes: &[], also: &[], unseen: &[] }
}

/// The row of a provider.
pub fn row(provider: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.provider == provider)
}

const PAIR: &str = r#"{"user_id":"{lms_users}","course_id":"{lms_courses}"}"#;
const MOODLE_PAIR: &str = r#"{"userid":"{lms_users}","courseid":"{lms_courses}"}"#;

/// All of them.
pub static ROWS: &[Row] = &[
    Row {
        ids: &[("hris_employments", &["employeeId", "date"])],
        made: &[("hris_employments", r#"{"date":"2023-03-{nn}"}"#)],
        ..plain("bamboohr", &[("subdomain", "acme"), ("api_key", "{api_key}")])
    },
    Row {
        ids: &[("hris_employments", &["employeeId", "id"])],
        ..plain("hibob", &[("user", "{service_user_id}"), ("token", "{service_user_token}")])
    },
    Row {
        ids: &[("hris_employments", &["person.id", "id"])],
        ..plain("personio", &[("client_id", "{client_id}"), ("client_secret", "{client_secret}")])
    },
    Row {
        settings: r#"{"report_updated_from":true}"#,
        ..plain(
            "workday",
            &[
                ("host", "acme.workday.example"),
                ("tenant", "{tenant}"),
                ("user", "{username}"),
                ("password", "{password}"),
                ("reports", r#"[{"owner":"ISU","report":"Workers"}]"#),
                ("updated_prompt", "Updated_From"),
            ],
        )
    },
    Row {
        changes: &[
            ("ats_applications", r#"{"posting":"changed"}"#),
            ("ats_interviews", r#"{"subject":"changed"}"#),
        ],
        ..plain("lever", &[("api_key", "{api_key}")])
    },
    plain("ashby", &[("api_key", "{api_key}")]),
    Row {
        also: &[("ats_candidates", "ats_applications")],
        ..plain("workable", &[("subdomain", "{tenant}"), ("token", "{account_token}")])
    },
    Row {
        ids: &[("ats_applications", &["candidateId", "jobId"])],
        made: &[("ats_applications", r#"{"candidateId":"{ats_candidates}"}"#)],
        ..plain("smartrecruiters", &[("company", "{tenant}"), ("api_key", "{api_key}")])
    },
    Row { also: &[("ats_jobs", "ats_job_postings")], ..plain("teamtailor", &[("api_key", "{api_key}")]) },
    Row {
        settings: r#"{"updated_after":true,"candidate_updated":true}"#,
        also: &[("ats_jobs", "ats_job_postings")],
        ..plain("recruitee", &[("company", "{tenant}"), ("token", "{api_token}"), ("updated_filter", "yes")])
    },
    plain("hubspot", &[("private_token", "{private_app_token}")]),
    Row {
        changes: &[("crm_contacts", r#"{"last_name":"Changed"}"#)],
        ..plain("pipedrive", &[("company", "{tenant}"), ("api_token", "{api_token}")])
    },
    plain("salesforce", &[("client_id", "{client_id}"), ("client_secret", "{client_secret}")]),
    plain("zoho_crm", &[]),
    Row {
        ids: &[("lms_assignments", &["user_id", "course_id"])],
        made: &[("lms_assignments", r#"{"user_id":"{lms_users}","course_id":"{lms_courses}"}"#)],
        ..plain(
            "docebo",
            &[("subdomain", "{tenant}"), ("client_id", "{client_id}"), ("client_secret", "{client_secret}")],
        )
    },
    plain("360learning", &[("client_id", "{client_id}"), ("client_secret", "{client_secret}")]),
    Row {
        ids: &[
            ("lms_assignments", &["user_id", "course_id"]),
            ("lms_completions", &["user_id", "course_id"]),
        ],
        made: &[("lms_assignments", PAIR), ("lms_completions", PAIR)],
        ..plain("talentlms", &[("domain", "{tenant}"), ("api_key", "{api_key}")])
    },
    Row {
        ids: &[("lms_assignments", &["courseid", "userid"]), ("lms_completions", &["courseid", "userid"])],
        made: &[("lms_assignments", MOODLE_PAIR), ("lms_completions", MOODLE_PAIR)],
        changes: &[("lms_users", r#"{"fullname":"Changed"}"#), ("lms_completions", r#"{"completed":true}"#)],
        unseen: &[
            (
                "lms_assignments.updated",
                "who is enrolled is listed as a user: nothing of the enrolment itself can change",
            ),
            ("lms_completions.updated", "all that is listed of one is when it was completed, in seconds"),
        ],
        ..plain("moodle", &[("site", "{base}"), ("token", "{token}")])
    },
    plain("canvas", &[("site", "{base}"), ("token", "{access_token}")]),
    Row {
        changes: &[
            ("lms_assignments", r#"{"percentage_completed":"0.5"}"#),
            ("lms_completions", r#"{"completed_at":"2026-03-01T00:00:00.000Z"}"#),
        ],
        also: &[("lms_completions", "lms_assignments")],
        ..plain("thinkific", &[("subdomain", "{subdomain}"), ("api_key", "{api_key}")])
    },
    plain("google_drive", &[]),
    plain("microsoft_graph", &[]),
    plain("dropbox", &[]),
    Row {
        // A file and a folder may have one number.
        ids: &[("documents_files", &["=file_{id}"]), ("documents_folders", &["=folder_{id}"])],
        ..plain("box", &[])
    },
];
