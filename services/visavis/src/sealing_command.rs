//! `visavis sealing`: makes key-encryption keys, shows which are in use, and replaces one by another while the store is
//! being used.

use std::fs;
use std::io;
use std::path::Path;

use runtime::Config;
use seal::Keyring;
use store::{SealedStore, StoreError};

use crate::cli::SealingCommand;
use crate::engines;
use crate::failure::Failure;
use crate::output;
use crate::sealing;

/// Carries out one of the commands.
///
/// # Errors
/// Keys that are missing or do not fit, a store that is away or in use.
pub async fn run(config: &Config, command: &SealingCommand) -> Result<(), Failure> {
    match command {
        SealingCommand::Key { out } => key(out.as_deref()),
        SealingCommand::Status(_) => status(config).await,
        SealingCommand::Rotate(_) => rotate(config).await,
    }
}

/// Prints a fresh key, or puts it into a file on top of those that are there.
fn key(out: Option<&Path>) -> Result<(), Failure> {
    let fresh = Keyring::fresh_key().map_err(|e| Failure::Other(e.to_string()))?;
    let Some(file) = out else {
        output::text(&fresh);
        return Ok(());
    };
    let failed = |e: &io::Error| Failure::io("the key file", file, e);
    let former = match fs::read_to_string(file) {
        Ok(text) => Some(text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(failed(&e)),
    };
    let Some(former) = former else {
        sealing::write_new(file, &fresh).map_err(|e| failed(&e))?;
        output::text(&format!("{} holds a new key; keep a backup of it elsewhere", file.display()));
        return Ok(());
    };
    let both = format!("{}\n{}", &*fresh, former.trim_end());
    Keyring::parse(&both).map_err(|e| Failure::Usage(format!("{}: {e}", file.display())))?;
    let temporary = file.with_extension("new");
    sealing::write_new(&temporary, &both).and_then(|()| fs::rename(&temporary, file)).map_err(|e| failed(&e))?;
    output::text(&format!(
        "{} has a new key on top. Keep a backup of it, start every process with it, then: visavis sealing rotate",
        file.display()
    ));
    Ok(())
}

async fn status(config: &Config) -> Result<(), Failure> {
    let (store, keyring) = open(config).await?;
    output::text(&table(&store, &keyring).await?);
    Ok(())
}

async fn rotate(config: &Config) -> Result<(), Failure> {
    let (store, keyring) = open(config).await?;
    let done = store.rewrap().await?;
    output::text(&format!("{} data keys of {} spaces wrapped anew", done.keys, done.spaces));
    output::text(&table(&store, &keyring).await?);
    let left: usize = store.wrapped_by().await?.iter().filter(|(id, _)| **id != keyring.active()).map(|(_, n)| n).sum();
    if left > 0 {
        return Err(Failure::Unavailable(format!(
            "{left} data keys are wrapped with a former key still: a process goes on with it. Restart that one, then \
             rotate again"
        )));
    }
    output::text(
        "The former keys are needed no longer for the store: take them out of the file once the queue has \
                  run dry and every process has been restarted.",
    );
    Ok(())
}

/// One line for each key, given or found.
async fn table(store: &SealedStore, keyring: &Keyring) -> Result<String, Failure> {
    let mut counts = store.wrapped_by().await?;
    let mut lines = Vec::new();
    for (id, state) in keyring.ids().zip(std::iter::once("in use").chain(std::iter::repeat("former"))) {
        lines.push(format!("{id}  {state:8}  {} data keys", counts.remove(&id).unwrap_or(0)));
    }
    lines.extend(counts.into_iter().map(|(id, n)| format!("{id}  missing   {n} data keys")));
    Ok(lines.join("\n"))
}

async fn open(config: &Config) -> Result<(SealedStore, std::sync::Arc<Keyring>), Failure> {
    let keys = sealing::keys(config, false).await?;
    let store = engines::store_for_tools(config).await?;
    match SealedStore::refuse_sealed(&*store).await {
        Ok(()) => return Err(Failure::Usage("the store is not sealed, or nothing has been put into it yet".into())),
        Err(StoreError::Sealing(_)) => {}
        Err(e) => return Err(e.into()),
    }
    let keyring = keys.ring()?.ok_or_else(|| Failure::Usage("give its keys: sealing.mode is \"off\"".into()))?;
    let store = SealedStore::open(store, keyring.clone()).await?;
    store::check(&store).await?;
    Ok((store, keyring))
}
