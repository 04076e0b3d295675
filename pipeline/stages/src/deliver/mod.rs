//! Delivers events to webhooks, signed.
