//! Vectors that providers publish, or that Python's `hmac` computed; and that nothing else verifies.

use proptest::prelude::*;

use super::*;
use crate::{
    definition::{keys::Read, node::Node},
    engine::inbound::{Asked, NAMES},
};

/// Provider, scheme, secret, URL, headers, body, and the second at which it is verified.
struct Vector(&'static str, &'static str, &'static str, &'static str, Headers, &'static str, i64);
type Headers = &'static [(&'static str, &'static str)];

const BODY: &str = "{\"a\":\"é\",\"id\":11}";

const VECTORS: &[Vector] = &[
    Vector(
        "GitHub's documentation",
        r#"{ hmac: sha256, over: [$body], in: $headers.x-hub-signature-256, prefix: "sha256=" }"#,
        "It's a Secret to Everybody",
        "",
        &[("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")],
        "Hello, World!",
        0,
    ),
    Vector(
        "Python: Slack's scheme",
        r#"{ hmac: sha256, over: ["v0:", $headers.x-slack-request-timestamp, ":", $body], in: $headers.x-slack-signature, prefix: "v0=", at: $headers.x-slack-request-timestamp, tolerance: 5m }"#,
        "8f742231b10e8888abcd99yyyzzz85a5",
        "",
        &[
            ("x-slack-request-timestamp", "1531420618"),
            ("x-slack-signature", "v0=6921433b9469ba3ca85f8bb7eb80e13dee5d91f1fe096719805904d47da1eda3"),
        ],
        "token=xyzz0WbapA4vBCDEFxx0TG&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
        1_531_420_618,
    ),
    Vector(
        "the Standard Webhooks specification",
        r#"{ hmac: sha256, key: whsec, over: [$headers.webhook-id, ".", $headers.webhook-timestamp, ".", $body], in: $headers.webhook-signature, separator: " ", prefix: "v1,", encoding: base64, at: $headers.webhook-timestamp, tolerance: 5m }"#,
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "",
        &[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v2,x v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ],
        r#"{"test": 2432232314}"#,
        1_614_265_330,
    ),
    Vector(
        "Greenhouse",
        r#"{ hmac: sha256, over: [$body], in: $headers.signature, prefix: "sha256 " }"#,
        "gh-secret",
        "",
        &[("signature", "sha256 92c750dd64673d8054b8a6f609b7ff2828d74d0fb1327e84cc32677a1dfad8d8")],
        r#"{"action":"job_deleted","payload":{"job":{"id":209256,"name":"Project Manager"}}}"#,
        0,
    ),
    Vector(
        "Lever",
        "{ hmac: sha256, over: [.token, .triggeredAt], in: .signature }",
        "81358960e95ed76bf1def200692c2f956818caf168682e26",
        "",
        &[],
        r#"{"triggeredAt":1782974002353,"token":"c0ffee00aa11","signature":"51e703c1a9a353ed713519ccce3a61fc226c455e0af2d192da0b7f23ee2fef63"}"#,
        0,
    ),
    Vector(
        "BambooHR",
        "{ hmac: sha256, over: [$body, $headers.x-bamboohr-timestamp], in: $headers.x-bamboohr-signature, at: $headers.x-bamboohr-timestamp, tolerance: 300s }",
        "37387786e9cb3827cccabcaf8baca227",
        "",
        &[
            ("x-bamboohr-signature", "aaf6927924f7e26496525a7a15d0ba5cfc302f76577af6666a62b81f30629814"),
            ("x-bamboohr-timestamp", "1769884920"),
        ],
        r#"{"type":"employee.deleted","timestamp":"2026-01-31T18:42:00+0000","data":{"companyId":"12345","employeeId":"67890"}}"#,
        1_769_884_920,
    ),
    Vector(
        "HiBob",
        "{ hmac: sha512, over: [$body], in: $headers.bob-signature, encoding: base64 }",
        "bob-secret",
        "",
        &[(
            "bob-signature",
            "ZccydSAMB6aRD7kYTXiSxQG/EEogoKIZBkzjdFnRlH+T6iDaVSb+H36Tz3cCeAKtsJNgS/l67qKAVqfoZz1HhQ==",
        )],
        r#"{"companyId":636192,"type":"employee.deleted","triggeredBy":"system","triggeredAt":"2026-01-08T13:06:26.915906","version":"v2","data":{"employeeId":"3332883854254932743"}}"#,
        0,
    ),
    Vector(
        "HubSpot",
        "{ hmac: sha256, over: [$method, $url, $body, $headers.x-hubspot-request-timestamp], in: $headers.x-hubspot-signature-v3, encoding: base64, at: $headers.x-hubspot-request-timestamp, as: epoch_ms, tolerance: 300s }",
        "hs-client-secret",
        "https://hooks.example.com/h/acc1",
        &[
            ("x-hubspot-signature-v3", "G2hCRYl+Urj2KhObpqe5fvIWes1a9iEGsRsp2ke/A+Y="),
            ("x-hubspot-request-timestamp", "1767261600500"),
        ],
        r#"[{"eventId":100,"subscriptionId":1234,"portalId":62515,"appId":98765,"occurredAt":1767261600000,"subscriptionType":"contact.deletion","attemptNumber":0,"objectId":123,"changeFlag":"DELETED","changeSource":"CRM_UI"}]"#,
        1_767_261_600,
    ),
    Vector(
        "360Learning",
        r#"{ hmac: sha256, key: whsec, over: ["{$headers.webhook-id}.{$headers.webhook-timestamp}.", $body], in: $headers.webhook-signature, separator: " ", prefix: "v1,", encoding: base64, at: $headers.webhook-timestamp, tolerance: 5m }"#,
        "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "",
        &[
            ("webhook-id", "msg_35bE2UOtsaBIqUl7VW4mLuR9q2B"),
            ("webhook-timestamp", "1763370163"),
            ("webhook-signature", "v1,AAAA v1,eMMkjm1dev0W3TlKdIrC61jpECu4WuWChiYbo2psu8Y="),
        ],
        r#"{"type":"user.deleted","timestamp":1763370163,"data":{"userId":"507f1f77bcf86cd799439011"}}"#,
        1_763_370_163,
    ),
    Vector(
        "Python: SHA-1",
        "{ hmac: sha1, over: [$body], in: $query.sig }",
        "acme-secret",
        "https://in.example/n?sig=39f48cc29ca420034d5229486ac2af35774ceaf6",
        &[],
        BODY,
        0,
    ),
    Vector(
        "Python: pairs in one header, of which one comes twice",
        r#"{ hmac: sha256, pairs: $headers.sig, over: [$pairs.t, ".", $body], in: $pairs.v1, at: $pairs.t, tolerance: 1s }"#,
        "acme-secret",
        "",
        &[(
            "sig",
            "t=1767261600, v1=ab, v1=6959da756a76193d884668b85c4082afb2dc08b0395e4d119b357a630344a662",
        )],
        BODY,
        1_767_261_600,
    ),
    Vector(
        "Python: method and URL with its query",
        "{ hmac: sha256, over: [$method, $url, $body], in: $headers.sig, encoding: base64 }",
        "acme-secret",
        "https://in.example/native/x/t?b=2&a=%20",
        &[("sig", "xCoe6T4DAYxlUejtRxqLmSk5kAOxj+owOkagdzPpAn8=")],
        BODY,
        0,
    ),
    Vector(
        "Python: base64url",
        "{ hmac: sha256, over: [/, $body], in: $headers.sig, encoding: base64url }",
        "acme-secret",
        "",
        &[("sig", "UyB-8dAfkk0Fmm8DIDbEHDUnyMU-m4605lL-o2URbFI")],
        BODY,
        0,
    ),
    Vector(
        "Python: a hexadecimal key",
        "{ hmac: sha512, key: hex, over: [$body], in: $headers.sig }",
        "00ff10",
        "",
        &[(
            "sig",
            "91a02f9a9f4fafb53c1d8456a664fde5188a3939c9e073f8be1f68b4a426fe109bceb87f6a04574f51cfb88d69de54d867d781608d7748f18f49cc9f4d7c7cff",
        )],
        BODY,
        0,
    ),
    Vector(
        "Python: a key in base64",
        "{ hmac: sha256, key: base64, over: [$body], in: $headers.sig }",
        "AP8Q",
        "",
        &[("sig", "6791bbbf096c5709e2af013f42dc8cf8db465b54d61463068f86ca929db754a3")],
        BODY,
        0,
    ),
    Vector(
        "Python: a moment as text",
        r#"{ hmac: sha256, over: [$headers.at, ":", $body], in: $headers.sig, at: $headers.at, as: rfc3339, tolerance: 0s }"#,
        "acme-secret",
        "",
        &[
            ("at", "2026-01-01T10:00:00Z"),
            ("sig", "4cedeef553e0b299c0473bcf24396f7a70edc05196eb34e8579cc26eebebc407"),
        ],
        BODY,
        1_767_261_600,
    ),
    Vector(
        "a shared token in each item",
        "{ token: .clientState }",
        "s3cr3t",
        "",
        &[],
        r#"[{"clientState":"s3cr3t"},{"clientState":"s3cr3t"}]"#,
        0,
    ),
    Vector(
        "a bearer token",
        r#"{ token: $headers.authorization, prefix: "Bearer " }"#,
        "s3cr3t",
        "",
        &[("authorization", "Bearer s3cr3t")],
        "",
        0,
    ),
    Vector(
        "HTTP Basic",
        "{ basic: true }",
        "user:pass",
        "",
        &[("authorization", "basic dXNlcjpwYXNz")],
        "",
        0,
    ),
    Vector(
        "either of two",
        "{ any: [{ token: $headers.token }, { hmac: sha1, over: [$body], in: $headers.sig }] }",
        "acme-secret",
        "",
        &[("sig", "39f48cc29ca420034d5229486ac2af35774ceaf6"), ("token", "another")],
        BODY,
        0,
    ),
];

fn compiled(written: &str) -> Verify {
    let written = verify::Verify::read(&Node::parse(written).unwrap()).unwrap();
    written.check().unwrap();
    let scope = NAMES.into_iter().fold(Scope::of(&[Name::App, Name::Setup]), Scope::and);
    Verify::compile(&written, &scope, &Helpers::default()).unwrap()
}

fn verified(
    verify: &Verify,
    url: &str,
    headers: &[(String, String)],
    body: &[u8],
    secrets: &[&[u8]],
    now: i64,
) -> Result<(), Forged> {
    let request = Inbound { method: "POST", url, headers, body };
    let names =
        Names::new().with(Name::App, Value::parse(r#"{"client_secret":"s3cr3t","none":""}"#).unwrap());
    let names = request.names(names, Asked::of(verify.uses(&Name::Body)));
    let json = request.json().unwrap_or(Value::null());
    let items = json.items().unwrap_or_else(|| vec![json.clone()]);
    let now = Timestamp::from_micros(now * 1_000_000);
    let claim = Claim { request: &request, body: &json, items: &items, names: &names, secrets, now };
    verify.verify(&claim)
}

fn headers(given: &[(&str, &str)]) -> Vec<(String, String)> {
    given.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

#[test]
fn what_providers_sign_is_verified_with_any_live_secret_and_with_no_other() {
    for Vector(what, scheme, secret, url, given, body, now) in VECTORS {
        let (verify, headers) = (compiled(scheme), headers(given));
        let try_with = |secrets: &[&[u8]]| verified(&verify, url, &headers, body.as_bytes(), secrets, *now);
        let wrong: &[u8] = if secret.starts_with("whsec") { b"whsec_d3Jvbmc=" } else { b"0102" };
        assert_eq!(try_with(&[secret.as_bytes()]), Ok(()), "{what}");
        assert_eq!(try_with(&[wrong, secret.as_bytes()]), Ok(()), "{what}: the second key");
        assert_eq!(try_with(&[wrong]), Err(Forged::Mismatch), "{what}: another key");
        assert_eq!(try_with(&[]), Err(Forged::NoSecret), "{what}: no key");
        assert_eq!(try_with(&[b""]), Err(Forged::NoSecret), "{what}: an empty key");
    }
}

#[test]
fn a_signature_holds_for_its_tolerance_and_no_second_longer() {
    for Vector(what, scheme, secret, url, given, body, now) in VECTORS {
        let Some(tolerance) = [("tolerance: 5m", 300), ("tolerance: 300s", 300), ("tolerance: 1s", 1)]
            .into_iter()
            .find_map(|(written, seconds)| scheme.contains(written).then_some(seconds))
        else {
            continue;
        };
        let (verify, headers) = (compiled(scheme), headers(given));
        for (off, expected) in
            [(tolerance, Ok(())), (tolerance + 1, Err(Forged::Stale)), (-tolerance - 1, Err(Forged::Stale))]
        {
            // HubSpot's is half a second behind the full one.
            let off = if scheme.contains("epoch_ms") && off == -tolerance - 1 { off - 1 } else { off };
            let found = verified(&verify, url, &headers, body.as_bytes(), &[secret.as_bytes()], now + off);
            assert_eq!(found, expected, "{what}: {off} s");
        }
    }
}

#[test]
fn what_is_not_there_verifies_nothing() {
    let token =
        |body: &str| verified(&compiled("{ token: .clientState }"), "", &[], body.as_bytes(), &[b"s"], 0);
    for (body, expected) in [
        (r#"[{"clientState":"s"},{"clientState":"t"}]"#, Err(Forged::Mismatch)),
        (r#"[{"clientState":"s"},{}]"#, Err(Forged::Missing)),
        (r#"[{"clientState":"s"},7]"#, Err(Forged::Missing)),
        (r#"[{"clientState":""}]"#, Err(Forged::Missing)),
        ("[]", Err(Forged::Missing)),
        ("", Err(Forged::Missing)),
        ("no json", Err(Forged::Missing)),
    ] {
        assert_eq!(token(body), expected, "{body}");
    }
    let absent = r#"{ hmac: sha1, over: [$body, $headers.x-time], in: $query.sig }"#;
    let url = "https://in.example/n?sig=39f48cc29ca420034d5229486ac2af35774ceaf6";
    let found = verified(&compiled(absent), url, &[], BODY.as_bytes(), &[b"acme-secret"], 0);
    assert_eq!(found, Err(Forged::Missing), "a part of what is signed, as if it were empty");
    let bad = compiled("{ hmac: sha1, key: hex, over: [$body], in: $query.sig }");
    assert_eq!(
        verified(&bad, url, &[], b"", &[b"no hex"], 0),
        Err(Forged::NoSecret),
        "a secret that is no key"
    );
}

#[test]
fn a_secret_of_the_definitions_stands_before_the_accounts() {
    let given = headers(&[("token", "s3cr3t")]);
    let with = |written: &str| verified(&compiled(written), "", &given, b"", &[b"accounts"], 0);
    assert_eq!(with("{ token: $headers.token, secret: $app.client_secret }"), Ok(()));
    assert_eq!(with("{ token: $headers.token, secret: $app.none }"), Err(Forged::NoSecret));
    assert_eq!(with("{ token: $headers.token, secret: $app.absent }"), Err(Forged::NoSecret));
    assert_eq!(with("{ token: $headers.token }"), Err(Forged::Mismatch));
    assert_eq!(with("{ none: secret_url }"), Ok(()));
}

#[test]
fn a_header_that_comes_twice_is_the_first() {
    let given = headers(&[("token", "ours"), ("token", "theirs")]);
    let verify = compiled("{ token: $headers.token }");
    assert_eq!(verified(&verify, "", &given, b"", &[b"ours"], 0), Ok(()));
    assert_eq!(verified(&verify, "", &given, b"", &[b"theirs"], 0), Err(Forged::Mismatch));
}

proptest! {
    /// Whatever bit of body, URL, method, signed header, signature or secret is another, it is refused.
    #[test]
    fn any_bit_changed_is_refused(which in 0..VECTORS.len(), place in any::<prop::sample::Index>(), bit in 0..7_u8) {
        let Vector(what, scheme, secret, url, given, body, now) = &VECTORS[which];
        // What is shared is compared as it is, and says nothing of the body; of two keys in one header one is nobody's.
        prop_assume!(!scheme.starts_with("{ token") && !scheme.starts_with("{ basic") && !scheme.starts_with("{ any"));
        let verify = compiled(scheme);
        let flip = |bytes: &mut Vec<u8>, at: usize| bytes[at] ^= 1 << bit;
        let signed: Vec<u8> = match *what {
            "Lever" => Vec::new(),
            _ => body.as_bytes().to_vec(),
        };
        // Lever signs two of its fields alone.
        if !signed.is_empty() {
            let mut forged = signed.clone();
            flip(&mut forged, place.index(signed.len()));
            let headers = headers(given);
            prop_assert!(verified(&verify, url, &headers, &forged, &[secret.as_bytes()], *now).is_err(), "{what}: body");
        }
        for (name, value) in *given {
            // The first signatures of several are nobody's.
            let begin = value.rfind(' ').map_or(0, |at| at + 1);
            let mut forged = value.as_bytes().to_vec();
            flip(&mut forged, begin + place.index(value.len() - begin));
            let Ok(forged) = String::from_utf8(forged) else { continue };
            let headers: Vec<(String, String)> = given
                .iter()
                .map(|(it, same)| ((*it).into(), if it == name { forged.clone() } else { (*same).into() }))
                .collect();
            // White space around a signature says nothing.
            prop_assume!(forged.trim() == forged);
            prop_assert!(verified(&verify, url, &headers, body.as_bytes(), &[secret.as_bytes()], *now).is_err(), "{what}: {name}");
        }
        if scheme.contains("$url") {
            let mut forged = url.as_bytes().to_vec();
            flip(&mut forged, place.index(url.len()));
            let headers = headers(given);
            let forged = String::from_utf8(forged).unwrap();
            prop_assert!(verified(&verify, &forged, &headers, body.as_bytes(), &[secret.as_bytes()], *now).is_err(), "{what}: URL");
        }
    }

    #[test]
    fn nothing_that_comes_in_breaks_it(which in 0..VECTORS.len(), body in any::<Vec<u8>>(), value in "\\PC{0,40}", url in "\\PC{0,40}") {
        let Vector(_, scheme, secret, _, given, _, now) = &VECTORS[which];
        let headers: Vec<_> = given.iter().map(|(name, _)| ((*name).to_owned(), value.clone())).collect();
        prop_assert!(verified(&compiled(scheme), &url, &headers, &body, &[secret.as_bytes()], *now).is_err());
    }
}
