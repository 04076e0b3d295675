//! Secrets, and the key ring that seals them.
