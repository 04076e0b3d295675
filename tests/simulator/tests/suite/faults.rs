//! Each fault does what it says, and is counted.

use crate::{
    listings::{Listing, Next, ids, walk},
    sim::{Sim, Tenant},
};
use serde_json::{Value, json};

const CONTACTS: &str = "/crm/v3/objects/contacts?limit=2";

async fn hubspot(sim: &Sim) -> Tenant {
    let tenant = sim.tenant("hubspot", "acme").await;
    sim.create(&tenant, "crm_contacts", 5).await;
    tenant
}

#[tokio::test]
async fn a_listing_breaks_off_where_it_is_told_to() {
    let sim = Sim::start().await;
    let tenant = hubspot(&sim).await;
    sim.fault(&tenant, json!({"fault": "break", "at": 2})).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(sim.ask(&tenant, "GET", CONTACTS, &Value::Null).await.status);
    }
    assert_eq!(statuses, [200, 500, 200]);
    let faults = sim.control("GET", "fault?provider=hubspot&tenant=acme", Value::Null).await;
    assert_eq!((&faults[0]["seen"], &faults[0]["bitten"]), (&json!(3), &json!(1)));
}

#[tokio::test]
async fn answers_are_refused_wrong_cut_or_empty() {
    let sim = Sim::start().await;
    let tenant = hubspot(&sim).await;
    let clear = || sim.control("DELETE", "fault?provider=hubspot&tenant=acme", Value::Null);
    let total = json!({"limit": 2});
    for (fault, check) in [
        (json!({"fault": "lose_scope"}), (|a| a.status == 403) as fn(&crate::sim::Answer) -> bool),
        (json!({"fault": "break", "status": 503}), |a| a.status == 503),
        (json!({"fault": "empty"}), |a| a.status == 200 && a.json()["results"] == json!([])),
        (json!({"fault": "error_body"}), |a| a.status == 200 && a.json()["status"] == "error"),
        (json!({"fault": "html"}), |a| a.status == 200 && a.text.starts_with("<html>")),
        (json!({"fault": "half_body"}), |a| a.status == 200 && a.text == "cut"),
        (json!({"fault": "total", "by": 7}), |a| a.json()["total"] == json!(12)),
        (json!({"fault": "limited", "seconds": 7}), |a| a.status == 429 && a.headers["retry-after"] == "7"),
        (json!({"fault": "limited", "seconds": 7, "retry_after": "date"}), |a| {
            a.headers["retry-after"].ends_with("GMT")
        }),
        (json!({"fault": "limited", "seconds": 7, "retry_after": "epoch", "status": 403}), |a| {
            a.status == 403 && a.headers["retry-after"].parse::<i64>().unwrap() > 1_700_000_000
        }),
        (json!({"fault": "limited", "seconds": 7, "retry_after": "none"}), |a| {
            !a.headers.contains_key("retry-after")
        }),
        (json!({"fault": "date", "seconds": 86400 * 400}), |a| {
            httpdate::parse_http_date(&a.headers["date"]).unwrap()
                > std::time::SystemTime::now() + std::time::Duration::from_secs(86400 * 399)
        }),
    ] {
        sim.fault(&tenant, fault.clone()).await;
        let bitten = sim.ask(&tenant, "POST", "/crm/v3/objects/contacts/search", &total).await;
        assert!(check(&bitten), "{fault}: {} {:?} {}", bitten.status, bitten.headers, bitten.text);
        let after = sim.ask(&tenant, "POST", "/crm/v3/objects/contacts/search", &total).await;
        assert!(
            after.status == 200 && after.json()["results"].as_array().is_some_and(|r| r.len() == 2),
            "{fault} bites once"
        );
        clear().await;
    }
}

#[tokio::test]
async fn a_cursor_comes_again_a_token_ends_in_mid_scan() {
    let sim = Sim::start().await;
    let tenant = hubspot(&sim).await;
    sim.fault(&tenant, json!({"fault": "repeat_cursor", "at": 2})).await;
    let first = sim.ask(&tenant, "GET", CONTACTS, &Value::Null).await.json();
    let after = first["paging"]["next"]["after"].as_str().unwrap().to_owned();
    let second = sim.ask(&tenant, "GET", &format!("{CONTACTS}&after={after}"), &Value::Null).await.json();
    let repeated = second["paging"]["next"]["after"].as_str().unwrap();
    let third = sim.ask(&tenant, "GET", &format!("{CONTACTS}&after={repeated}"), &Value::Null).await.json();
    assert_eq!(third["results"], second["results"], "the same page again");
    sim.fault(&tenant, json!({"fault": "expire_token"})).await;
    assert_eq!(sim.ask(&tenant, "GET", CONTACTS, &Value::Null).await.status, 401);
    assert_eq!(
        sim.ask(&tenant, "GET", CONTACTS, &Value::Null).await.status,
        401,
        "until a new one is asked for"
    );
}

