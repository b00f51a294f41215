//! Flags of `receipts` and `audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use domain::SubjectId;

#[derive(Debug, Subcommand)]
pub enum ReceiptsCommand {
    /// Check that a receipt was signed by the service and not changed, and show what it says
    Verify(ReceiptArgs),
}

/// Flags of `receipts verify`.
#[derive(Debug, Args)]
pub struct ReceiptArgs {
    /// The receipt, as `/v1/erasures/ID/receipt` gave it; - reads standard input
    pub file: PathBuf,
    /// The service's keys, as `/.well-known/jwks.json` gave them
    #[arg(long, value_name = "FILE")]
    pub jwks: PathBuf,
    /// Check that this subject is among those erased
    #[arg(long, value_name = "ID")]
    pub subject: Option<SubjectId>,
    /// Print the receipt as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check that no line of an export was changed, removed, added or moved
    Verify(AuditArgs),
}

/// Flags of `audit verify`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// The export, as `/v1/audit-events/export` gave it; - reads standard input
    pub file: PathBuf,
    /// The service's keys: checks the signatures as well
    #[arg(long, value_name = "FILE")]
    pub jwks: Option<PathBuf>,
    /// A head noted earlier: SEQ:HASH, or a file with what `/v1/audit-events/head` gave
    #[arg(long, value_name = "HEAD")]
    pub head: Option<String>,
}
