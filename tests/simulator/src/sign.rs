//! How providers sign: one function a digest and an encoding. What is signed, and in which header it goes, is the
//! provider's file.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};

fn sha256(key: &[u8], signed: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(signed);
    mac.finalize().into_bytes().to_vec()
}

pub(crate) fn hex_sha256(key: &str, signed: &[u8]) -> String {
    hex::encode(sha256(key.as_bytes(), signed))
}

pub(crate) fn base64_sha256(key: &str, signed: &[u8]) -> String {
    STANDARD.encode(sha256(key.as_bytes(), signed))
}

pub(crate) fn base64_sha512(key: &str, signed: &[u8]) -> String {
    let mut mac = Hmac::<Sha512>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(signed);
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Standard Webhooks: the key is what `whsec_` is followed by, decoded.
pub(crate) fn standard(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> String {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap_or_default();
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    format!("v1,{}", STANDARD.encode(sha256(&key, &signed)))
}

/// A digest of a text: what ids, tokens and secrets are made from, so that the same calls give the same ones.
pub(crate) fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

pub(crate) fn base64_text(text: &str) -> String {
    STANDARD.encode(text)
}

pub(crate) fn from_base64(text: &str) -> Option<String> {
    STANDARD.decode(text.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}

/// PKCE (RFC 7636): base64url without padding of the verifier's SHA-256.
pub(crate) fn challenge(verifier: &str) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's `hmac` from the providers' pages.
    #[test]
    fn each_digest_and_encoding_gives_its_published_vector() {
        let body = r#"{"action":"job_deleted","payload":{"job":{"id":209256,"name":"Project Manager"}}}"#;
        let greenhouse = "92c750dd64673d8054b8a6f609b7ff2828d74d0fb1327e84cc32677a1dfad8d8";
        assert_eq!(hex_sha256("gh-secret", body.as_bytes()), greenhouse);
        let lever = "51e703c1a9a353ed713519ccce3a61fc226c455e0af2d192da0b7f23ee2fef63";
        assert_eq!(
            hex_sha256("81358960e95ed76bf1def200692c2f956818caf168682e26", b"c0ffee00aa111782974002353"),
            lever
        );
        let body = r#"{"companyId":636192,"type":"employee.deleted","triggeredBy":"system","triggeredAt":"2026-01-08T13:06:26.915906","version":"v2","data":{"employeeId":"3332883854254932743"}}"#;
        let hibob =
            "ZccydSAMB6aRD7kYTXiSxQG/EEogoKIZBkzjdFnRlH+T6iDaVSb+H36Tz3cCeAKtsJNgS/l67qKAVqfoZz1HhQ==";
        assert_eq!(base64_sha512("bob-secret", body.as_bytes()), hibob);
        let signed = r#"POSThttps://hooks.example.com/h/acc1[{"eventId":100,"subscriptionId":1234,"portalId":62515,"appId":98765,"occurredAt":1767261600000,"subscriptionType":"contact.deletion","attemptNumber":0,"objectId":123,"changeFlag":"DELETED","changeSource":"CRM_UI"}]1767261600500"#;
        assert_eq!(
            base64_sha256("hs-client-secret", signed.as_bytes()),
            "G2hCRYl+Urj2KhObpqe5fvIWes1a9iEGsRsp2ke/A+Y="
        );
        let body =
            r#"{"type":"user.deleted","timestamp":1763370163,"data":{"userId":"507f1f77bcf86cd799439011"}}"#;
        let secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        let signed = standard(secret, "msg_35bE2UOtsaBIqUl7VW4mLuR9q2B", 1_763_370_163, body.as_bytes());
        assert_eq!(signed, "v1,eMMkjm1dev0W3TlKdIrC61jpECu4WuWChiYbo2psu8Y=");
    }
}
