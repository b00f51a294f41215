//! Ids in the path and parameters in the query, with problems instead of plain text.

use axum::{
    extract::{FromRequestParts, Path, Query, path::ErrorKind, rejection::PathRejection},
    http::request::Parts,
};
use domain::Problem;
use serde::de::DeserializeOwned;

use super::json::tellable;
use crate::{problem::ApiProblem, state::App};

/// Checked ids from the path.
pub(crate) struct Ids<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Ids<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiProblem> {
        match Path::<T>::from_request_parts(parts, app).await {
            Ok(Path(ids)) => Ok(Self(ids)),
            Err(PathRejection::FailedToDeserializePathParams(e)) => Err(match e.into_kind() {
                ErrorKind::DeserializeError { key, message, .. } => Problem::invalid(key, message),
                ErrorKind::Message(message) => Problem::invalid("path", message),
                other => Problem::invalid("path", other.to_string()),
            }
            .into()),
            Err(e) => Err(Problem::invalid("path", e.body_text()).into()),
        }
    }
}

/// Parameters of the query.
pub(crate) struct Search<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Search<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiProblem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(e) => {
                let text = e.body_text();
                let said = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                let name = said
                    .split_once(": ")
                    .map(|(n, _)| n)
                    .filter(|n| n.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
                Err(Problem::invalid(name.unwrap_or("query"), tellable(said)).into())
            }
        }
    }
}
