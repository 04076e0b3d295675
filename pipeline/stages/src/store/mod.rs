//! What is kept: unify's state and control's entities, each with two implementations.
