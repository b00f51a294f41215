//! Every connection is an open file of the process, and the limit that a shell hands out is often lower than the
//! gateway's own. Called once, at the start.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the number of files that may be open to what the system allows this process anyway.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, current, "the limit of open files stays as it is");
    }
}
