//! Metrics of the process itself, read from /proc at each scrape (Linux; elsewhere there are none).
//! Names are those every Prometheus client uses. Registered by the admin server.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntGauge};

/// Kernel ticks a second in /proc/self/stat: the ABI fixes USER_HZ at 100 on the supported architectures.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory, CPU time, threads and open files of this process.
pub(crate) struct ProcessCollector {
    resident: IntGauge,
    cpu: Gauge,
    threads: IntGauge,
    open_files: IntGauge,
}

impl ProcessCollector {
    /// # Errors
    /// Never for the names used here; the constructor of a metric can fail.
    pub(crate) fn new() -> prometheus::Result<Self> {
        Ok(Self {
            resident: IntGauge::new("process_resident_memory_bytes", "Resident memory")?,
            cpu: Gauge::new("process_cpu_seconds_total", "User and system CPU time since the process started")?,
            threads: IntGauge::new("process_threads", "Threads")?,
            open_files: IntGauge::new("process_open_fds", "Open file descriptors")?,
        })
    }

    /// `None` where /proc does not have the expected form.
    fn read(&self) -> Option<()> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name))?;
            line.trim_start_matches(':').split_whitespace().next()?.parse::<i64>().ok()
        };
        self.resident.set(field("VmRSS")? * 1024);
        self.threads.set(field("Threads")?);
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The command name in parentheses may hold spaces; utime and stime are the 12th and 13th field after it.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let ticks: f64 = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
        self.cpu.set(ticks / TICKS_PER_SECOND);
        self.open_files.set(i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?);
        Some(())
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        [self.resident.desc(), self.cpu.desc(), self.threads.desc(), self.open_files.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        match self.read() {
            Some(()) => {
                let all = [self.resident.collect(), self.cpu.collect(), self.threads.collect()];
                all.into_iter().chain([self.open_files.collect()]).flatten().collect()
            }
            None => Vec::new(),
        }
    }
}
