//! What one message may not be.
