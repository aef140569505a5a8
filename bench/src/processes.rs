//! What processes cost: their CPU time, from /proc.

use std::{collections::HashMap, fs, str::FromStr, time::Duration};

use clap::Args;

use crate::clients::Problem;

/// The kernel counts CPU time in hundredths of a second wherever it shows it to programs (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// Which processes are measured.
#[derive(Debug, Clone, Args)]
pub struct Watched {
    /// The ids of the server's processes, whose CPU is added up
    #[arg(long = "pid", env = "BENCH_PIDS", value_delimiter = ',')]
    pids: Vec<u32>,
    /// An engine's name and the id of its first process, as `postgres=123`
    #[arg(long = "engine-pid", env = "BENCH_ENGINE_PIDS", value_delimiter = ',')]
    engines: Vec<Engine>,
}

/// An engine, with all processes that its first one has started.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Engine {
    name: String,
    pid: u32,
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, pid) = text.split_once('=').ok_or("an engine is given as name=pid")?;
        let pid = pid.parse().map_err(|_| format!("`{pid}` is no process id"))?;
        Ok(Self { name: name.to_owned(), pid })
    }
}

/// The CPU time that everybody had used at one moment.
#[derive(Debug, Clone)]
pub struct Used {
    /// By the server's processes.
    ours: Duration,
    /// By this program.
    bench: Duration,
    /// By each engine, in the order given.
    engines: Vec<Duration>,
}

impl Watched {
    /// What has been used until now.
    ///
    /// # Errors
    /// A process is gone.
    pub fn look(&self) -> Result<Used, Problem> {
        let all = Processes::read();
        let ours = self.pids.iter().map(|pid| all.used(*pid)).sum::<Result<_, _>>()?;
        let engines = self.engines.iter().map(|engine| all.used(engine.pid)).collect::<Result<_, _>>()?;
        Ok(Used { ours, bench: all.used(std::process::id())?, engines })
    }

    /// The names of the columns that [`Used::since`] fills.
    pub fn columns(&self) -> Vec<String> {
        let engines = self.engines.iter().map(|engine| engine.name.clone());
        ["ours".to_owned()].into_iter().chain(engines).chain(["this program".to_owned()]).collect()
    }
}

impl Used {
    /// What was used since then: by the server, each engine, and this program.
    pub fn since(&self, before: &Self) -> Vec<Duration> {
        let engines = self.engines.iter().zip(&before.engines).map(|(now, then)| now.saturating_sub(*then));
        [self.ours.saturating_sub(before.ours)]
            .into_iter()
            .chain(engines)
            .chain([self.bench.saturating_sub(before.bench)])
            .collect()
    }
}

/// What one process has used itself, with those of its children that have ended.
struct Process {
    parent: u32,
    used: Duration,
}

struct Processes(HashMap<u32, Process>);

impl Processes {
    /// All that can be read; others come and go meanwhile.
    fn read() -> Self {
        let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = folders.filter_map(|folder| folder.file_name().to_str()?.parse::<u32>().ok());
        let read = |pid: u32| Some((pid, Process::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?));
        Self(pids.filter_map(read).collect())
    }

    /// What a process and all below it have used.
    fn used(&self, pid: u32) -> Result<Duration, Problem> {
        let root = self.0.get(&pid).ok_or_else(|| format!("there is no process {pid}"))?;
        let children = self.0.iter().filter(|(_, process)| process.parent == pid);
        children.map(|(child, _)| self.used(*child)).try_fold(root.used, |sum, child| Ok(sum + child?))
    }
}

impl Process {
    /// Reads `/proc/PID/stat` (proc(5)); the name, in brackets, may hold anything.
    fn parse(stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_whitespace().collect();
        let parent = fields.get(1)?.parse().ok()?;
        let ticks = fields.get(11..15)?.iter().map(|ticks| ticks.parse::<u32>().ok()).sum::<Option<u32>>()?;
        Some(Self { parent, used: TICK * ticks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_of_a_process_is_that_of_all_below_it() {
        let stat = |parent: u32, ticks: &str| {
            let text = format!("7 (a) b) S {parent} 1 1 0 -1 0 0 0 0 0 {ticks} 20 0 1 0 9");
            Process::parse(&text).unwrap()
        };
        let all = Processes(HashMap::from([
            (2, stat(1, "1 2 3 4")),
            (3, stat(2, "1 0 0 0")),
            (4, stat(3, "0 0 0 5")),
            (5, stat(1, "9 9 9 9")),
        ]));
        assert_eq!(all.used(2), Ok(TICK * 16));
        assert!(all.used(9).is_err());
    }

    #[test]
    fn an_engine_is_a_name_and_a_process() {
        assert_eq!("redis=12".parse(), Ok(Engine { name: "redis".to_owned(), pid: 12 }));
        assert!("redis".parse::<Engine>().is_err() && "redis=x".parse::<Engine>().is_err());
    }
}
