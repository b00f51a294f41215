//! Lists: `limit` and the opaque cursor.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{ErrorCode, Problem};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which part of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Most items to return, 1 to 100; 50 unless said.
    #[param(minimum = 1, maximum = 100)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(min_length = 1)]
    pub cursor: Option<String>,
}

/// Part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl PageQuery {
    /// Limit and position, checked.
    pub fn checked(&self) -> Result<(usize, Option<String>), Problem> {
        check(self.limit, self.cursor.as_deref())
    }
}

/// Limit and position of any list, checked.
pub(crate) fn check(limit: Option<u32>, cursor: Option<&str>) -> Result<(usize, Option<String>), Problem> {
    let limit = limit.unwrap_or(50);
    if !(1..=100).contains(&limit) {
        return Err(Problem::invalid("limit", "must be 1 to 100"));
    }
    Ok((limit as usize, cursor.map(position).transpose()?))
}

/// Marks a cursor as one of this service and its form.
const MARK: &str = "v1:";

impl<T> Page<T> {
    /// A page whose next one begins after `next`.
    pub fn new(items: Vec<T>, next: Option<String>) -> Self {
        Self { items, next_cursor: next.map(|n| URL_SAFE_NO_PAD.encode(format!("{MARK}{n}"))) }
    }
}

fn position(cursor: &str) -> Result<String, Problem> {
    let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|b| String::from_utf8(b).ok());
    let position = text.as_deref().and_then(|t| t.strip_prefix(MARK)).filter(|p| p.len() <= 512 && p.is_ascii());
    position.map(str::to_owned).ok_or_else(|| Problem {
        code: ErrorCode::InvalidCursor,
        ..Problem::invalid("cursor", "was not given out by this service; begin again without a cursor")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_position_and_others_are_refused() {
        let page = Page::<()>::new(vec![], Some("staff".into()));
        assert_eq!(check(Some(5), page.next_cursor.as_deref()), Ok((5, Some("staff".into()))));
        for bad in ["", "x", "c3RhZmY", "////"] {
            assert_eq!(check(None, Some(bad)).unwrap_err().code, ErrorCode::InvalidCursor, "{bad}");
        }
    }

    #[test]
    fn limits_outside_1_to_100_are_refused() {
        assert!(check(Some(0), None).is_err() && check(Some(101), None).is_err());
        assert_eq!(check(None, None), Ok((50, None)));
    }
}
