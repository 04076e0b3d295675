//! Each listing, walked by its own way of paging, gives the truth whole: a row a listing.

use crate::sim::{Answer, Sim, Tenant, text};
use serde_json::{Value, json};

/// How the next page is asked for.
pub(crate) enum Next {
    /// There is one page
    None,
    /// What stands there goes into this query parameter
    Query(&'static str, &'static str),
    /// What stands there goes into this field of the body
    Field(&'static str, &'static str),
    /// What stands there is a URL, or a path
    Url(&'static str),
    /// `Link: <url>; rel="next"`
    Link,
    /// This parameter is a page's number, from the one given
    Page(&'static str, u64),
    /// This field of the body is a page's number, from 1
    PageField(&'static str),
    /// This parameter counts records, so many a page
    Offset(&'static str, usize),
    /// What stands there goes into this field of the body of a call of another path, alone
    Continue(&'static str, &'static str, &'static str),
}

/// A listing: its first request, where its records and their ids stand, how it goes on.
pub(crate) struct Listing {
    pub(crate) provider: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) body: &'static str,
    pub(crate) records: &'static str,
    pub(crate) id: &'static str,
    pub(crate) next: Next,
}

const fn got(
    provider: &'static str,
    resource: &'static str,
    path: &'static str,
    records: &'static str,
    id: &'static str,
    next: Next,
) -> Listing {
    Listing { provider, resource, method: "GET", path, body: "", records, id, next }
}

const fn posted(
    provider: &'static str,
    resource: &'static str,
    path: &'static str,
    body: &'static str,
    records: &'static str,
    id: &'static str,
    next: Next,
) -> Listing {
    Listing { provider, resource, method: "POST", path, body, records, id, next }
}

pub(crate) fn all() -> Vec<Listing> {
    let ashby = |resource, path| {
        posted(
            "ashby",
            resource,
            path,
            r#"{"limit":2}"#,
            "/results",
            "/id",
            Next::Field("/nextCursor", "cursor"),
        )
    };
    let greenhouse = |resource, path| got("greenhouse", resource, path, "", "/id", Next::Link);
    let lever = |resource, path| got("lever", resource, path, "/data", "/id", Next::Query("/next", "offset"));
    let workable =
        |resource, path, word| got("workable", resource, path, word, "/id", Next::Url("/paging/next"));
    let counted = |provider, resource, path, word, id| {
        got(provider, resource, path, word, id, Next::Offset("offset", 2))
    };
    let rest = vec![
        posted(
            "hibob",
            "hris_employees",
            "/v1/people/search",
            r#"{"showInactive":true,"humanReadable":"REPLACE","fields":["root.id","root.email","work.title"],"filters":[]}"#,
            "/employees",
            "/id",
            Next::None,
        ),
        got(
            "hibob",
            "hris_employments",
            "/v1/people/{hris_employees}/employment",
            "/values",
            "/id",
            Next::None,
        ),
        got(
            "personio",
            "hris_employees",
            "/v2/persons?limit=2&updated_at.gt=2020-01-01T00:00:00Z",
            "/_data",
            "/id",
            Next::Url("/_meta/links/next/href"),
        ),
        got(
            "personio",
            "hris_employments",
            "/v2/persons/{hris_employees}/employments?limit=2",
            "/_data",
            "/id",
            Next::Url("/_meta/links/next/href"),
        ),
        got(
            "workday",
            "hris_employees",
            "/ccx/service/customreport2/acme/owner/report?format=json",
            "/Report_Entry",
            "/Workday_ID",
            Next::None,
        ),
        counted("workday", "hris_employees", "/ccx/api/staffing/v6/acme/workers?limit=2", "/data", "/id"),
        lever(
            "ats_candidates",
            "/v1/opportunities?limit=2&updated_at_start=1577836800000&expand=applications",
        ),
        lever("ats_job_postings", "/v1/postings?limit=2"),
        lever("ats_jobs", "/v1/requisitions?limit=2"),
        lever("ats_users", "/v1/users?limit=2&includeDeactivated=true"),
        lever("ats_lists", "/v1/archive_reasons?limit=2"),
        lever("ats_applications", "/v1/opportunities/{ats_candidates}/applications?limit=2"),
        lever("ats_interviews", "/v1/opportunities/{ats_candidates}/interviews?limit=2"),
        workable(
            "ats_candidates",
            "/spi/v3/candidates?limit=2&updated_after=2020-01-01T00:00:00Z",
            "/candidates",
        ),
        workable("ats_jobs", "/spi/v3/jobs?limit=2&state=published", "/jobs"),
        workable("ats_interviews", "/spi/v3/events?limit=2", "/events"),
        workable("ats_users", "/spi/v3/members?limit=2", "/members"),
        counted("workable", "hris_employees", "/spi/v3/employees?limit=2", "/employees", "/id"),
        got(
            "smartrecruiters",
            "ats_candidates",
            "/candidates?limit=2&updatedAfter=2020-01-01T00:00:00.000Z",
            "/content",
            "/id",
            Next::Query("/nextPageId", "pageId"),
        ),
        counted("smartrecruiters", "ats_jobs", "/jobs?limit=2", "/content", "/id"),
        counted(
            "smartrecruiters",
            "ats_job_postings",
            "/v1/companies/acme/postings?limit=2",
            "/content",
            "/id",
        ),
        counted("smartrecruiters", "ats_users", "/user-api/v201804/users?limit=2", "/content", "/id"),
        got(
            "teamtailor",
            "ats_candidates",
            "/v1/candidates?page[size]=2&filter[updated-at][from]=2020-01-01",
            "/data",
            "/id",
            Next::Url("/links/next"),
        ),
        got("teamtailor", "ats_jobs", "/v1/jobs?page[size]=2", "/data", "/id", Next::Page("page[number]", 1)),
        got(
            "teamtailor",
            "ats_applications",
            "/v1/job-applications?page[size]=2",
            "/data",
            "/id",
            Next::Url("/links/next"),
        ),
        got("teamtailor", "ats_users", "/v1/users?page[size]=2", "/data", "/id", Next::Url("/links/next")),
        counted("recruitee", "ats_candidates", "/c/123/candidates?limit=2", "/candidates", "/id"),
        counted("recruitee", "ats_jobs", "/c/123/offers?limit=2", "/offers", "/id"),
        counted("recruitee", "ats_users", "/c/123/admins?limit=2", "/admins", "/id"),
        got(
            "pipedrive",
            "crm_contacts",
            "/api/v2/persons?limit=2&sort_by=update_time&sort_direction=asc&updated_since=2020-01-01T00:00:00Z",
            "/data",
            "/id",
            Next::Query("/additional_data/next_cursor", "cursor"),
        ),
        got(
            "pipedrive",
            "crm_accounts",
            "/api/v2/organizations?limit=2&sort_by=update_time&sort_direction=desc",
            "/data",
            "/id",
            Next::Query("/additional_data/next_cursor", "cursor"),
        ),
        got(
            "zoho_crm",
            "crm_contacts",
            "/crm/v8/Contacts?fields=Last_Name,Email&per_page=2&sort_by=id&sort_order=asc",
            "/data",
            "/id",
            Next::Page("page", 1),
        ),
        got(
            "zoho_crm",
            "crm_accounts",
            "/crm/v8/Accounts?fields=Account_Name&per_page=2&sort_by=Modified_Time",
            "/data",
            "/id",
            Next::Query("/info/next_page_token", "page_token"),
        ),
        got(
            "docebo",
            "lms_users",
            "/manage/v1/user?page_size=2&sort_attr=last_update&sort_dir=asc",
            "/data/items",
            "/user_id",
            Next::Page("page", 1),
        ),
        got(
            "docebo",
            "lms_courses",
            "/course/v1/courses?page_size=2",
            "/data/items",
            "/id",
            Next::Page("page", 1),
        ),
        got(
            "docebo",
            "lms_assignments",
            "/course/v1/courses/enrollments?page_size=2&updated_from=2020-01-01",
            "/data/items",
            "/enrollment_id",
            Next::Page("page", 1),
        ),
        got("360learning", "lms_users", "/api/v2/users", "", "/_id", Next::Link),
        got(
            "360learning",
            "lms_courses",
            "/api/v2/courses?modifiedAt[gte]=2020-01-01T00:00:00.000Z",
            "",
            "/_id",
            Next::Link,
        ),
        got("360learning", "lms_content", "/api/v2/paths", "", "/_id", Next::Link),
        got("360learning", "lms_assignments", "/api/v2/paths/sessions", "", "/_id", Next::Link),
        got("360learning", "lms_completions", "/api/v2/courses/stats", "", "/_id", Next::Link),
        got(
            "talentlms",
            "lms_users",
            "/api/v2/users?page[size]=2&filter[last_updated][gte]=2020-01-01T00:00:00Z",
            "/_data",
            "/id",
            Next::Url("/_links/next"),
        ),
        got(
            "talentlms",
            "lms_courses",
            "/api/v2/courses?page[size]=2",
            "/_data",
            "/id",
            Next::Page("page[number]", 1),
        ),
        got(
            "talentlms",
            "lms_assignments",
            "/api/v2/users/{lms_users}/courses?page[size]=2",
            "/_data",
            "/enrolment_id",
            Next::Url("/_links/next"),
        ),
        got("canvas", "lms_courses", "/api/v1/accounts/1/courses?per_page=2", "", "/id", Next::Link),
        got("canvas", "lms_users", "/api/v1/accounts/1/users?per_page=2", "", "/id", Next::Link),
        got(
            "canvas",
            "lms_assignments",
            "/api/v1/courses/{lms_courses}/enrollments?per_page=2",
            "",
            "/id",
            Next::Link,
        ),
        got(
            "canvas",
            "lms_completions",
            "/api/v1/courses/{lms_courses}/students/submissions?per_page=2&student_ids[]=all",
            "",
            "/id",
            Next::Link,
        ),
        got(
            "canvas",
            "lms_content",
            "/api/v1/courses/{lms_courses}/modules?per_page=2",
            "",
            "/id",
            Next::Link,
        ),
        got("thinkific", "lms_users", "/api/public/v1/users?limit=2", "/items", "/id", Next::Page("page", 1)),
        got(
            "thinkific",
            "lms_courses",
            "/api/public/v1/courses?limit=2",
            "/items",
            "/id",
            Next::Page("page", 1),
        ),
        got(
            "thinkific",
            "lms_assignments",
            "/api/public/v1/enrollments?limit=2&query[updated_after]=2020-01-01T00:00:00Z",
            "/items",
            "/id",
            Next::Query("/meta/pagination/next_page", "page"),
        ),
        posted(
            "dropbox",
            "documents_files",
            "/2/files/list_folder",
            r#"{"path":"","recursive":true,"include_deleted":true,"limit":2}"#,
            "/entries",
            "/id",
            Next::Continue("/cursor", "cursor", "/2/files/list_folder/continue"),
        ),
        posted(
            "dropbox",
            "documents_folders",
            "/2/files/list_folder",
            r#"{"path":"","recursive":true,"limit":2}"#,
            "/entries",
            "/id",
            Next::Continue("/cursor", "cursor", "/2/files/list_folder/continue"),
        ),
        got(
            "box",
            "documents_files",
            "/2.0/folders/0/items?usemarker=true&limit=2&fields=name,modified_at,parent,size",
            "/entries",
            "/id",
            Next::Query("/next_marker", "marker"),
        ),
        got(
            "box",
            "documents_folders",
            "/2.0/folders/0/items?usemarker=true&limit=2",
            "/entries",
            "/id",
            Next::Query("/next_marker", "marker"),
        ),
    ];
    let mut all = vec![
        posted(
            "bamboohr",
            "hris_employees",
            "/api/v2/datasets/employee/data",
            r#"{"fields":["id","firstName"],"page":1,"pageSize":2}"#,
            "/data",
            "/fields/id",
            Next::PageField("page"),
        ),
        got("bamboohr", "ats_jobs", "/api/v1/applicant_tracking/jobs", "", "/id", Next::None),
        got(
            "bamboohr",
            "ats_applications",
            "/api/v1/applicant_tracking/applications",
            "/applications",
            "/id",
            Next::Url("/nextPageUrl"),
        ),
        got(
            "hubspot",
            "crm_contacts",
            "/crm/v3/objects/contacts?limit=2",
            "/results",
            "/id",
            Next::Query("/paging/next/after", "after"),
        ),
        got(
            "hubspot",
            "crm_accounts",
            "/crm/v3/objects/companies?limit=2",
            "/results",
            "/id",
            Next::Url("/paging/next/link"),
        ),
        posted(
            "hubspot",
            "crm_contacts",
            "/crm/v3/objects/contacts/search",
            r#"{"limit":2,"filterGroups":[],"sorts":[{"propertyName":"lastmodifieddate","direction":"ASCENDING"}],"properties":["email"]}"#,
            "/results",
            "/id",
            Next::Field("/paging/next/after", "after"),
        ),
        ashby("ats_candidates", "/candidate.list"),
        ashby("ats_applications", "/application.list"),
        ashby("ats_interviews", "/interviewSchedule.list"),
        ashby("ats_jobs", "/job.list"),
        ashby("ats_users", "/user.list"),
        ashby("ats_lists", "/project.list"),
        ashby("ats_assessments", "/assessment.list"),
        posted("ashby", "ats_job_postings", "/jobPosting.list", "{}", "/results", "/id", Next::None),
        greenhouse("ats_candidates", "/v3/candidates?per_page=2"),
        greenhouse(
            "ats_applications",
            "/v3/applications?per_page=2&updated_at=gte%7C2026-01-01T00:00:00Z%7Clte%7C2099-01-01T00:00:00Z",
        ),
        greenhouse("ats_jobs", "/v3/jobs?per_page=2"),
        greenhouse("ats_job_postings", "/v3/job_posts?per_page=2&active=true"),
        greenhouse("ats_interviews", "/v3/interviews?per_page=2"),
        greenhouse("ats_users", "/v3/users?per_page=2&show_service_accounts=true"),
        greenhouse("ats_lists", "/v3/departments?per_page=2"),
        got(
            "salesforce",
            "crm_accounts",
            "/services/data/v62.0/query?q=SELECT+Id,Name+FROM+Account+WHERE+SystemModstamp+>=+2020-01-01T00:00:00.000Z+ORDER+BY+SystemModstamp+ASC,+Id+ASC",
            "/records",
            "/Id",
            Next::Url("/nextRecordsUrl"),
        ),
        got(
            "salesforce",
            "crm_contacts",
            "/services/data/v62.0/query?q=SELECT+Id,LastName,Owner.Name+FROM+Contact",
            "/records",
            "/Id",
            Next::Url("/nextRecordsUrl"),
        ),
        got(
            "google_drive",
            "documents_files",
            "/drive/v3/files?pageSize=2&q=mimeType+!=+'application/vnd.google-apps.folder'+and+trashed+=+false&fields=nextPageToken,files(id,name,parents)",
            "/files",
            "/id",
            Next::Query("/nextPageToken", "pageToken"),
        ),
        got(
            "google_drive",
            "documents_folders",
            "/drive/v3/files?pageSize=2&q=mimeType+=+'application/vnd.google-apps.folder'&fields=*",
            "/files",
            "/id",
            Next::Query("/nextPageToken", "pageToken"),
        ),
        got(
            "microsoft_graph",
            "documents_files",
            "/v1.0/me/drive/root/delta?$top=2",
            "/value",
            "/id",
            Next::Url("/@odata.nextLink"),
        ),
        got(
            "moodle",
            "lms_users",
            "/webservice/rest/server.php?wsfunction=core_user_get_users&moodlewsrestformat=json&criteria[0][key]=email&criteria[0][value]=%25",
            "/users",
            "/id",
            Next::None,
        ),
        got(
            "moodle",
            "lms_courses",
            "/webservice/rest/server.php?wsfunction=core_course_get_courses&moodlewsrestformat=json",
            "",
            "/id",
            Next::None,
        ),
    ];
    all.extend(rest);
    all
}

/// All pages of a listing.
pub(crate) async fn walk(sim: &Sim, tenant: &Tenant, listing: &Listing) -> Vec<Answer> {
    let pages = walk_up_to(sim, tenant, listing, 40).await;
    assert!(pages.len() < 40, "{} {} has no end", listing.provider, listing.path);
    pages
}

/// A listing's path, with a parent that is there.
pub(crate) async fn path(sim: &Sim, tenant: &Tenant, listing: &Listing) -> String {
    let mut path = listing.path.to_owned();
    if let Some(resource) = path.split(['{', '}']).nth(1).map(str::to_owned) {
        let parent = sim.truth(tenant, &resource).await.remove(0);
        path = path.replace(&format!("{{{resource}}}"), &parent);
    }
    if listing.provider == "moodle" {
        path = format!("{path}&wstoken={}", text(&tenant.credentials["token"]));
    }
    path
}

/// At most so many pages.
pub(crate) async fn walk_up_to(sim: &Sim, tenant: &Tenant, listing: &Listing, most: usize) -> Vec<Answer> {
    let mut path = path(sim, tenant, listing).await;
    let (first, mut method) = (path.clone(), listing.method);
    let mut body: Value = serde_json::from_str(listing.body).unwrap_or(Value::Null);
    let mut pages: Vec<Answer> = Vec::new();
    while pages.len() < most {
        let answer = sim.ask(tenant, method, &path, &body).await;
        assert!(
            matches!(answer.status, 200 | 204),
            "{} {path}: {} {}",
            listing.provider,
            answer.status,
            answer.text
        );
        let (page, link) = (answer.json(), answer.headers.get("link").cloned());
        pages.push(answer);
        let found = |at: &str| page.pointer(at).filter(|v| !v.is_null()).map(text);
        let add = |name: &str, value: &str| {
            let mark = if first.contains('?') { '&' } else { '?' };
            format!("{first}{mark}{name}={}", value.replace('+', "%2B"))
        };
        let records = records(&page, listing).len();
        match &listing.next {
            Next::None => break,
            Next::Query(at, name) => match found(at) {
                Some(next) => path = add(name, &next),
                None => break,
            },
            Next::Field(at, name) => match found(at) {
                Some(next) => body[*name] = next.into(),
                None => break,
            },
            Next::Url(at) => match found(at) {
                Some(next) => path = next,
                None => break,
            },
            Next::Link => {
                match link.as_deref().and_then(|l| l.split(',').find(|l| l.contains("rel=\"next\""))) {
                    Some(next) => path = next.split(['<', '>']).nth(1).unwrap().to_owned(),
                    None => break,
                }
            }
            Next::Page(_, _) | Next::PageField(_) | Next::Offset(_, _) if records == 0 => break,
            Next::Page(name, from) => path = add(name, &(from + pages.len() as u64).to_string()),
            Next::PageField(name) => body[*name] = (1 + pages.len()).into(),
            Next::Offset(name, size) => path = add(name, &(size * pages.len()).to_string()),
            Next::Continue(at, name, other) => match found(at) {
                Some(next) if page["has_more"] != json!(false) => {
                    (path, method, body) = ((*other).to_owned(), "POST", json!({*name: next}));
                }
                _ => break,
            },
        }
    }
    pages
}

fn records(page: &Value, listing: &Listing) -> Vec<Value> {
    page.pointer(listing.records).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// The ids on all pages, in order, without what no tenant made (a root, a front page).
pub(crate) fn ids(pages: &[Answer], listing: &Listing) -> Vec<String> {
    let all = pages.iter().flat_map(|page| records(&page.json(), listing));
    let ids = all.filter_map(|r| r.pointer(listing.id).map(text));
    let made = |id: &String| !id.ends_with("!root") && (listing.provider != "moodle" || id != "1");
    ids.filter(made).collect()
}

#[tokio::test]
async fn each_listing_gives_the_truth_whole() {
    let sim = Sim::start().await;
    for listing in all() {
        let tenant = sim.tenant(listing.provider, "acme").await;
        if let Some(parent) = listing.path.split(['{', '}']).nth(1) {
            sim.create(&tenant, parent, 1).await;
        }
        sim.create(&tenant, listing.resource, 5).await;
        let pages = walk(&sim, &tenant, &listing).await;
        let mut ids = ids(&pages, &listing);
        ids.sort();
        assert_eq!(ids, sim.truth(&tenant, listing.resource).await, "{} {}", listing.provider, listing.path);
        assert!(
            matches!(listing.next, Next::None)
                || pages.len() >= 3
                || listing.path.contains("applicant_tracking"),
            "{} has pages",
            listing.path
        );
    }
}

#[tokio::test]
async fn what_no_page_documents_is_refused_and_told() {
    let sim = Sim::start().await;
    let tenant = sim.tenant("hubspot", "acme").await;
    assert_eq!(sim.ask(&tenant, "GET", "/crm/v3/objects/tickets", &Value::Null).await.status, 404);
    assert_eq!(sim.ask(&tenant, "GET", "/crm/v3/objects/contacts?page=2", &Value::Null).await.status, 400);
    assert_eq!(sim.ask(&tenant, "PUT", "/crm/v3/objects/contacts", &Value::Null).await.status, 404);
    let search = json!({"filters": []});
    assert_eq!(sim.ask(&tenant, "POST", "/crm/v3/objects/contacts/search", &search).await.status, 400);
    let nobody = sim.client.get(format!("{}/hubspot/nobody/crm/v3/objects/contacts", sim.url));
    assert_eq!(sim.answer(nobody).await.status, 404);
    let report = sim.control("GET", "report", Value::Null).await;
    let asked: Vec<String> =
        report["asked_for_and_not_offered"].as_array().unwrap().iter().map(|r| text(&r["request"])).collect();
    for part in ["tickets", "no parameter page", "PUT /crm", "no field filters", "/hubspot/nobody/crm"] {
        assert_eq!(asked.iter().filter(|a| a.contains(part)).count(), 1, "{part} in {asked:?}");
    }
    let offers = report["offered_and_not_asked_for"].as_array().unwrap();
    let offered = |what: &str| offers.iter().any(|o| o["offer"] == what && o.get("part").is_none());
    assert!(
        offered("GET /crm/v3/objects/contacts"),
        "it was only asked for with a parameter that it has not"
    );
    assert!(!offered("POST /oauth/v1/token"), "the token was asked for");
}
