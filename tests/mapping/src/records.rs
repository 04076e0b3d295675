//! The records: their definitions and a page of each.

use serde_json::{Value, json};

/// Records of one kind.
pub(crate) struct Records {
    pub name: &'static str,
    pub definition: &'static str,
    pub page: Vec<u8>,
}

fn page(count: usize, record: impl Fn(usize) -> Value) -> Vec<u8> {
    let data: Vec<Value> = (0..count).map(record).collect();
    json!({ "meta": { "next": "cursor" }, "data": data }).to_string().into_bytes()
}

fn employee(id: usize) -> Value {
    json!({
        "id": 100_000 + id, "firstName": "Ada", "surname": "Lovelace-Byron", "displayName": format!("Ada Lovelace {id}"),
        "email": format!("ada.lovelace.{id}@acme.example"), "phone": "+49 30 9018201", "mobile": "+49 151 20000001",
        "work": { "title": "Senior Engineer", "department": "Analytical Engines", "reportsTo": { "id": 42, "name": "Charles" },
            "startDate": "2024-03-01", "site": "Berlin" },
        "internal": { "status": "Active", "lifecycle": "employed", "number": format!("E-{id}") },
        "home": { "city": "London", "country": "GB", "postCode": "W1U 1ET" },
        "createdAt": "2024-02-20T09:12:33.120Z", "updatedAt": "2026-11-24T20:34:42Z", "custom": { "shirt": "M", "parking": null, "badge": "0042-7733", "locker": 17, "notes": "Works from the engine house on Fridays" },
        "avatar": { "url": "https://cdn.acme.example/avatars/ada.png" },
    })
}

/// Paths alone, of 0.7 KB.
pub(crate) fn employees(count: usize) -> Records {
    Records {
        name: "employees, paths alone",
        definition: "
language: 1
name: bench
title: Bench
category: hris
resources:
  hris_employees:
    list: { call: GET /employees, records: .data }
    page: none
    id: .id
    map:
      first_name: .firstName
      last_name: .surname
      display_name: .displayName
      work_email: .email
      work_phone_number: .phone
      personal_phone_number: .mobile
      job_title: .work.title
      department: .work.department
      manager_id: .work.reportsTo.id
      start_date: .work.startDate
      employee_number: .internal.number
      employment_status: { enum: .internal.status, values: { Active: active, Inactive: inactive } }
      home_location: { map: { city: .home.city, country: .home.country } }
      created_at: .createdAt
      updated_at: .updatedAt
",
        page: page(count, employee),
    }
}

/// As Tryton answers: 15 fields, dates as objects.
pub(crate) fn tryton(count: usize) -> Records {
    let moment = |micro: usize| json!({ "__class__": "datetime", "year": 2026, "month": 11, "day": 24, "hour": 20, "minute": 34, "second": 42, "microsecond": micro });
    let date = |day: usize| json!({ "__class__": "date", "year": 2024, "month": 3, "day": day % 28 + 1 });
    let record = |id: usize| {
        json!({
            "create_date": moment(282_320), "last_modified_at": moment(id), "supervisor": 7, "company": 1, "id": id,
            "start_date": date(id), "party": id + 1, "end_date": null, "active": true, "rec_name": format!("Ada Lovelace {id}"),
            "company.": { "id": 1, "rec_name": "Acme GmbH" },
            "party.": { "code": format!("E-{id}"), "name": "Ada Lovelace", "id": id + 1, "mobile": "+49 151 20000001",
                "email": "ada@acme.example", "phone": "+49 30 9018201" },
        })
    };
    Records {
        name: "Tryton's employees",
        definition: "
language: 1
name: bench
title: Bench
category: hris
resources:
  hris_employees:
    list: { call: GET /employees, records: .data }
    page: none
    id: .id
    map:
      name: .\"party.\".name
      display_name: .rec_name
      work_email: .\"party.\".email
      work_phone_number: .\"party.\".phone
      personal_phone_number: .\"party.\".mobile
      employee_number: .\"party.\".code
      company_id: .company
      company_name: .\"company.\".rec_name
      manager_id: .supervisor
      hire_date: .start_date
      start_date: .start_date
      termination_date: .end_date
      employment_status: { enum: .active, values: { 'true': active, 'false': terminated } }
      created_at: .create_date
      updated_at: .last_modified_at
",
        page: page(count, record),
    }
}

/// With two fields of jq: what they cost.
pub(crate) fn jq(count: usize) -> Records {
    Records {
        name: "employees, two fields by jq",
        definition: "
language: 1
name: bench
title: Bench
category: hris
resources:
  hris_employees:
    list: { call: GET /employees, records: .data }
    page: none
    id: .id
    map:
      first_name: .firstName
      last_name: .surname
      work_email: .email
      name: '[.firstName, .surname] | join(\" \")'
      title: if .internal.status == \"Active\" then .work.title else null end
      created_at: .createdAt
",
        page: page(count, employee),
    }
}
