//! The gateway over real HTTPS, with a real store and queue and a stand-in for the worker.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which the lint's own exception misses")]

extern crate visavis_gateway as gateway;

mod access;
mod admission;
mod app;
mod audit;
mod bulk;
mod contract;
mod conventions;
mod credentials;
mod erasure;
mod erasures;
mod events;
mod fragile;
mod idempotency;
mod images;
mod issuer;
mod jobs;
mod oidc;
mod outage;
mod presence;
mod recognise;
mod resources;
mod retention;
mod serving;
mod training;
mod transfer_refusals;
mod transfers;
mod unplugged;
mod worker;
