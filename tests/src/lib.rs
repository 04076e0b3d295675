//! The black-box tests: end to end, simulation, faults, benchmarks.
