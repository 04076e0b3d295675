//! What changed since: each kind of delta tells of a creation, a change and a deletion made after it began, and of nothing
//! that was there before.

use crate::sim::{Answer, Sim, Tenant, text};
use serde_json::{Value, json};

/// Makes a change of each kind: the ids of what was made, changed and deleted.
async fn changes(sim: &Sim, tenant: &Tenant, resource: &str) -> [String; 3] {
    let truth = sim.truth(tenant, resource).await;
    let records = format!("{}/acme/records/{resource}", tenant.provider);
    let made = sim.control("POST", &records, Value::Null).await;
    sim.control("PATCH", &format!("{records}/{}", truth[0]), Value::Null).await;
    sim.control("DELETE", &format!("{records}/{}", truth[1]), Value::Null).await;
    [text(&made["changes"][0]["id"]), truth[0].clone(), truth[1].clone()]
}

async fn begin(sim: &Sim, provider: &str, resource: &str) -> Tenant {
    let tenant = sim.tenant(provider, "acme").await;
    sim.create(&tenant, resource, 5).await;
    sim.control("POST", &format!("{provider}/acme/advance"), json!({"seconds": 10})).await;
    tenant
}

fn list(answer: &Answer, at: &str) -> Vec<Value> {
    answer
        .json()
        .pointer(at)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_else(|| panic!("{at} in {}", answer.text))
}

async fn now(sim: &Sim, tenant: &Tenant) -> String {
    text(&sim.control("GET", &format!("{}/acme", tenant.provider), Value::Null).await["now"])
}

#[tokio::test]
async fn a_feed_by_time_tells_actions() {
    let sim = Sim::start().await;
    let tenant = begin(&sim, "bamboohr", "hris_employees").await;
    let since = now(&sim, &tenant).await;
    let [made, changed, deleted] = changes(&sim, &tenant, "hris_employees").await;
    let feed = sim
        .ask(&tenant, "GET", &format!("/api/v1/employees/changed?since={since}&type=all"), &Value::Null)
        .await
        .json();
    let action = |id: &str| text(&feed["employees"][id]["action"]);
    assert_eq!([action(&made), action(&changed), action(&deleted)], ["Inserted", "Updated", "Deleted"]);
    assert_eq!(feed["employees"].as_object().unwrap().len(), 3);
    assert_eq!(
        sim.ask(&tenant, "GET", "/api/v1/employees/changed", &Value::Null).await.status,
        400,
        "since is required"
    );
}

#[tokio::test]
async fn a_sync_token_of_the_last_page_gives_what_came_after() {
    let sim = Sim::start().await;
    let tenant = begin(&sim, "ashby", "ats_candidates").await;
    let listing = crate::listings::all().into_iter().find(|l| l.path == "/candidate.list").unwrap();
    let pages = crate::listings::walk(&sim, &tenant, &listing).await;
    assert!(pages[..pages.len() - 1].iter().all(|page| page.json().get("syncToken").is_none()));
    let token = pages.last().unwrap().json()["syncToken"].clone();
    let [made, changed, _] = changes(&sim, &tenant, "ats_candidates").await;
    let later = sim.ask(&tenant, "POST", "/candidate.list", &json!({"syncToken": token})).await;
    let ids: Vec<String> = list(&later, "/results").iter().map(|r| text(&r["id"])).collect();
    assert_eq!(ids, [made, changed], "a deletion is not told");
    sim.fault(&tenant, json!({"fault": "forget_cursors"})).await;
    let late = sim.ask(&tenant, "POST", "/candidate.list", &json!({"syncToken": token})).await;
    assert_eq!((late.status, &late.json()["errorInfo"]["code"]), (200, &json!("sync_token_expired")));
}