#[tokio::test]
async fn a_deletion_between_two_pages_skips_where_pages_are_counted_and_not_where_they_have_a_cursor() {
    let sim = Sim::start().await;
    for (provider, resource, path, skipped) in [
        ("bamboohr", "hris_employees", "/api/v2/datasets/employee/data", 1),
        ("hubspot", "crm_contacts", CONTACTS, 0),
    ] {
        let tenant = sim.tenant(provider, "acme").await;
        sim.create(&tenant, resource, 5).await;
        sim.fault(&tenant, json!({"fault": "skip_while_deleting", "at": 2})).await;
        let listing: Listing =
            crate::listings::all().into_iter().find(|l| l.provider == provider && l.path == path).unwrap();
        assert!(!matches!(listing.next, Next::None));
        let seen = ids(&walk(&sim, &tenant, &listing).await, &listing);
        let missed = sim.truth(&tenant, resource).await.into_iter().filter(|id| !seen.contains(id)).count();
        assert_eq!(missed, skipped, "{provider}");
    }
}

/// Faults that each listing has: over all of them.
#[tokio::test]
async fn each_listing_breaks_is_limited_empties_and_comes_again() {
    let sim = Sim::start().await;
    for listing in crate::listings::all() {
        let tenant = sim.tenant(listing.provider, "acme").await;
        let what = format!("{} {}", listing.provider, listing.path);
        if let Some(parent) = listing.path.split(['{', '}']).nth(1) {
            sim.create(&tenant, parent, 1).await;
        }
        sim.create(&tenant, listing.resource, 5).await;
        let path = crate::listings::path(&sim, &tenant, &listing).await;
        let body: Value = serde_json::from_str(listing.body).unwrap_or(Value::Null);
        sim.fault(&tenant, json!({"fault": "break"})).await;
        assert_eq!(sim.ask(&tenant, listing.method, &path, &body).await.status, 500, "{what}");
        sim.fault(&tenant, json!({"fault": "limited", "seconds": 9})).await;
        let limited = sim.ask(&tenant, listing.method, &path, &body).await;
        assert_eq!((limited.status, limited.headers["retry-after"].as_str()), (429, "9"), "{what}");
        sim.fault(&tenant, json!({"fault": "half_body"})).await;
        let half = sim.ask(&tenant, listing.method, &path, &body).await;
        assert!(half.text == "cut", "{what}: {}", half.text);

        sim.fault(&tenant, json!({"fault": "empty", "times": 0})).await;
        let pages = walk(&sim, &tenant, &listing).await;
        assert_eq!(ids(&pages, &listing), [""; 0], "{what}");
        let forget = format!("fault?provider={}&tenant=acme", listing.provider);
        sim.control("DELETE", &forget, Value::Null).await;

        if !matches!(listing.next, Next::None | Next::Page(..) | Next::PageField(_) | Next::Offset(..)) {
            sim.fault(&tenant, json!({"fault": "repeat_cursor", "times": 0})).await;
            let pages = crate::listings::walk_up_to(&sim, &tenant, &listing, 8).await;
            assert_eq!(pages.len(), 8, "{what} comes again and again");
            sim.control("DELETE", &forget, Value::Null).await;
        }
        assert_eq!(
            ids(&walk(&sim, &tenant, &listing).await, &listing).len(),
            5,
            "{what}: and is whole again"
        );
    }
}

#[tokio::test]
async fn a_window_of_requests_closes_and_opens_again_by_the_tenants_clock() {
    let sim = Sim::start().await;
    let tenant = sim.tenant("greenhouse", "acme").await;
    sim.control("PATCH", "greenhouse/acme", json!({"settings": {"rate": 2}})).await;
    let ask = || sim.ask(&tenant, "GET", "/v3/users", &Value::Null);
    let first = ask().await;
    assert_eq!((first.status, first.headers["x-ratelimit-remaining"].as_str()), (200, "1"));
    ask().await;
    let over = ask().await;
    assert_eq!(over.status, 429);
    let wait: i64 = over.headers["retry-after"].parse().unwrap();
    assert!((1..=31).contains(&wait));
    sim.control("POST", "greenhouse/acme/advance", json!({"seconds": wait})).await;
    assert_eq!(ask().await.status, 200);
}
