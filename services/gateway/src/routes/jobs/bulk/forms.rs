//! How the body of a bulk job looks: what its items share, and the forms as the OpenAPI document shows them.

use domain::{CollectionId, JobKind, Purpose, ThresholdSpec};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::routes::{
    enrol::EnrolParams,
    parameters::{FaceSelection, ImageB64},
};

/// What all items of a bulk enrolment share.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnrolShared {
    pub collection_id: CollectionId,
    pub face_selection: Option<FaceSelection>,
}

/// What all items of a bulk identification share.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentifyShared {
    pub collection_id: CollectionId,
    pub limit: Option<u32>,
    pub max_faces: Option<u32>,
    pub threshold: Option<ThresholdSpec>,
    pub purpose: Option<Purpose>,
}

/// The parameters of an item that has none but its images.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoParams {}

/// An image of an item: `{"b64": …}`, or in a form the name of a file part.
#[derive(ToSchema)]
#[schema(as = ItemImage)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes a form")]
pub(super) enum ItemImage {
    /// File name of a part; each file is used once.
    File(String),
    /// The image itself.
    Inline(ImageB64),
}

/// A person to be enrolled, with images.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a form")]
pub(super) struct BulkEnrolItem {
    /// One face each.
    images: Vec<ItemImage>,
    /// As for one enrolment.
    #[serde(flatten)]
    parameters: EnrolParams,
}

/// Enrolment of many subjects.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a form")]
pub(super) struct BulkEnrolJob {
    /// `bulk_enrol`.
    #[schema(example = "bulk_enrol")]
    kind: JobKind,
    /// Where.
    collection_id: CollectionId,
    /// Which face counts where an image shows several, unless the item says.
    face_selection: Option<FaceSelection>,
    /// 1 to 1000, each a subject of its own.
    items: Vec<BulkEnrolItem>,
}

/// Images to search for.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a form")]
pub(super) struct BulkIdentifyItem {
    /// At least one.
    images: Vec<ItemImage>,
}

/// Search of a collection for many images.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a form")]
pub(super) struct BulkIdentifyJob {
    /// `bulk_identify`.
    #[schema(example = "bulk_identify")]
    kind: JobKind,
    /// Where.
    collection_id: CollectionId,
    /// Candidates per face; 5 unless said.
    #[schema(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// Faces searched per image; 1, the largest and most central, unless said.
    #[schema(minimum = 1, maximum = 64)]
    max_faces: Option<u32>,
    /// What counts as a match; the collection's target unless said.
    threshold: Option<ThresholdSpec>,
    /// What the identification is for; may be left out where the collection has one purpose.
    purpose: Option<Purpose>,
    /// 1 to 1000.
    items: Vec<BulkIdentifyItem>,
}

/// A job of many items.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes a form")]
pub(super) enum BulkJob {
    /// Enrolment.
    Enrol(BulkEnrolJob),
    /// Identification.
    Identify(BulkIdentifyJob),
}

/// A job of many items as a form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a form")]
pub(super) struct BulkForm {
    /// The job, as JSON.
    job: BulkJob,
    /// One image per part, each with a file name of its own that an item names.
    #[schema(value_type = Vec<String>, format = Binary)]
    file: Vec<u8>,
}
