//! Real models in the real ONNX Runtime. The first run fetches them into the user's cache (or `VISAVIS_CACHE_DIR`).
//! One binary for all: it links once. (`cfg(test)` tells clippy that helpers are tests too.)

#[cfg(test)]
mod common;
#[cfg(test)]
mod detectors;
#[cfg(test)]
mod embedders;
#[cfg(test)]
mod graphs;
#[cfg(test)]
mod pool;
#[cfg(test)]
mod session;
