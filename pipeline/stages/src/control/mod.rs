//! The REST API over the entities.
