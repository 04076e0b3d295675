//! What stands in for the world: the in-process broker, a demo provider, an inbox.
