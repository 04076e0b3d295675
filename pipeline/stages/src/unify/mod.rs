//! Decides the events, exactly once.
