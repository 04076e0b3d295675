//! What to do about it: pure decisions. No I/O, no clock, no chance.
