//! The wire: generated protobuf messages ([`v1`]) and their conversions to and from the domain.
//! Gateways and workers use the messages; only this crate knows how they are encoded.

mod codec;
mod convert;
mod subjects;
mod training;

/// Generated from `proto/visavis/v1`.
#[expect(missing_docs, clippy::large_enum_variant, reason = "generated; the .proto files carry the documentation")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/visavis.v1.rs"));
}

pub use codec::{
    WireError, decode_envelope, decode_item, decode_presence, decode_reply, encode_envelope, encode_item,
    encode_presence, encode_reply, job_kind, renewed_envelope, request_kind,
};
pub use subjects::{told_by, told_of};
pub use training::{RUN_DEADLINE, train_envelope};
