//! Orders in which things can come, one by one.
