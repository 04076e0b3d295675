//! What a provider says: definitions and the engine that reads them. No I/O.
