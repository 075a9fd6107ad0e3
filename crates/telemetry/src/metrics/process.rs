//! What the kernel says of this process (proc(5)), under the names every Prometheus client uses.

use super::table;
use super::text::Page;
use std::fs;

/// Clock ticks per second in /proc: 100 on every Linux, whatever the kernel's own rate (time(7)).
const TICKS: f64 = 100.0;

/// What is known of the process; what the kernel does not tell is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    cpu_seconds: Option<f64>,
    open_fds: Option<f64>,
    max_fds: Option<f64>,
    virtual_bytes: Option<f64>,
    resident_bytes: Option<f64>,
    start_seconds: Option<f64>,
}

impl Process {
    pub(super) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let process = Self::parse(
            &text("/proc/self/stat"),
            &text("/proc/self/status"),
            &text("/proc/self/limits"),
            &text("/proc/stat"),
        );
        // The directory that is being read is one of them.
        let open_fds = fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1) as f64);
        Self { open_fds, ..process }
    }

    fn parse(stat: &str, status: &str, limits: &str, system: &str) -> Self {
        // The second field is the program's name in parentheses, which may hold spaces and parentheses.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok().map(|ticks| ticks / TICKS);
        let line = |text: &str, name: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
            rest.split_whitespace().next()?.parse::<f64>().ok()
        };
        Self {
            cpu_seconds: ticks(14).zip(ticks(15)).map(|(user, system)| user + system),
            open_fds: None,
            max_fds: line(limits, "Max open files"),
            virtual_bytes: line(status, "VmSize:").map(|kib| kib * 1024.0),
            resident_bytes: line(status, "VmRSS:").map(|kib| kib * 1024.0),
            start_seconds: line(system, "btime ").zip(ticks(22)).map(|(boot, start)| boot + start),
        }
    }

    pub(super) fn write(&self, page: &mut Page) {
        let numbers = [
            (table::CPU_SECONDS, self.cpu_seconds),
            (table::OPEN_FDS, self.open_fds),
            (table::MAX_FDS, self.max_fds),
            (table::VIRTUAL_MEMORY, self.virtual_bytes),
            (table::RESIDENT_MEMORY, self.resident_bytes),
            (table::START_TIME, self.start_seconds),
        ];
        for (metric, value) in numbers {
            if let Some(value) = value {
                page.head(metric);
                page.sample(metric, &[] as &[&str], value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let stat = "42 (odd) name)) S 1 42 42 0 -1 4194560 100 0 0 0 1250 250 0 0 20 0 4 0 9000 1000 200 18446744073709551615";
        let status = "Name:\todd\nVmSize:\t  2048 kB\nVmRSS:\t   512 kB\n";
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n";
        let process = Process::parse(stat, status, limits, "cpu 1 2 3\nbtime 1700000000\n");
        assert_eq!(
            process,
            Process {
                cpu_seconds: Some(15.0),
                open_fds: None,
                max_fds: Some(1024.0),
                virtual_bytes: Some(2_097_152.0),
                resident_bytes: Some(524_288.0),
                start_seconds: Some(1_700_000_090.0),
            }
        );
        assert_eq!(Process::parse("", "", "", ""), Process::default());
    }
}
