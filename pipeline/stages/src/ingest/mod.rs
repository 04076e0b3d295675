//! Takes providers' requests in: what it acknowledges is on the broker.
