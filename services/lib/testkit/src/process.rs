//! What a process is doing as the kernel sees it, and signals to it.

use std::{fs, process::Command};

/// Resident memory of a process in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// The most there has been.
    pub peak: u64,
}

/// Memory of a process, where the kernel tells (Linux).
#[must_use]
pub fn memory_of(pid: u32) -> Option<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().ok()
    };
    Some(Memory { resident: kib("VmRSS")? * 1024, peak: kib("VmHWM")? * 1024 })
}

/// Makes the present resident memory the peak, so that what follows shows (Linux; elsewhere the peak stays).
pub fn forget_peak(pid: u32) {
    drop(fs::write(format!("/proc/{pid}/clear_refs"), "5"));
}

/// Sends a signal by name, such as `TERM`, to one process.
pub fn signal(pid: u32, name: &str) {
    let done = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    assert!(done.is_ok_and(|s| s.success()), "SIG{name} cannot be sent to {pid}");
}
