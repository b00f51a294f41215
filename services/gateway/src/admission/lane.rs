//! The interactive lane as this gateway sees it, and who may put how much on it. A tenant alone may fill it as far as
//! its own deadlines allow. Once another tenant that holds little wants a place, those that hold much make room: they
//! are held to what the hurried one can wait. Time is an argument but for [`Place`]. Caller: admission.

use std::{sync::Arc, time::Duration};

use domain::TenantId;
use parking_lot::Mutex;

use super::{estimate::WaitEstimate, fair::FairShare};

/// For so long those that hold much are held to what a tenant that holds little could wait when it last asked.
const HURRIED: Duration = Duration::from_secs(10);
/// Nobody makes the lane shorter than this: workers must not run out of work for somebody's impossible deadline.
const LEAST: Duration = Duration::from_secs(1);
/// This part of the lane's length is kept for tenants that hold little.
const KEPT: u64 = 16;

/// The interactive lane.
#[derive(Default)]
pub(super) struct Lane {
    pub estimate: WaitEstimate,
    /// The last look failed.
    pub away: bool,
    /// Jobs of this gateway that are on the lane or being worked on.
    held: FairShare,
    /// The shortest time that a tenant that holds little could wait of late, and when it said so.
    hurry: Option<(Duration, Duration)>,
}

/// Why there is no place.
pub(super) enum NoPlace {
    /// The lane cannot be looked at.
    Away,
    /// So many jobs are waiting.
    Depth(u64),
    /// The wait would be too long; come again after this.
    Late(u64, Duration),
    /// It is long enough for others, not for a tenant that holds as much; come again after this.
    Share(Duration),
}

impl Lane {
    /// Whether a job of `tenant` that must be answered within `within` may be put on a lane of `depth` jobs at most.
    pub fn check(&mut self, tenant: &TenantId, within: Duration, depth: u64, now: Duration) -> Result<(), NoPlace> {
        if self.away {
            return Err(NoPlace::Away);
        }
        let little = self.held.holds_little(tenant);
        let waiting = self.estimate.waiting();
        if waiting >= if little { depth } else { depth - depth / KEPT } {
            return Err(NoPlace::Depth(waiting));
        }
        if little && self.held.others(tenant) > 0 {
            let hurry = within.max(LEAST);
            let standing = self.hurry.filter(|(_, at)| now.saturating_sub(*at) < HURRIED);
            if standing.is_none_or(|(shortest, _)| hurry <= shortest) {
                self.hurry = Some((hurry, now));
            }
        }
        match self.hurry.filter(|(_, at)| now.saturating_sub(*at) < HURRIED) {
            Some((shortest, _)) if !little && shortest < within => {
                self.estimate.fits(shortest, little).map_err(NoPlace::Share)
            }
            _ => self.estimate.fits(within, little).map_err(|wait| NoPlace::Late(waiting, wait)),
        }
    }

    /// Takes a place that was found to be there.
    pub fn take(&mut self, tenant: &TenantId) {
        self.estimate.admitted();
        self.held.hold(tenant);
    }
}

/// A job that was promised a place on the interactive lane. Counts as on its way until it arrives, and as its tenant's
/// until this is dropped.
pub(crate) struct Place {
    pub(super) lane: Arc<Mutex<Lane>>,
    pub(super) tenant: TenantId,
    pub(super) arrived: Mutex<bool>,
}

impl Place {
    /// The job is on the lane.
    pub fn arrived(&self) {
        if !std::mem::replace(&mut *self.arrived.lock(), true) {
            self.lane.lock().estimate.arrived();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lane = self.lane.lock();
        lane.held.give(&self.tenant, 1);
        if !*self.arrived.get_mut() {
            lane.estimate.gone();
        }
    }
}
