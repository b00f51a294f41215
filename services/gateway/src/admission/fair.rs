//! Who may hold how much of something that there is only so much of. While more than half is free everybody takes what
//! they ask for; beyond that nobody takes more than the fair share (max-min), and the last of it is kept for those who
//! hold next to nothing. Time is an argument. Caller: admission.

use std::{collections::HashMap, time::Duration};

use domain::TenantId;

/// For so long a tenant that was refused counts as wanting more than it holds.
const WANTING: Duration = Duration::from_secs(1);

/// This part of all is kept for tenants that hold no more than it: whoever comes new finds room at once.
const RESERVE: usize = 16;

/// Why there was nothing to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Short {
    /// All is taken.
    Full,
    /// What is left is for others.
    Share,
}

/// So much of something, and who holds it.
#[derive(Debug, Default)]
pub(super) struct FairShare {
    total: usize,
    used: usize,
    tenants: HashMap<TenantId, Holding>,
}

#[derive(Debug, Default)]
struct Holding {
    held: usize,
    refused_at: Option<Duration>,
}

impl Holding {
    fn wants_more(&self, now: Duration) -> bool {
        self.refused_at.is_some_and(|at| now.saturating_sub(at) < WANTING)
    }
}

impl FairShare {
    /// Nothing taken yet.
    pub fn new(total: usize) -> Self {
        Self { total: total.max(1), used: 0, tenants: HashMap::new() }
    }

    /// Takes `n` for `tenant`.
    pub fn take(&mut self, tenant: &TenantId, n: usize, now: Duration) -> Result<(), Short> {
        let free = self.total - self.used;
        let held = self.tenants.get(tenant).map_or(0, |h| h.held);
        let plenty = self.used + n <= self.total / 2;
        let reserve = self.total / RESERVE;
        let spared = held + n <= reserve || free - n.min(free) >= reserve;
        // Whoever holds nothing may have one, however much it takes.
        let refused = if n > free {
            Some(Short::Full)
        } else if plenty || held == 0 || (spared && held + n <= self.share(tenant, now)) {
            None
        } else {
            Some(Short::Share)
        };
        let holding = self.tenants.entry(tenant.clone()).or_default();
        match refused {
            Some(short) => {
                holding.refused_at = Some(now);
                self.tenants.retain(|_, h| h.held > 0 || h.wants_more(now));
                Err(short)
            }
            None => {
                holding.held += n;
                self.used += n;
                Ok(())
            }
        }
    }

    /// Takes one for `tenant`, whatever there is: how much there is, somebody else knows.
    pub fn hold(&mut self, tenant: &TenantId) {
        self.tenants.entry(tenant.clone()).or_default().held += 1;
        self.used += 1;
    }

    /// Whether `tenant` holds nothing, or with one more would still hold no more than half of an equal part of what is
    /// held.
    pub fn holds_little(&self, tenant: &TenantId) -> bool {
        let held = self.tenants.get(tenant).map_or(0, |h| h.held);
        let among = self.tenants.values().filter(|h| h.held > 0).count() + usize::from(held == 0);
        held == 0 || 2 * (held + 1) * among <= self.used
    }

    /// What others than `tenant` hold.
    pub fn others(&self, tenant: &TenantId) -> usize {
        self.used - self.tenants.get(tenant).map_or(0, |h| h.held)
    }

    /// Gives back what was taken.
    pub fn give(&mut self, tenant: &TenantId, n: usize) {
        let Some(holding) = self.tenants.get_mut(tenant) else { return };
        holding.held = holding.held.saturating_sub(n);
        self.used = self.used.saturating_sub(n);
        if holding.held == 0 && holding.refused_at.is_none() {
            self.tenants.remove(tenant);
        }
    }

    /// What `tenant` may hold: all, less what those hold who want no more, in equal parts for those who do.
    fn share(&self, tenant: &TenantId, now: Duration) -> usize {
        let others = self.tenants.iter().filter(|(t, _)| *t != tenant);
        let wants = |h: &Holding| if h.wants_more(now) { usize::MAX } else { h.held };
        let mut wanted: Vec<usize> = others.map(|(_, h)| wants(h)).filter(|w| *w > 0).collect();
        wanted.sort_unstable();
        let (mut left, mut among) = (self.total, wanted.len() + 1);
        for w in wanted {
            if w > left / among {
                break;
            }
            left -= w;
            among -= 1;
        }
        (left / among).max(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(n: usize) -> TenantId {
        TenantId::new(format!("t{n}")).unwrap()
    }

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn one_alone_takes_all_and_makes_room_once_another_wants_some() {
        let mut f = FairShare::new(10);
        for _ in 0..10 {
            f.take(&tenant(1), 1, NOW).unwrap();
        }
        assert_eq!(f.take(&tenant(2), 1, NOW), Err(Short::Full));
        f.give(&tenant(1), 1);
        assert_eq!(f.take(&tenant(1), 1, NOW), Err(Short::Share), "kept for the one refused");
        f.take(&tenant(2), 1, NOW).unwrap();
        for _ in 0..4 {
            f.give(&tenant(1), 1);
            f.take(&tenant(2), 1, NOW).unwrap();
        }
        assert_eq!(f.take(&tenant(1), 1, NOW), Err(Short::Full));
        assert_eq!(f.share(&tenant(1), NOW + 2 * WANTING), 5);
        for _ in 0..4 {
            f.give(&tenant(2), 1);
        }
        let later = NOW + 2 * WANTING;
        for _ in 0..4 {
            f.take(&tenant(1), 1, later).unwrap();
        }
    }

    #[test]
    fn a_flood_of_one_leaves_room_for_whoever_comes() {
        let mut f = FairShare::new(64);
        while f.take(&tenant(1), 1, NOW).is_ok() {}
        assert_eq!(f.used, 60);
        for n in 2..6 {
            f.take(&tenant(n), 1, NOW).unwrap();
        }
        assert_eq!(f.take(&tenant(6), 1, NOW), Err(Short::Full));
    }

    proptest! {
        #[test]
        fn never_more_than_there_is_and_nobody_beyond_the_share_while_scarce(
            total in 1usize..80,
            steps in prop::collection::vec((0usize..4, 1usize..6, any::<bool>()), 1..300),
        ) {
            let mut f = FairShare::new(total);
            let mut held: Vec<Vec<usize>> = vec![Vec::new(); 4];
            for (who, n, give) in steps {
                let mine: usize = held[who].iter().sum();
                if give {
                    if let Some(n) = held[who].pop() {
                        f.give(&tenant(who), n);
                    }
                } else if f.take(&tenant(who), n, NOW).is_ok() {
                    held[who].push(n);
                    let used: usize = held.iter().flatten().sum();
                    prop_assert!(used <= total);
                    prop_assert!(mine == 0 || used <= total / 2 || mine + n <= f.share(&tenant(who), NOW));
                    let reserve = total / RESERVE;
                    prop_assert!(mine == 0 || used <= total / 2 || mine + n <= reserve || used <= total - reserve);
                } else {
                    let used: usize = held.iter().flatten().sum();
                    prop_assert!(used + n > total / 2, "refused while more than half was free");
                    prop_assert!(mine > 0 || used + n > total, "one that holds nothing is refused for want of room only");
                }
                prop_assert_eq!(f.used, held.iter().flatten().sum::<usize>());
            }
        }
    }
}
