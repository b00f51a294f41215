//! What the sealed lines hold.

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{Collection, Consent, ContractId, EnrolledFace, Subject, Template, TemplateError, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How far a template's length may be from one; half precision leaves less than this.
const LENGTH_OFF: f32 = 0.01;

/// The first sealed line: what is being exported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// When the export began.
    pub created_at: Timestamp,
    /// Contract of all templates within.
    pub contract: ContractId,
    /// The collection as it was, with its policy. An import tells it and does not apply it.
    pub collection: Collection,
    /// Revision of the collection when the export began.
    pub revision: u64,
}

/// One subject, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubjectLine {
    /// The subject.
    pub subject: Subject,
    /// All its consents, withdrawn and expired ones included.
    pub consents: Vec<Consent>,
    /// All its faces.
    pub faces: Vec<FaceLine>,
    /// When it was last recognised, if it ever was: retention counts from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<Timestamp>,
}

/// One enrolled face with its template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaceLine {
    /// What was seen in the image it came from, and the template's contract.
    #[serde(flatten)]
    pub face: EnrolledFace,
    /// The template's values as little-endian half floats, base64.
    pub template: String,
    /// Its crop, where one is retained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<CropLine>,
}

/// A retained crop: the aligned face with margin. Kept where it arrives only as policy and consent allow there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CropLine {
    /// The picture, PNG in base64.
    png: String,
    /// Name of the alignment.
    pub alignment: String,
    /// Side of the aligned face in pixels, without margin.
    pub side: u32,
    /// Pixels around it, on every side.
    pub margin: u32,
    /// When it was taken.
    pub created_at: Timestamp,
}

/// Most bytes of a crop's picture, and most pixels of its side without margin: many times what this version makes.
const LARGEST_CROP: usize = 1 << 20;
const WIDEST_CROP: u32 = 1024;

impl CropLine {
    /// Of a picture.
    #[must_use]
    pub fn new(png: &[u8], (alignment, side, margin): (String, u32, u32), created_at: Timestamp) -> Self {
        Self { png: STANDARD.encode(png), alignment, side, margin, created_at }
    }

    /// The picture's bytes, if they are a PNG of the size that is told. Its pixels are not looked at.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn read(&self) -> Result<Vec<u8>, String> {
        let named = (1..=64).contains(&self.alignment.len()) && self.alignment.bytes().all(|b| b.is_ascii_graphic());
        if !named || !(16..=WIDEST_CROP).contains(&self.side) || self.margin > self.side {
            return Err("a crop is of no alignment and size that there is".into());
        }
        if self.png.len() / 4 * 3 > LARGEST_CROP {
            return Err(format!("a crop has more than {LARGEST_CROP} bytes"));
        }
        let png = STANDARD.decode(&self.png).map_err(|_| "a crop is not base64".to_owned())?;
        let side = (self.side + 2 * self.margin).to_be_bytes();
        let head = [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &side, &side].concat();
        if !png.starts_with(&head) {
            return Err("a crop is no PNG of the size that is told".into());
        }
        Ok(png)
    }
}

/// The last line: how much there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trailer {
    /// Subjects in the file.
    pub subjects: u64,
    /// Faces of all of them.
    pub faces: u64,
    /// Crops of these faces.
    #[serde(default)]
    pub crops: u64,
    /// Crops that are not in the file: of somebody with more than a line holds, or whose object could not be read.
    #[serde(default)]
    pub crops_left_out: u64,
    /// Revision of the collection at the end: if it is another than at the beginning, the collection was changed
    /// meanwhile, and each subject is as it was at some moment in between.
    pub revision: u64,
    /// When the export ended.
    pub finished_at: Timestamp,
}

impl FaceLine {
    /// Of an enrolled face.
    #[must_use]
    pub fn new(face: EnrolledFace, template: &Template) -> Self {
        // The contract, which the bytes begin with, is the face's already.
        let bytes = template.to_bytes();
        Self { face, template: STANDARD.encode(&bytes[template.contract().as_bytes().len()..]), crop: None }
    }

    /// The face and its template, if both are what they should be.
    ///
    /// # Errors
    /// Says what is wrong, without showing a value.
    pub fn read(self) -> Result<(EnrolledFace, Template), String> {
        let values = STANDARD.decode(&self.template).map_err(|_| "a template is not base64".to_owned())?;
        let bytes = [&self.face.contract.as_bytes()[..], &values].concat();
        let template = Template::from_bytes(&bytes).map_err(|e: TemplateError| e.to_string())?;
        let length = template.to_f32().iter().map(|x| x * x).sum::<f32>().sqrt();
        if (length - 1.0).abs() > LENGTH_OFF {
            return Err("a template is not of length one".into());
        }
        // A number beyond its type is written as null and could not be read back.
        let face = serde_json::to_value(&self.face).map_err(|e| e.to_string())?;
        if has_null(&face) {
            return Err("a face holds a number that is too large".into());
        }
        Ok((self.face, template))
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(side: u32) -> Vec<u8> {
        let side = side.to_be_bytes();
        [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &side, &side, b"and so on"].concat()
    }

    #[test]
    fn a_crop_is_a_picture_of_the_size_that_is_told() {
        let line = |bytes: &[u8], side, margin| {
            CropLine::new(bytes, ("arcface112".into(), side, margin), Timestamp::from_millis(1))
        };
        assert_eq!(line(&png(184), 112, 36).read(), Ok(png(184)));
        for (bad, why) in [
            (line(&png(112), 112, 36), "size that is told"),
            (line(b"GIF89a", 112, 36), "no PNG"),
            (line(b"", 112, 36), "no PNG"),
            (line(&png(2), 1, 0), "no alignment"),
            (line(&png(184), 112, u32::MAX), "no alignment"),
            (line(&png(4096), 4096, 0), "no alignment"),
            (CropLine { alignment: "a b".into(), ..line(&png(184), 112, 36) }, "no alignment"),
            (CropLine { png: "?".into(), ..line(&png(184), 112, 36) }, "base64"),
            (line(&[png(184), vec![0; LARGEST_CROP]].concat(), 112, 36), "more than"),
        ] {
            let told = bad.read().unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
