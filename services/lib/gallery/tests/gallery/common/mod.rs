//! What the tests of galleries share: reproducible vectors, and ids.

pub mod enrolled;

use std::sync::Arc;

use domain::{ContractId, FaceId, Metadata, SubjectId, Template};
use store::SubjectHandle;
use visavis_gallery::{RowKey, SubjectEntry};

pub fn contract(n: u8) -> ContractId {
    ContractId::from_bytes([n; 16])
}

pub fn handle(subject: u16) -> SubjectHandle {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&subject.to_be_bytes());
    SubjectHandle(bytes)
}

pub fn subject_id(subject: u16) -> SubjectId {
    SubjectId::new(format!("s{subject}")).unwrap()
}

pub fn face_id(face: u32) -> FaceId {
    FaceId::new(format!("f{face:05}")).unwrap()
}

pub fn key(subject: u16, face: u32) -> RowKey {
    RowKey { handle: handle(subject), face_id: face_id(face) }
}

pub fn entry(subject: u16, labels: &[(&str, &str)]) -> Arc<SubjectEntry> {
    Arc::new(SubjectEntry {
        id: subject_id(subject),
        external_id: None,
        metadata: metadata(labels),
        terms: Arc::default(),
    })
}

pub fn metadata(labels: &[(&str, &str)]) -> Metadata {
    Metadata(labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

/// A reproducible direction for every seed (xorshift).
pub fn direction(seed: u64, dim: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let raw: Vec<f32> = (0..dim).map(|_| next() + next() + next()).collect();
    let norm = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
    raw.into_iter().map(|x| x / norm).collect()
}

pub fn template(contract_: u8, seed: u64, dim: usize) -> Template {
    Template::from_embedding(contract(contract_), &direction(seed, dim)).unwrap()
}
