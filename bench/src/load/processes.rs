//! What processes use, from /proc.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    str::FromStr,
    time::Duration,
};

use crate::clients::Problem;

/// Ticks of a second in /proc, which Linux gives to programs as 100 whatever it counts itself.
const TICKS_PER_S: u64 = 100;

/// A process under measure, with what it is called in a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    pub pid: u32,
}

impl FromStr for Role {
    type Err = Problem;

    /// `gateway=1234`, or `1234`, which is called `server`.
    fn from_str(text: &str) -> Result<Self, Problem> {
        let (name, pid) = text.split_once('=').unwrap_or(("server", text));
        let pid = pid.parse().map_err(|_| format!("`{pid}` is no id of a process"))?;
        Ok(Self { name: name.to_owned(), pid })
    }
}

/// What processes have used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Processor time, in user and kernel.
    pub cpu: Duration,
    /// Memory (RSS), in bytes.
    pub memory: u64,
}

impl Used {
    fn add(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.memory += other.memory;
    }
}

/// What each role has used: its processes and all that they have started.
///
/// # Errors
/// One of the processes is gone.
pub fn look(roles: &[Role]) -> Result<BTreeMap<String, Used>, Problem> {
    let running = running()?;
    let mut used = BTreeMap::<String, Used>::new();
    for role in roles {
        if !running.contains_key(&role.pid) {
            return Err(format!("there is no process {} ({})", role.pid, role.name));
        }
        let sum = used.entry(role.name.clone()).or_default();
        family(role.pid, &running).iter().filter_map(|pid| running.get(pid)).for_each(|one| sum.add(one.used));
    }
    Ok(used)
}

/// What this process has used.
pub fn own() -> Used {
    Stat::read("self").map(|stat| stat.used).unwrap_or_default()
}

/// How busy the cores have been in all, the kernel's own work and what the hypervisor took included.
///
/// # Errors
/// /proc does not tell.
pub fn machine() -> Result<Duration, Problem> {
    let stat = fs::read_to_string("/proc/stat").map_err(|error| format!("/proc/stat: {error}"))?;
    busy(&stat).ok_or_else(|| "/proc/stat does not tell how busy the cores are".to_owned())
}

fn busy(stat: &str) -> Option<Duration> {
    let mut fields = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace().map(str::parse::<u64>);
    // User, nice, system, idle, waiting for the disk, interrupts, soft interrupts, stolen; guests are in the first two.
    let ticks = fields.by_ref().take(8).collect::<Result<Vec<_>, _>>().ok()?;
    Some(Duration::from_millis((ticks.iter().sum::<u64>() - ticks.get(3)? - ticks.get(4)?) * 1_000 / TICKS_PER_S))
}

/// A process and its descendants.
fn family(pid: u32, running: &BTreeMap<u32, Stat>) -> BTreeSet<u32> {
    let mut family = BTreeSet::from([pid]);
    loop {
        let children = running.iter().filter(|(_, stat)| family.contains(&stat.parent)).map(|(pid, _)| *pid);
        let grown: BTreeSet<_> = family.iter().copied().chain(children).collect();
        if grown.len() == family.len() {
            return family;
        }
        family = grown;
    }
}

fn running() -> Result<BTreeMap<u32, Stat>, Problem> {
    let entries = fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    Ok(pids.filter_map(|pid| Some((pid, Stat::read(&pid.to_string())?))).collect())
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    used: Used,
}

impl Stat {
    /// `None` of a process that has ended meanwhile.
    fn read(pid: &str) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Self::parse(&stat, &status)
    }

    fn parse(stat: &str, status: &str) -> Option<Self> {
        // The name stands in brackets and may have any of them in it.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        // From `utime` to `cstime`: its own, and that of children which it waited for (proc(5) counts from the third field).
        let ticks: u64 = fields.get(11..15)?.iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = memory.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        let cpu = Duration::from_millis(ticks * 1_000 / TICKS_PER_S);
        // What waits to be reaped has no memory.
        Some(Self { parent: fields.get(1)?.parse().ok()?, used: Used { cpu, memory: kib.unwrap_or(0) * 1_024 } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_process_and_of_children_are_summed() {
        let stat = "7 (a) b) S 3 7 7 0 -1 4194304 1 0 0 0 150 50 7 3 20 0 1 0 5 1 1";
        let used = Used { cpu: Duration::from_millis(2_100), memory: 2_048 };
        assert_eq!(Stat::parse(stat, "Name:\ta\nVmRSS:\t       2 kB\n"), Some(Stat { parent: 3, used }));
    }

    #[test]
    fn the_machine_is_busy_when_it_neither_idles_nor_waits() {
        let stat = "cpu  10 20 30 400 500 6 7 8 9 1\ncpu0 1 2 3 4 5 6 7 8 9 1\n";
        assert_eq!(busy(stat), Some(Duration::from_millis(810)));
        assert_eq!(busy("intr 1"), None);
    }

    #[test]
    fn descendants_are_found_through_their_parents() {
        let of = |parent| Stat { parent, used: Used::default() };
        let running = BTreeMap::from([(1, of(0)), (5, of(1)), (9, of(5)), (3, of(9)), (4, of(1))]);
        assert_eq!(family(5, &running), BTreeSet::from([3, 5, 9]));
    }

    #[test]
    fn a_role_has_a_name_or_is_the_server() {
        assert_eq!("12".parse(), Ok(Role { name: "server".to_owned(), pid: 12 }));
        assert_eq!("gateway=12".parse(), Ok(Role { name: "gateway".to_owned(), pid: 12 }));
        assert!("gateway=x".parse::<Role>().is_err());
    }
}
