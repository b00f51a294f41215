//! Processes that tests start: what they write, what they are doing as the kernel sees it, signals to them, and their
//! end with the test's own.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use crate::bound_this_test;

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

/// What a process has written, line by line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Keeps every line of a stream, showing each to `seen` first.
    pub(crate) fn follow(
        &self,
        stream: Option<impl Read + Send + 'static>,
        mut seen: impl FnMut(&str) + Send + 'static,
    ) {
        let (stream, log) = (stream.expect("the stream is piped"), self.clone());
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                seen(&line);
                log.0.lock().expect("the log").push(line);
            }
        });
    }

    /// All of it so far.
    pub(crate) fn text(&self) -> String {
        self.0.lock().expect("the log").join("\n")
    }
}

/// Kills a process when the test process ends without having dropped it: statics are never dropped.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
    _open: Option<ChildStdin>,
}

impl Watchdog {
    /// Over one process.
    pub(crate) fn over(pid: u32) -> Self {
        Self::over_target(&pid.to_string())
    }

    /// Over a process and those it started: it leads a process group.
    pub(crate) fn over_group(leader: u32) -> Self {
        Self::over_target(&format!("-{leader}"))
    }

    fn over_target(target: &str) -> Self {
        bound_this_test();
        let mut shell = Command::new("sh")
            .args(["-c", "read _; kill -s KILL -- \"$0\" 2>/dev/null", target])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let open = shell.stdin.take();
        Self { shell, _open: open }
    }

    /// The process has ended already.
    pub(crate) fn call_off(&mut self) {
        drop(self.shell.kill());
        drop(self.shell.wait());
    }
}
