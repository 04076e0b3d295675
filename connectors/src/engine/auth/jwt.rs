//! A token that we sign ourselves (RFC 7519): sent as it is, or exchanged for another.

use std::time::Duration;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, Mac};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};
use tributary_schemas::time::Timestamp;

use super::{
    AuthError,
    entry::{Send, Take},
};
use crate::{
    definition::{
        Problem, auth::Jwt as Written, auth::Send as WrittenSend, keys::Named,
        text::Template as WrittenTemplate,
    },
    engine::{
        Trouble,
        jq::Helpers,
        names::{Name, Names, Scope},
        outcome::wait_of,
        request::{Authorization, Call, Request, Shared, Unmade},
        template::{Place, Template},
        value::Value,
    },
};

#[derive(Debug)]
pub(super) struct Jwt {
    alg: Alg,
    key: Template,
    claims: Template,
    head: Template,
    life: Duration,
    exchange: Call,
    take: Take,
    send: Send,
}

#[derive(Debug, Clone, Copy)]
enum Alg {
    Hs256,
    Rs256,
}

impl Jwt {
    pub(super) fn compile(written: &Written, scope: &Scope, helpers: &Helpers) -> Result<Self, Problem> {
        let alg = match written.alg.as_str() {
            "HS256" => Alg::Hs256,
            "RS256" => Alg::Rs256,
            other => return Err(Problem::unknown("algorithm", other, ["HS256", "RS256"]).at("alg")),
        };
        let plain = |it: &WrittenTemplate, key: &'static str| {
            Template::compile(it, Place::Text, scope, helpers).map_err(|problem| problem.at(key))
        };
        let json = |it: &WrittenTemplate, key: &'static str| {
            Template::compile(it, Place::Json, scope, helpers).map_err(|problem| problem.at(key))
        };
        let exchange = written.exchange.as_ref().ok_or_else(|| {
            Problem::new("the key `exchange` is missing: where the signed token is exchanged")
        })?;
        let send = written.send.clone().unwrap_or_else(|| WrittenSend {
            header: Named(vec![(
                "authorization".into(),
                WrittenTemplate::Text("Bearer {$auth.token}".into()),
            )]),
            query: Named::default(),
            basic: None,
        });
        Ok(Self {
            alg,
            key: plain(&written.key, "key")?,
            claims: json(&written.claims, "claims")?,
            head: json(&written.head, "head")?,
            life: written.life,
            exchange: Call::compile(exchange, &scope.clone().and(Name::Token), helpers)
                .map_err(|it| it.at("exchange"))?,
            take: Take::compile(&written.take, scope, helpers)?,
            send: Send::compile(&send, scope, helpers).map_err(|problem| problem.at("send"))?,
        })
    }

    /// The request that exchanges a token that is signed now.
    pub(super) fn ask(&self, shared: &Shared, names: &Names, now: Timestamp) -> Result<Request, AuthError> {
        let names = names.clone().with(Name::Token, Value::text(&self.signed(names, now)?));
        Ok(self.exchange.make(shared, &Value::null(), &names, &Authorization::default())?)
    }

    fn signed(&self, names: &Names, now: Timestamp) -> Result<String, Unmade> {
        let mut head =
            json!({ "alg": match self.alg { Alg::Hs256 => "HS256", Alg::Rs256 => "RS256" }, "typ": "JWT" });
        merge(&mut head, self.head.json(&Value::null(), names)?);
        let mut claims = json!({ "iat": now.as_seconds(), "exp": now.plus(self.life).as_seconds() });
        merge(&mut claims, self.claims.json(&Value::null(), names)?);
        if claims.get("jti").is_none() {
            let digest = Sha256::digest(format!("{claims}{}", now.as_micros()));
            claims["jti"] = Json::from(URL_SAFE_NO_PAD.encode(&digest[..16]));
        }
        let part = |value: &Json| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&head), part(&claims));
        let key = self
            .key
            .text(&Value::null(), names)?
            .ok_or_else(|| Unmade::Trouble("the key to sign with is not given".into()))?;
        let signature = match self.alg {
            Alg::Hs256 => {
                let mut mac =
                    Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
                mac.update(message.as_bytes());
                mac.finalize().into_bytes().to_vec()
            }
            Alg::Rs256 => rsa(&key, message.as_bytes())?,
        };
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    pub(super) fn take(&self, body: &Value, names: &Names) -> Map<String, Json> {
        let mut values = self.take.from(body, names);
        let token = body.get("access_token");
        if !values.contains_key("token") && !token.is_null() {
            values.insert("token".into(), token.to_json());
        }
        values
    }

    pub(super) fn ends(&self, body: &Value, now: Timestamp) -> Option<Timestamp> {
        let said = body.get("expires_in").as_text().and_then(|text| wait_of(&text, now));
        Some(now.plus(said.unwrap_or(self.life)))
    }

    pub(super) fn send(&self, names: &Names) -> Result<Authorization, Trouble> {
        self.send.make(names)
    }
}

fn merge(into: &mut Json, from: Option<Value>) {
    if let (Json::Object(into), Some(Json::Object(from))) = (into, from.map(|from| from.to_json())) {
        into.extend(from);
    }
}

/// RSA's PKCS #1 v1.5: the same signature each time, so that no chance is in it.
fn rsa(pem: &str, message: &[u8]) -> Result<Vec<u8>, Unmade> {
    let wrong = || Unmade::Trouble("the key to sign with is no RSA key in PEM".into());
    // A set-up form may have turned the line ends of the key into `\n`.
    let pem = pem.replace("\\n", "\n");
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect::<String>()
        .split_whitespace()
        .collect();
    let der = STANDARD.decode(body).map_err(|_| wrong())?;
    let pair = match pem.contains("BEGIN RSA PRIVATE KEY") {
        true => RsaKeyPair::from_der(&der),
        false => RsaKeyPair::from_pkcs8(&der),
    };
    let pair = pair.map_err(|_| wrong())?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(|_| wrong())?;
    Ok(signature)
}
