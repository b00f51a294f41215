//! Fuzz targets for everything that reads what came from outside. The binaries in targets/ are libFuzzer's; what they
//! call is here, and in `gateway::fuzzing` for what is private to the gateway.

pub mod harness;
