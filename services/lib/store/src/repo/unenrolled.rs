//! Consents of people who are not enrolled: recorded for an enrolment that never came, or left when it went. No subject
//! stands above them, so nobody who goes through the subjects finds them. Used by the gateway's sweep.

use std::collections::BTreeMap;

use domain::{Collection, Consent, ConsentId, SubjectId, Timestamp};

use super::{
    ATTEMPTS, RepoError, SubjectHandle, Subjects, all_records, as_seen, consents, damaged, decode,
    subjects::{guard_key, subject_key},
};
use crate::{Commit, StoreError};

/// Somebody who is not enrolled and whose consents, some at least, are to be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unenrolled {
    /// Who.
    pub subject_id: SubjectId,
    /// How many consents are to go.
    pub consents: usize,
}

/// Some consents that were looked at, and whose of them are to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnenrolledPage {
    /// Whose.
    pub due: Vec<Unenrolled>,
    /// Where to go on, if more follow.
    pub next: Option<String>,
}

impl Subjects {
    /// Whose consents are to go at `now`, of the next `limit` consents after the cursor `after`, or a few more: those of
    /// one person are looked at together. Only of people who are not enrolled.
    ///
    /// # Errors
    /// The store's.
    pub async fn unenrolled_due(
        &self,
        collection: &Collection,
        now: Timestamp,
        after: Option<&str>,
        limit: usize,
    ) -> Result<UnenrolledPage, RepoError> {
        let page = self.store.scan(&self.space, "n/", after, limit).await?;
        let mut people: BTreeMap<SubjectHandle, Vec<Consent>> = BTreeMap::new();
        for (key, record) in &page.records {
            people.entry(handle_in(key)?).or_default().push(decode(key, &record.value)?);
        }
        let subjects: Vec<String> = people.keys().map(|h| subject_key(*h)).collect();
        let enrolled = self.store.get_many(&self.space, &subjects).await?;
        let mut due = Vec::new();
        for (consents, _) in people.values().zip(enrolled).filter(|(_, enrolled)| enrolled.is_none()) {
            let ended = consents.iter().filter(|c| collection.consent_due(c, now)).count();
            if let Some(first) = consents.first().filter(|_| ended > 0) {
                // A page may end among somebody's consents; the rest is then told again with the next one.
                due.push(Unenrolled { subject_id: first.subject_id.clone(), consents: ended });
            }
        }
        let next = page.records.into_iter().next_back().filter(|_| page.more).map(|(key, _)| key);
        Ok(UnenrolledPage { due, next })
    }

    /// Erases the consents of somebody who is not enrolled that are to go at `now`; how many there were. With the last
    /// one goes the key that all was sealed with. None of somebody who was enrolled meanwhile.
    ///
    /// # Errors
    /// The store's.
    pub async fn erase_unenrolled(
        &self,
        collection: &Collection,
        id: &SubjectId,
        now: Timestamp,
    ) -> Result<usize, RepoError> {
        let h = self.handle(id);
        let (guard_key, subject_key) = (guard_key(h), subject_key(h));
        for _ in 0..ATTEMPTS {
            // Before what the decision rests on: whatever is added after this makes the commit fail.
            let mut found = self.store.get_many(&self.space, &[guard_key.clone(), subject_key.clone()]).await?;
            if found.pop().flatten().is_some() {
                return Ok(0);
            }
            let guard = found.pop().flatten().map(|r| r.version);
            let all = all_records(&*self.store, &self.space, &format!("n/{h}/")).await?;
            let mut commit = Commit::new().when(as_seen(&guard_key, guard)).when(as_seen(&subject_key, None));
            let mut gone: Vec<ConsentId> = Vec::new();
            for (key, record) in &all {
                let consent = decode::<Consent>(key, &record.value)?;
                if collection.consent_due(&consent, now) {
                    commit = commit.when(as_seen(key, Some(record.version))).erase(key);
                    gone.push(consent.id);
                }
            }
            if gone.is_empty() {
                return Ok(0);
            }
            // The guard stands as long as anything of the person does, and the key with it.
            commit = if gone.len() == all.len() { commit.erase(&guard_key) } else { commit.put(&guard_key, "") };
            match self.store.commit(&self.space, commit).await {
                Ok(_) => {
                    consents::unindex(&*self.store, &self.tenant, &gone).await?;
                    return Ok(gone.len());
                }
                Err(StoreError::Precondition { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(RepoError::Contended)
    }
}

/// Whose record it is, by its key `n/{h}/{consent}`.
pub(super) fn handle_in(key: &str) -> Result<SubjectHandle, RepoError> {
    let handle = key.split('/').nth(1).unwrap_or_default();
    handle.parse().map_err(|e| damaged(key, &e).into())
}
