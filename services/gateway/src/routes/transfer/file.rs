//! An export on its way in: cut into lines, opened and read one by one, within the limits of length and time.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use domain::ErrorCode;
use futures::StreamExt;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use transfer::{ExportKey, Lines, Manifest, Opened, Opener, SubjectLine, Trailer, TransferError};

use crate::{
    config::GatewayConfig,
    problem::{ApiProblem, Result},
};

/// A body in lines.
struct Source {
    body: BodyDataStream,
    lines: Lines,
    /// Bytes that may still come, and how many may in all.
    left: usize,
    limit: usize,
    /// How long nothing may come.
    patience: Duration,
}

impl Source {
    async fn line(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(line) = self.lines.take()? {
                return Ok(Some(line));
            }
            let came = timeout(self.patience, self.body.next()).await.map_err(|_| {
                let detail = format!("nothing of the body arrived within {} s", self.patience.as_secs());
                ApiProblem::new(ErrorCode::DeadlineExceeded, detail)
            })?;
            match came {
                Some(Ok(bytes)) => {
                    self.left = self.left.checked_sub(bytes.len()).ok_or_else(|| {
                        let detail = format!("the body is larger than the {} bytes allowed here", self.limit);
                        ApiProblem::new(ErrorCode::PayloadTooLarge, detail)
                    })?;
                    self.lines.push(&bytes);
                }
                Some(Err(_)) => return Err(ApiProblem::new(ErrorCode::InvalidRequest, "the body broke off")),
                None => return Ok(self.lines.rest()),
            }
        }
    }
}

/// A subject's line: its number, and what it holds if that can be read.
pub(super) type Read = (u64, Result<SubjectLine, TransferError>);

/// An export that opened with its key.
pub(super) struct File {
    source: Source,
    opener: Opener,
    subjects: u64,
}

impl File {
    /// Reads up to the manifest.
    pub async fn open(body: Body, key: ExportKey, config: &GatewayConfig) -> Result<(Self, Manifest)> {
        let limit = config.limits.import_bytes;
        let body = body.into_data_stream();
        let mut source = Source { body, lines: Lines::default(), left: limit, limit, patience: config.times.body };
        let first = source.line().await?.ok_or(TransferError::NotAnExport)?;
        let mut file = Self { source, opener: Opener::new(key, &first)?, subjects: 0 };
        match file.opened().await? {
            Opened::More(text) => {
                let manifest = read(&text, file.opener.read())?;
                Ok((file, manifest))
            }
            Opened::Last(_) => Err(TransferError::NotAnExport.into()),
        }
    }

    /// The next subject; `None` at the end, once that was found to be the true one.
    pub async fn subject(&mut self) -> Result<Option<Read>> {
        match self.opened().await? {
            Opened::More(text) => {
                self.subjects += 1;
                let line = self.opener.read();
                Ok(Some((line, read(&text, line))))
            }
            Opened::Last(text) => {
                let trailer: Trailer = read(&text, self.opener.read())?;
                if trailer.subjects != self.subjects {
                    return Err(TransferError::Count { said: trailer.subjects, found: self.subjects }.into());
                }
                match self.source.line().await? {
                    None => Ok(None),
                    Some(_) => Err(TransferError::Trailing(self.opener.read()).into()),
                }
            }
        }
    }

    async fn opened(&mut self) -> Result<Opened> {
        let line = self.source.line().await?.ok_or_else(|| TransferError::Cut(self.source.lines.given()))?;
        Ok(self.opener.open(&line)?)
    }
}

/// What a line holds. Its text is not shown: the reason names members at most.
fn read<T: DeserializeOwned>(text: &[u8], line: u64) -> Result<T, TransferError> {
    serde_json::from_slice(text).map_err(|e| {
        let reason = format!("it is not what belongs there ({:?} error at column {})", e.classify(), e.column());
        TransferError::Content { line, reason }
    })
}
