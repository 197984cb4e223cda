//! CPU time and memory of a process and its descendants, from `/proc`.

use std::collections::HashMap;
use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files (`RLIMIT_NOFILE`) to the hard limit, for this process and its
/// children. Returns the resulting limit.
pub fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    now.unwrap_or(u64::MAX)
}

/// Returns the IDs of a process and all its descendants.
pub fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Some(parent) = fs::read_to_string(format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|stat| parent(&stat))
        else {
            continue;
        };
        children.entry(parent).or_default().push(pid);
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).into_iter().flatten());
        next += 1;
    }
    found
}

/// Returns the parent's ID from `/proc/PID/stat`: the second field after the program name, which may itself
/// contain spaces and brackets.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Returns the CPU time in nanoseconds of all threads alive now (`schedstat`).
pub fn cpu_nanos(root: u32) -> u64 {
    let of_thread = |path: std::path::PathBuf| -> Option<u64> {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    tree(root)
        .into_iter()
        .flat_map(|pid| {
            fs::read_dir(format!("/proc/{pid}/task"))
                .into_iter()
                .flatten()
        })
        .flatten()
        .filter_map(|thread| of_thread(thread.path()))
        .sum()
}

/// Returns the resident memory in KiB (`VmRSS`).
pub fn resident_kb(root: u32) -> u64 {
    sum_of(root, "VmRSS:")
}

/// Returns the peak resident memory in KiB (`VmHWM`), summed over the processes.
pub fn peak_kb(root: u32) -> u64 {
    sum_of(root, "VmHWM:")
}

fn sum_of(root: u32, field: &str) -> u64 {
    tree(root)
        .into_iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok())
        .filter_map(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_found_behind_a_strange_name() {
        assert_eq!(parent("12 (a) b (c) S 7 12 12"), Some(7));
        assert_eq!(parent("12 no name"), None);
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let me = std::process::id();
        assert!(tree(me).contains(&me));
        assert!(cpu_nanos(me) > 0);
        // Read the current value first: other tests allocate memory meanwhile.
        let (now, peak) = (resident_kb(me), peak_kb(me));
        assert!(now > 0 && peak >= now);
    }
}
