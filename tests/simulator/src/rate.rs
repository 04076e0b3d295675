//! Rate limits: a window of requests for each tenant, by its own clock.

use crate::{
    provider::{Limit, Window},
    world::Tenant,
};

/// Counts a request. Whether it is still allowed, and how the window stands.
pub(crate) fn count(limit: &Limit, tenant: &mut Tenant) -> (bool, Window) {
    let most = tenant.settings.get("rate").and_then(serde_json::Value::as_u64).unwrap_or(limit.most);
    let now = tenant.clock.now();
    let length = limit.seconds * 1000;
    if now - tenant.window.0 >= length {
        tenant.window = (now, 0);
    }
    tenant.window.1 += 1;
    let ends = tenant.window.0 + length;
    let window = Window {
        most,
        left: most.saturating_sub(tenant.window.1),
        reset: ends.div_euclid(1000) + 1,
        wait: (ends - now).div_euclid(1000) + 1,
    };
    (tenant.window.1 <= most, window)
}

/// `X-RateLimit-Limit`, `-Remaining` and `-Reset` in seconds since 1970.
pub(crate) fn x_rate_limit(window: &Window) -> Vec<(&'static str, String)> {
    vec![
        ("x-ratelimit-limit", window.most.to_string()),
        ("x-ratelimit-remaining", window.left.to_string()),
        ("x-ratelimit-reset", window.reset.to_string()),
    ]
}

/// `X-Rate-Limit-Limit`, `-Remaining` and `-Reset` in seconds since 1970.
pub(crate) fn x_rate_limit_dashed(window: &Window) -> Vec<(&'static str, String)> {
    vec![
        ("x-rate-limit-limit", window.most.to_string()),
        ("x-rate-limit-remaining", window.left.to_string()),
        ("x-rate-limit-reset", window.reset.to_string()),
    ]
}

/// `Retry-After` in seconds.
pub(crate) fn retry_after(window: &Window) -> Vec<(&'static str, String)> {
    vec![("retry-after", window.wait.to_string())]
}

/// No headers.
pub(crate) fn silent(_: &Window) -> Vec<(&'static str, String)> {
    Vec::new()
}
