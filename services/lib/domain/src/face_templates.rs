//! The templates of one face: one for each embedding contract that its collection writes. Stored as one record, so that
//! whatever erases a face or a subject reaches every generation, and no face is ever half re-embedded.

use crate::{ContractId, Template, TemplateError};

/// Stands where a single template has its contract: no contract has these bytes (they would have to be the beginning of
/// a SHA-256).
const SEVERAL: [u8; 16] = *b"visavis-several\0";

/// Templates of one face, at most one for each contract.
#[derive(Clone, Debug, PartialEq)]
pub struct FaceTemplates(Vec<Template>);

impl From<Template> for FaceTemplates {
    fn from(template: Template) -> Self {
        Self(vec![template])
    }
}

impl FaceTemplates {
    /// The template of this contract.
    #[must_use]
    pub fn of(&self, contract: ContractId) -> Option<&Template> {
        self.0.iter().find(|t| t.contract() == contract)
    }

    /// The template of this contract, or else any: for who needs to know of what a face was enrolled with.
    #[must_use]
    pub fn of_or_first(&self, contract: ContractId) -> Option<&Template> {
        self.of(contract).or_else(|| self.0.first())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Template> {
        self.0.iter()
    }

    /// Adds a template, in place of one of the same contract.
    pub fn put(&mut self, template: Template) {
        self.0.retain(|t| t.contract() != template.contract());
        self.0.push(template);
    }

    /// Drops the templates of contracts that are not among these, but never the last one. Whether there were such.
    pub fn keep_only(&mut self, contracts: &[ContractId]) -> bool {
        let wanted = |t: &Template| contracts.contains(&t.contract());
        let before = self.0.len();
        if self.0.iter().any(wanted) {
            self.0.retain(wanted);
        } else {
            self.0.truncate(1);
        }
        self.0.len() < before
    }

    /// As it is stored. A single template is written as it always was ([`Template::to_bytes`]).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        if let [only] = &self.0[..] {
            return only.to_bytes();
        }
        let mut out = SEVERAL.to_vec();
        for template in &self.0 {
            let bytes = template.to_bytes();
            out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend(bytes);
        }
        out
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`TemplateError::Damaged`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TemplateError> {
        let Some(mut rest) = bytes.strip_prefix(&SEVERAL[..]) else {
            return Template::from_bytes(bytes).map(Self::from);
        };
        let mut all: Vec<Template> = Vec::new();
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<4>().ok_or(TemplateError::Damaged)?;
            let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| TemplateError::Damaged)?;
            let (one, after) = after.split_at_checked(length).ok_or(TemplateError::Damaged)?;
            let template = Template::from_bytes(one)?;
            if all.iter().any(|t| t.contract() == template.contract()) {
                return Err(TemplateError::Damaged);
            }
            all.push(template);
            rest = after;
        }
        if all.is_empty() { Err(TemplateError::Damaged) } else { Ok(Self(all)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn template(n: u8, values: &[f32]) -> Template {
        Template::from_embedding(ContractId::from_bytes([n; 16]), values).unwrap()
    }

    #[test]
    fn one_template_is_written_as_it_always_was_and_several_round_trip() {
        let one = template(1, &[1.0, 0.5]);
        let mut face = FaceTemplates::from(one.clone());
        assert_eq!(face.to_bytes(), one.to_bytes());
        face.put(template(2, &[0.1, 0.2, 0.3]));
        face.put(template(2, &[0.3, 0.2, 0.1]));
        assert_eq!(face.iter().count(), 2, "one for each contract");
        let read = FaceTemplates::from_bytes(&face.to_bytes()).unwrap();
        assert_eq!(read, face);
        assert_eq!(read.of(one.contract()), Some(&one));
        assert_eq!(read.of(ContractId::from_bytes([3; 16])), None);
        assert!(Template::from_bytes(&face.to_bytes()).map(|t| t.contract()) != Ok(one.contract()));
    }

    #[test]
    fn templates_go_by_contract_but_never_the_last_one() {
        let [a, b, c] = [1, 2, 3].map(|n| template(n, &[1.0, f32::from(n)]));
        let mut face = FaceTemplates::from(a.clone());
        face.put(b.clone());
        face.put(c.clone());
        assert!(face.keep_only(&[b.contract(), c.contract()]));
        assert_eq!(face.iter().cloned().collect::<Vec<_>>(), [b.clone(), c]);
        assert!(!face.keep_only(&[b.contract(), ContractId::from_bytes([3; 16])]));
        assert!(face.keep_only(&[a.contract()]), "somebody left behind keeps what there is");
        assert_eq!(face.iter().count(), 1);
    }

    proptest! {
        #[test]
        fn damaged_bytes_are_refused_without_a_panic(cut in 0usize..80, flip in 0usize..80) {
            let mut face = FaceTemplates::from(template(1, &[1.0, 0.5]));
            face.put(template(2, &[0.1, 0.2, 0.3]));
            let mut bytes = face.to_bytes();
            bytes.truncate(cut.min(bytes.len()));
            if let Some(b) = bytes.get_mut(flip) {
                *b ^= 0x5a;
            }
            let _ = FaceTemplates::from_bytes(&bytes);
        }
    }
}
