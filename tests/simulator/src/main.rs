//! `simulator`: all providers on one port.

use anyhow::Context;
use clap::Parser;
use std::io::Write;

/// Simulates the SaaS providers that Tributary connects, on one port of this machine.
///
/// It prints `TRIBUTARY_SIMULATOR=http://127.0.0.1:<port>` once it listens. A provider answers at
/// /<provider>/<tenant>/<its own path>: HubSpot's https://api.hubapi.com/crm/v3/objects/contacts is
/// /hubspot/acme/crm/v3/objects/contacts; all hosts of a provider are one here. Nothing is kept.
#[derive(Parser)]
#[command(name = "simulator", after_long_help = CONTROL)]
struct Arguments {
    /// The port, or `auto` for a free one
    #[arg(long, default_value = "auto")]
    port: String,
    /// Print the table of what each provider offers, and end
    #[arg(long)]
    table: bool,
}

const CONTROL: &str = "\
Driving it (JSON; an error of yours is answered {\"simulator\": \"what is wrong\"}):
  GET    /_sim/providers                                 what each offers: kinds, routes, credentials, settings
  PUT    /_sim/<provider>/<tenant>                       make a tenant; {settings, credentials}; answers base_url and credentials
  GET PATCH DELETE of the same                           look at it, set more, remove it
  GET    /_sim/<provider>/<tenant>/records/<resource>    the truth: [{id, body}]
  POST   …/records/<resource>[?count=N]                  create; the body's fields (paths with dots) over an example
  PATCH  …/records/<resource>/<id>                       change; without a body something plain changes
  DELETE …/records/<resource>/<id>                       delete
         each answers {changes: [{id, hear: {event, remote_id}, native: [{event, subscription, url}]}]}
  POST   …/advance {seconds}                             the tenant's clock goes on: tokens, windows and subscriptions end, retries come
  POST   …/revoke                                        no token is good any more
  GET    …/subscriptions                                 with their secrets; PATCH …/<id> {status}; DELETE …/<id>
  POST   …/subscriptions {url, events, secret, extra}    a person registers by hand (or in the app's console): pings where the provider does
  POST   …/webhooks {hold, double, reverse, lose, forge} what goes wrong with callbacks from now on
  GET    …/outbox                                        what is still to be told
  GET    /_sim/<provider>/sent                           what was told, and how it was answered
  GET PATCH /_sim/<provider>/app                         the integrator's app: id, client, secret, URL, subscriptions
  POST   /_sim/fault {provider, tenant, fault, at, times, on, …}
         fault: break {status} | repeat_cursor | expire_token | lose_scope | empty | order | skip_while_deleting |
                delay {milliseconds} | date {seconds} | limited {seconds, retry_after: seconds|date|epoch|none, status} |
                half_body | error_body | html | total {by} | forget_cursors
         at: the first request that it bites (1); times: how many (1; 0 is all); on: token, list, feed, get, subscribe,
         other, all or a resource (lists and feeds)
  GET DELETE /_sim/fault?provider=&tenant=               with how often each has bitten; forget them
  GET    /_sim/report                                    offered and not asked for; asked for and not offered; faults that never bit
  POST   /_sim/reset                                     nothing was ever there

Settings of a tenant: `rate` (requests a window), `quota` (subscriptions), `token_seconds`, and what a provider's row of
--table has behind a setting: what isn't verified about it is off until it is set to true.

A walk by curl is in tests/simulator/README.md.";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut out = std::io::stdout();
    if arguments.table {
        write!(out, "{}", tributary_simulator::offers())?;
        return Ok(());
    }
    let port = match arguments.port.as_str() {
        "auto" => 0,
        port => port.parse::<u16>().context("--port is a number or `auto`")?,
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.context("listening")?;
    writeln!(out, "TRIBUTARY_SIMULATOR=http://{}", listener.local_addr()?)?;
    out.flush()?;
    tokio::select! {
        served = tributary_simulator::serve(listener) => served,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}
