//! Records followed as server-sent events: each event is the whole record as it is, named by its version, so that a client
//! can go on at any gateway after any interruption. Used by `routes/jobs/events.rs` and `routes/training_runs/events.rs`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    http::{HeaderMap, HeaderName, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use domain::ErrorCode;
use futures::{Stream, future::BoxFuture, stream};
use store::{RepoError, Revision};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    problem::{ApiProblem, Result},
    standing::Standing,
    state::App,
};

/// How often the record is looked at.
const LOOK: Duration = Duration::from_millis(300);
/// How often a comment tells the client and what lies between that the stream lives.
const ALIVE: Duration = Duration::from_secs(10);
/// How soon a client is to connect again after an interruption.
const RETRY: Duration = Duration::from_secs(1);

/// A record as it is told.
pub(crate) struct Told {
    /// Its version.
    pub version: Revision,
    /// Whether nothing will change any more.
    pub last: bool,
    /// JSON.
    pub data: String,
}

/// Looks at the record; nothing once it is gone.
pub(crate) type Look = Box<dyn Fn() -> BoxFuture<'static, Result<Option<Told>, RepoError>> + Send + Sync>;

/// The events of a record that is `ended` at `version` now: 204 for a client that has been told the end.
pub(crate) fn follow(
    app: App,
    headers: &HeaderMap,
    (version, ended): (Revision, bool),
    look: Look,
    standing: Standing,
) -> Result<Response> {
    let received = headers.get("last-event-id").and_then(|v| v.to_str().ok()?.parse().ok()).map(Revision);
    if ended && received == Some(version) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let permit = Arc::clone(&app.event_streams).try_acquire_owned().map_err(|_| {
        let detail = "as many jobs and runs are being followed here as may be; ask for the record itself instead";
        ApiProblem::new(ErrorCode::Overloaded, detail).retry_after(Duration::from_secs(5))
    })?;
    let follow = Follow { app, look, standing, told: received, fresh: true, _permit: permit };
    let sse = Sse::new(follow.events()).keep_alive(KeepAlive::new().interval(ALIVE));
    // Proxies that gather answers would hold events back.
    Ok(([(HeaderName::from_static("x-accel-buffering"), "no")], sse).into_response())
}

/// One stream.
struct Follow {
    app: App,
    look: Look,
    standing: Standing,
    /// The version the client has.
    told: Option<Revision>,
    /// Nothing was sent on this connection yet.
    fresh: bool,
    _permit: OwnedSemaphorePermit,
}

impl Follow {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(Some(self), |follow| async {
            let mut follow = follow?;
            let (event, last) = follow.next().await?;
            Some((Ok(event), (!last).then_some(follow)))
        })
    }

    /// The next event and whether it is the last; `None` when the stream ends before the record does.
    async fn next(&mut self) -> Option<(Event, bool)> {
        loop {
            if self.app.draining() || !self.standing.holds(&self.app).await {
                return None;
            }
            match (self.look)().await {
                Ok(Some(found)) if self.told != Some(found.version) || found.last => return Some(self.event(found)),
                Ok(Some(_)) => {}
                Ok(None) => return None,
                // The client keeps its connection; the next look may succeed.
                Err(error) => tracing::debug!(%error, "a followed record cannot be read"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn event(&mut self, found: Told) -> (Event, bool) {
        let name = if found.last { "done" } else { "progress" };
        let mut event = Event::default().event(name).id(found.version.0.to_string()).data(found.data);
        if std::mem::take(&mut self.fresh) {
            event = event.retry(RETRY);
        }
        self.told = Some(found.version);
        (event, found.last)
    }
}
