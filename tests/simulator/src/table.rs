//! What each provider offers, as a table: of the same data that answers.

use crate::{provider::Provider, report::label, webhooks::how, world::World};
use serde_json::{Value, json};
use std::fmt::Write;

pub(crate) fn json(world: &World) -> Value {
    let of = |provider: &Provider| {
        json!({
            "provider": provider.name, "title": provider.title, "credentials": provider.credentials,
            "kinds": provider.kinds.iter().map(|k| json!({"resource": k.resource, "word": k.word})).collect::<Vec<_>>(),
            "routes": provider.routes.iter().map(|r| json!({"route": label(r), "what": r.what.word(), "resource": r.resource,
                "query": r.query, "body": r.body, "switch": r.switch})).collect::<Vec<_>>(),
            "switches": provider.switches.iter().map(|(name, what)| json!({"setting": name, "what": what})).collect::<Vec<_>>(),
            "webhooks": how(provider),
        })
    };
    world.sides.values().map(|side| of(&side.provider)).collect()
}

/// The table of the README.
pub(crate) fn markdown(world: &World) -> String {
    let mut text = String::from(
        "| provider | kinds | lists and feeds | limit | callbacks | behind a setting |\n|---|---|---|---|---|---|\n",
    );
    for side in world.sides.values() {
        let provider = &side.provider;
        let kinds: Vec<_> = provider.kinds.iter().map(|k| format!("`{}`", k.resource)).collect();
        let lists = provider.routes.iter().filter(|r| matches!(r.what.word(), "list" | "feed"));
        let lists: Vec<_> = lists.map(|r| format!("`{}`", label(r))).collect();
        let limit =
            provider.limit.map_or_else(|| "–".to_owned(), |l| format!("{} in {} s", l.most, l.seconds));
        let switches: Vec<_> =
            provider.switches.iter().map(|(name, what)| format!("`{name}`: {what}")).collect();
        let _ = writeln!(
            text,
            "| {} (`{}`) | {} | {} | {limit} | {} | {} |",
            provider.title,
            provider.name,
            kinds.join(" "),
            lists.join("<br>"),
            how(provider),
            switches.join("<br>"),
        );
    }
    text
}
