//! Reads the items of a bulk job, each as its own request would be, into what is stored of them.

use bytes::Bytes;
use domain::{Problem, SubjectId, Timestamp};
use serde_json::{Map, Value};
use store::{Mention, NewItem};
use wire::v1::{self, BulkItem, bulk_item};

use super::forms::{EnrolShared, IdentifyShared, NoParams};
use crate::{
    context::Call,
    extract::{Attachments, from_value},
    problem::{Result, below},
    routes::{
        enrol::{EnrolParams, given},
        identify::IdentifyParams,
    },
    state::AppState,
};

/// Reads items one after the other.
pub(super) struct Reader<'a> {
    pub app: &'a AppState,
    pub call: &'a Call,
    pub files: &'a mut Attachments,
}

impl Reader<'_> {
    pub async fn enrolments(&mut self, shared: EnrolShared, items: Vec<Value>) -> Result<Vec<NewItem>> {
        let collection = self.app.collection(&self.call.principal, &shared.collection_id).await?.value;
        self.call.notes.collection(&collection.id);
        let mut ids = std::collections::HashMap::new();
        let mut read = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let at = format!("/items/{index}");
            let (images, params) = self.item(item, &at)?;
            let mut params: EnrolParams = from_value(params).map_err(|p| below(&at, p))?;
            params.check().map_err(|p| below(&at, p))?;
            params.face_selection = params.face_selection.or(shared.face_selection);
            let id = params.id.take().unwrap_or_else(|| self.fresh(index));
            if let Some(other) = ids.insert(id.clone(), index) {
                return Err(Problem::invalid(format!("{at}/id"), format!("item {other} has the same id")).into());
            }
            let draft = params.consent.take();
            let consent = draft.map(|draft| given(&collection, &id, draft, Timestamp::now())).transpose();
            let consent = consent.map_err(|p| below(&at, p))?;
            let handle = self.app.pepper.handle(&self.call.principal.tenant, &collection.id, &id);
            let about = Some(Mention { collection: collection.id.clone(), handle });
            let request = params.enrolment(id, consent, images).request(&collection);
            read.push(NewItem { bytes: encoded(bulk_item::Request::Enrol(request)), about });
        }
        Ok(read)
    }

    pub async fn identifications(&mut self, shared: IdentifyShared, items: Vec<Value>) -> Result<Vec<NewItem>> {
        let collection = self.app.collection(&self.call.principal, &shared.collection_id).await?.value;
        self.call.notes.collection(&collection.id);
        let IdentifyShared { limit, max_faces, threshold, purpose, .. } = shared;
        let params = IdentifyParams { limit, max_faces, threshold, purpose, ..IdentifyParams::default() };
        let request = params.request(&collection)?;
        let item = |(index, item): (usize, Value)| {
            let at = format!("/items/{index}");
            let (images, params) = self.item(item, &at)?;
            let NoParams {} = from_value(params).map_err(|p| below(&at, p))?;
            if images.is_empty() {
                return Err(Problem::invalid(format!("{at}/images"), "must hold at least one image").into());
            }
            Ok(encoded(bulk_item::Request::Identify(v1::IdentifyRequest { images, ..request.clone() })).into())
        };
        items.into_iter().enumerate().map(item).collect()
    }

    /// Images and parameters of an item.
    fn item(&mut self, item: Value, at: &str) -> Result<(Vec<v1::Image>, Value), Problem> {
        let Value::Object(mut item) = item else { return Err(Problem::invalid(at, "must be an object")) };
        let images = self.images(&mut item, at)?;
        Ok((images, Value::Object(item)))
    }

    fn images(&mut self, item: &mut Map<String, Value>, at: &str) -> Result<Vec<v1::Image>, Problem> {
        let at = format!("{at}/images");
        let images = match item.remove("images") {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(images)) => images,
            Some(_) => return Err(Problem::invalid(at, "must be a list")),
        };
        let most = self.app.config.limits.max_images;
        if images.len() > most {
            return Err(Problem::invalid(at, format!("at most {most} images are allowed in one item")));
        }
        let image = |(i, image)| Ok(v1::Image { data: self.files.image(image, &format!("{at}/{i}"))? });
        images.iter().enumerate().map(image).collect()
    }

    /// An id for a subject that the caller did not name: the same one when the request is repeated.
    fn fresh(&self, index: usize) -> SubjectId {
        let again = self.call.repeatable.then(|| SubjectId::new(format!("{}-{index}", self.call.job)).ok());
        again.flatten().unwrap_or_else(SubjectId::generate)
    }
}

fn encoded(request: bulk_item::Request) -> Bytes {
    wire::encode_item(&BulkItem { request: Some(request) })
}
