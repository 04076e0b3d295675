//! Webhooks and polled changes in, one unified exactly-once event stream out.
fn main() {}
