//! For tests only: photos of real people fetched by checksum, pictures made from them, the evaluation data where it is
//! there, the real service as a process with a client for it, the servers beside it, and a proxy that breaks connections. Everything here fails a test by panicking.

#![expect(clippy::expect_used, clippy::panic, reason = "its callers are tests")]

mod answer;
mod app;
mod binary;
mod client;
mod cluster;
mod fault;
mod fixtures;
mod manifests;
mod nginx;
mod overdue;
mod package;
mod people;
mod picture;
mod plain;
mod pod;
mod process;
mod redis;
mod redis_cluster;
mod redis_options;
mod resp;
mod s3;
mod servers;
mod service;
mod service_options;
mod shared;
mod small_disk;
mod target;
mod token;

pub use answer::Answer;
pub use app::{AppOptions, TestApp};
pub use binary::{binary, build_once};
pub use client::{Client, Http, Image, encoded, enrolment, part};
pub use cluster::{Cluster, ClusterOptions};
pub use fault::FaultProxy;
pub use fixtures::{Fixture, fixture};
pub use manifests::Manifests;
pub use nginx::{Nginx, NginxOptions};
pub use overdue::{bound_this_test, bound_this_test_to};
pub use package::cache_dir;
pub use people::{Person, two_people};
pub use picture::{Picture, png_header_only};
pub use plain::get as get_plainly;
pub use pod::{Pod, Surroundings};
pub use process::{Memory, forget_peak, memory_of, signal};
pub use redis::RedisServer;
pub use redis_cluster::{RedisCluster, Sentinels};
pub use redis_options::{Product, RedisOptions};
pub use s3::S3Server;
pub use servers::k6;
pub use service::{SEALING_KEY, Service};
pub use service_options::{Role, ServiceOptions};
pub use shared::{Row, read_csv, shared, shared_or_skip};
pub use small_disk::SmallDisk;
pub use target::Target;
pub use token::{Signer, claims, compact, key_set, unix_seconds};