#[tokio::test]
async fn salesforce_has_a_window_of_deleted_ids() {
    let sim = Sim::start().await;
    let tenant = begin(&sim, "salesforce", "crm_accounts").await;
    let since = now(&sim, &tenant).await;
    let [made, changed, deleted] = changes(&sim, &tenant, "crm_accounts").await;
    sim.control("POST", "salesforce/acme/advance", json!({"seconds": 120})).await;
    let until = now(&sim, &tenant).await;
    let q = format!("/services/data/v62.0/query?q=SELECT+Id+FROM+Account+WHERE+SystemModstamp+>=+{since}");
    let ids: Vec<String> = list(&sim.ask(&tenant, "GET", &q, &Value::Null).await, "/records")
        .iter()
        .map(|r| text(&r["Id"]))
        .collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&made) && ids.contains(&changed));
    let path = format!("/services/data/v62.0/sobjects/Account/deleted/?start={since}&end={until}");
    let gone = list(&sim.ask(&tenant, "GET", &path, &Value::Null).await, "/deletedRecords");
    assert_eq!(gone.iter().map(|r| text(&r["id"])).collect::<Vec<_>>(), [deleted]);
    let old =
        "/services/data/v62.0/sobjects/Account/deleted/?start=2020-01-01T00:00:00Z&end=2020-02-01T00:00:00Z";
    let old = sim.ask(&tenant, "GET", old, &Value::Null).await;
    assert_eq!((old.status, &old.json()[0]["errorCode"]), (400, &json!("INVALID_REPLICATION_DATE")));
}

#[tokio::test]
async fn drive_changes_end_with_a_new_start() {
    let sim = Sim::start().await;
    let tenant = begin(&sim, "google_drive", "documents_files").await;
    let start = text(
        &sim.ask(&tenant, "GET", "/drive/v3/changes/startPageToken", &Value::Null).await.json()["startPageToken"],
    );
    let expected = changes(&sim, &tenant, "documents_files").await;
    let first =
        sim.ask(&tenant, "GET", &format!("/drive/v3/changes?pageToken={start}&fields=*"), &Value::Null).await;
    let next = text(&first.json()["nextPageToken"]);
    assert!(first.json().get("newStartPageToken").is_none());
    let second =
        sim.ask(&tenant, "GET", &format!("/drive/v3/changes?pageToken={next}&fields=*"), &Value::Null).await;
    let all = [list(&first, "/changes"), list(&second, "/changes")].concat();
    let told: Vec<(String, bool)> =
        all.iter().map(|c| (text(&c["fileId"]), c["removed"] == json!(true))).collect();
    let [made, changed, deleted] = expected;
    assert_eq!(told, [(made, false), (changed, false), (deleted, true)]);
    let end = text(&second.json()["newStartPageToken"]);
    assert!(
        list(
            &sim.ask(&tenant, "GET", &format!("/drive/v3/changes?pageToken={end}"), &Value::Null).await,
            "/changes"
        )
        .is_empty()
    );
}

#[tokio::test]
async fn a_delta_link_tells_tombstones_and_gets_too_old() {
    let sim = Sim::start().await;
    let tenant = begin(&sim, "microsoft_graph", "documents_files").await;
    let listing = crate::listings::all().into_iter().find(|l| l.provider == "microsoft_graph").unwrap();
    let pages = crate::listings::walk(&sim, &tenant, &listing).await;
    let link = text(&pages.last().unwrap().json()["@odata.deltaLink"]);
    let [made, changed, deleted] = changes(&sim, &tenant, "documents_files").await;
    let first = sim.ask(&tenant, "GET", &link, &Value::Null).await;
    let second = sim.ask(&tenant, "GET", &text(&first.json()["@odata.nextLink"]), &Value::Null).await;
    let all = [list(&first, "/value"), list(&second, "/value")].concat();
    let told: Vec<(String, bool)> =
        all.iter().map(|c| (text(&c["id"]), c.get("deleted").is_some())).collect();
    assert_eq!(told, [(made, false), (changed, false), (deleted, true)]);
    sim.fault(&tenant, json!({"fault": "forget_cursors"})).await;
    let late = sim.ask(&tenant, "GET", &link, &Value::Null).await;
    assert_eq!(late.status, 410);
    assert!(late.headers["location"].ends_with("/root/delta"));
}

#[tokio::test]
async fn lists_of_what_was_deleted() {
    let sim = Sim::start().await;
    for (provider, resource, path, records, id) in [
        (
            "lever",
            "ats_candidates",
            "/v1/opportunities/deleted?deleted_at_start=1577836800000",
            "/data",
            "/id",
        ),
        ("zoho_crm", "crm_contacts", "/crm/v8/Contacts/deleted?type=all", "/data", "/id"),
        ("hubspot", "crm_contacts", "/crm/v3/objects/contacts?archived=true&limit=100", "/results", "/id"),
        ("box", "documents_files", "/2.0/folders/trash/items?usemarker=true", "/entries", "/id"),
    ] {
        let tenant = begin(&sim, provider, resource).await;
        let [_, _, deleted] = changes(&sim, &tenant, resource).await;
        let told = list(&sim.ask(&tenant, "GET", path, &Value::Null).await, records);
        assert_eq!(
            told.iter().map(|r| text(r.pointer(id).unwrap())).collect::<Vec<_>>(),
            [deleted],
            "{provider}"
        );
    }
}

