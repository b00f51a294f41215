//! Reading requests: images and parameters, JSON, ids, pages, entity tags.

mod document;
mod etag;
mod images;
mod json;
mod page;
mod path;
mod plain;

pub(crate) use document::{Attachments, Document};
pub(crate) use etag::{IfMatch, tag};
pub(crate) use images::{Images, Parameters, broken, form};
pub(crate) use json::{JsonBody, OptionalJson, from_value, media_type};
pub(crate) use page::{Page, PageQuery, check as check_page};
pub(crate) use path::{Ids, Search};
