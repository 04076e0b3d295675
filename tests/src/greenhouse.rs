//! Greenhouse as its documentation has it: what it sends, and how it signs that.

use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;

/// A webhook's secret that a test brings along.
pub const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// The header `signature` of a body.
pub fn signed(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(body);
    format!("sha256 {}", hex::encode(mac.finalize().into_bytes()))
}

/// A `candidate_stage_change` of an application, with notes of so many letters.
pub fn application(id: u64, notes: usize) -> Vec<u8> {
    let application = json!({
        "id": id, "status": "active", "applied_at": "2026-03-22T00:00:00Z", "last_activity_at": "2026-04-09T16:38:36Z",
        "jobs": [{"id": 3485, "name": "Mechanic"}], "notes": "n".repeat(notes),
        "candidate": {"id": 7, "first_name": "Giuseppe", "last_name": "Hurley"},
    });
    let body = json!({"action": "candidate_stage_change", "payload": {"application": application}});
    body.to_string().into_bytes()
}
