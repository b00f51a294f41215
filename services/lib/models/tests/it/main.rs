//! One binary for all tests of the crate: it links once. (`cfg(test)` tells clippy that helpers are tests too.)

#[cfg(test)]
mod common;
#[cfg(test)]
mod fetch;
#[cfg(test)]
mod import;
#[cfg(test)]
mod manifest;
#[cfg(test)]
mod quantised;
