//! Whether whoever was let in still would be: an answer that goes on for minutes asks for its credential again, so that it
//! ends soon after its key was deleted, its secret replaced or its token's time over. Used by streams of events and by
//! exports.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use domain::{ErrorCode, Principal, Scope};

use crate::{auth, peer, problem::ApiProblem, state::App};

/// How often it is asked for.
const EVERY: Duration = Duration::from_secs(1);

/// The credential of a request whose answer is under way.
pub(crate) struct Standing {
    /// The one header that tells who calls.
    credential: HeaderMap,
    from: Option<IpAddr>,
    who: Principal,
    needs: Vec<Scope>,
    asked: Instant,
}

impl Standing {
    /// The scopes without which the answer is not to go on.
    pub fn needing(self, needs: Vec<Scope>) -> Self {
        Self { needs, ..self }
    }

    /// Whether the answer may go on. What cannot be asked at the moment changes nothing: then nobody can have taken the
    /// key back either.
    pub async fn holds(&mut self, app: &App) -> bool {
        if self.asked.elapsed() < EVERY {
            return true;
        }
        self.asked = Instant::now();
        match auth::authenticate(app, &self.credential, self.from).await {
            Ok(now) => {
                let same = now.tenant == self.who.tenant && now.key == self.who.key;
                same && self.needs.iter().all(|scope| now.scopes.contains(scope))
            }
            Err(refusal) => refusal.problem.code.retryable(),
        }
    }
}

impl FromRequestParts<App> for Standing {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiProblem> {
        let who = parts.extensions.get::<Principal>().cloned();
        let who = who.ok_or_else(|| ApiProblem::new(ErrorCode::Internal, "no principal on this route"))?;
        let credential = parts.headers.get(header::AUTHORIZATION).map(|v| (header::AUTHORIZATION, v.clone()));
        Ok(Self {
            credential: credential.into_iter().collect(),
            from: peer::address((&parts.extensions, &parts.headers), &app.config.trusted_proxies),
            who,
            needs: Vec::new(),
            asked: Instant::now(),
        })
    }
}
