//! The gateway over real HTTPS, with a real store and queue and a stand-in for the worker.

extern crate visavis_gateway as gateway;

mod access;
mod app;
mod contract;
mod conventions;
mod idempotency;
mod images;
mod jobs;
mod recognise;
mod resources;
mod serving;
mod worker;