#[tokio::test]
async fn zoho_says_nothing_new_by_its_status() {
    let sim = Sim::start().await;
    let tenant = sim.tenant("zoho_crm", "acme").await;
    let path = "/crm/v8/Contacts?fields=Email";
    assert_eq!(sim.ask(&tenant, "GET", path, &Value::Null).await.status, 204);
    sim.create(&tenant, "crm_contacts", 1).await;
    sim.control("POST", "zoho_crm/acme/advance", json!({"seconds": 10})).await;
    let later = now(&sim, &tenant).await;
    let request = sim
        .client
        .get(format!("{}{path}", tenant.base))
        .header("authorization", format!("Zoho-oauthtoken {}", tenant.token));
    let same = sim.answer(request.header("if-modified-since", later)).await;
    assert_eq!((same.status, same.text.as_str()), (304, ""));
    let bearer = sim
        .client
        .get(format!("{}{path}", tenant.base))
        .header("authorization", format!("Bearer {}", tenant.token));
    assert_eq!(sim.answer(bearer).await.status, 401, "the scheme's word is its own");
}

#[tokio::test]
async fn dropbox_tells_a_folders_end_for_all_in_it_and_no_ids() {
    let sim = Sim::start().await;
    let tenant = sim.tenant("dropbox", "acme").await;
    let folder = sim.control("POST", "dropbox/acme/records/documents_folders", Value::Null).await;
    let folder = text(&folder["changes"][0]["id"]);
    let inside = json!({"in_folder": folder, "path_lower": "/homework 1/a.txt"});
    sim.control("POST", "dropbox/acme/records/documents_files", inside).await;
    let cursor = sim
        .ask(
            &tenant,
            "POST",
            "/2/files/list_folder/get_latest_cursor",
            &json!({"path": "", "recursive": true}),
        )
        .await;
    let cursor = cursor.json()["cursor"].clone();
    let gone =
        sim.control("DELETE", &format!("dropbox/acme/records/documents_folders/{folder}"), Value::Null).await;
    let hear: Vec<&Value> = gone["changes"].as_array().unwrap().iter().map(|c| &c["hear"]["event"]).collect();
    assert_eq!(hear, ["documents_folders.deleted", "documents_files.deleted"]);
    let told = sim.ask(&tenant, "POST", "/2/files/list_folder/continue", &json!({"cursor": cursor})).await;
    let entries = list(&told, "/entries");
    assert_eq!(entries.len(), 1, "{}", told.text);
    assert_eq!((&entries[0][".tag"], entries[0].get("id")), (&json!("deleted"), None));
    assert_eq!(told.json()["has_more"], json!(false));
    sim.fault(&tenant, json!({"fault": "forget_cursors"})).await;
    let late = sim.ask(&tenant, "POST", "/2/files/list_folder/continue", &json!({"cursor": cursor})).await;
    assert_eq!((late.status, &late.json()["error"][".tag"]), (409, &json!("reset")));
}

#[tokio::test]
async fn a_stream_goes_on_from_its_position() {
    let sim = Sim::start().await;
    let tenant = begin(&sim, "box", "documents_files").await;
    let path = "/2.0/events?stream_type=changes&stream_position=";
    let start = text(
        &sim.ask(&tenant, "GET", &format!("{path}now"), &Value::Null).await.json()["next_stream_position"],
    );
    let expected = changes(&sim, &tenant, "documents_files").await;
    let told = sim.ask(&tenant, "GET", &format!("{path}{start}"), &Value::Null).await;
    let ids: Vec<String> = list(&told, "/entries").iter().map(|e| text(&e["source"]["id"])).collect();
    assert_eq!(ids, expected);
    let end = text(&told.json()["next_stream_position"]);
    assert!(
        list(&sim.ask(&tenant, "GET", &format!("{path}{end}"), &Value::Null).await, "/entries").is_empty()
    );
}
