//! What can be wrong with a machine: too few descriptors, no room on a disk, little shared memory, a container with little memory, a port
//! that is taken, a clock that differs.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::{
    fs::statvfs,
    process::{Resource, getrlimit},
};

use super::Check;

/// Less free disk is too little for anything, and less than the second for long.
const DISK_BYTES_MIN: u64 = 64 << 20;
const DISK_BYTES_LOW: u64 = 1 << 30;
/// Docker's default, which programs that load data in several processes exceed.
const SHARED_MEMORY_BYTES_SMALL: u64 = 64 << 20;
/// How far clocks may differ before people are misled by times; leases do not depend on it.
const CLOCKS_APART: Duration = Duration::from_secs(5);

/// So many files and connections are needed, and more are of use up to the second number.
pub fn descriptors(needed: u64, wanted: u64) -> Check {
    const NAME: &str = "open files";
    // Programs raise the limit themselves, up to the hard one.
    let allowed = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let cure =
        format!("raise it with `ulimit -n {wanted}`, LimitNOFILE= of systemd or --ulimit nofile= of Docker");
    match allowed {
        few if few < needed => Check::failed(NAME, format!("{few} are allowed and {needed} needed"), cure),
        some if some < wanted => {
            Check::warning(NAME, format!("{some} are allowed, fewer connections than there may be"), cure)
        }
        enough => Check::ok(
            NAME,
            format!(
                "{} are allowed",
                if enough == u64::MAX { "any number".to_owned() } else { enough.to_string() }
            ),
        ),
    }
}

/// A folder can be written, or made, and its disk has room. `option` names it on the command line.
pub fn folder(name: &str, path: &Path, option: &str) -> Check {
    let there = existing(path);
    let failed = |error: std::io::Error| {
        let cure = cure_of(&error, option);
        Check::failed(name, format!("{} cannot be written: {error}", path.display()), cure)
    };
    if !there.is_dir() {
        return failed(std::io::ErrorKind::NotADirectory.into());
    }
    let probe = there.join(format!(".sweep-doctor-{}", std::process::id()));
    let written = fs::write(&probe, b"sweep doctor").and_then(|()| fs::remove_file(&probe));
    if let Err(error) = written {
        // Made, and not written: the disk is full.
        let _ = fs::remove_file(&probe);
        return failed(error);
    }
    let free = match statvfs(&there) {
        Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
        Err(error) => return failed(error.into()),
    };
    let is_there = if path.exists() { "is writable" } else { "is not there, and can be made" };
    let says = format!("{} {is_there}, {} are free", path.display(), amount(free));
    match free {
        few if few < DISK_BYTES_MIN => Check::failed(name, says, "make room on its disk"),
        low if low < DISK_BYTES_LOW => Check::warning(name, says, "make room on its disk"),
        _ => Check::ok(name, says),
    }
}

/// What to do where a folder cannot be written.
fn cure_of(error: &std::io::Error, option: &str) -> String {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded => format!("make room on its disk, or name another folder with {option}"),
        _ => format!("make it writable for this user, or name another with {option}"),
    }
}

/// The folder itself, or the one above it that is there.
fn existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// `/dev/shm`, through which programs that load data in several processes pass it.
pub fn shared_memory() -> Check {
    shared_memory_at(Path::new("/dev/shm"))
}

fn shared_memory_at(place: &Path) -> Check {
    const NAME: &str = "shared memory";
    let Ok(found) = statvfs(place) else {
        return Check::skipped(NAME, format!("there is no {}", place.display()));
    };
    let bytes = found.f_blocks.saturating_mul(found.f_frsize);
    let says = format!("{} has {}", place.display(), amount(bytes));
    if bytes > SHARED_MEMORY_BYTES_SMALL {
        return Check::ok(NAME, says);
    }
    let cure = "give the container more (--shm-size of Docker, a volume of memory in Kubernetes) where programs load data in several processes";
    Check::warning(NAME, says, cure)
}

/// The memory that this process may have, by its control groups, is at least that much.
pub fn memory(needed: u64) -> Check {
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    memory_in(Path::new("/sys/fs/cgroup"), &group, needed)
}

/// `group` is what the system says of the process, `0::/PATH`: each folder on the path may have a limit.
fn memory_in(root: &Path, group: &str, needed: u64) -> Check {
    const NAME: &str = "memory";
    let Some(path) = group.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return Check::skipped(NAME, "the system has no control groups of version 2");
    };
    let own = root.join(path);
    let folders = own.ancestors().take_while(|folder| folder.starts_with(root));
    let limits = folders
        .filter_map(|folder| fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse::<u64>().ok());
    match limits.min() {
        None => Check::ok(NAME, "no control group limits it"),
        Some(limit) if limit < needed => Check::warning(
            NAME,
            format!("this process may have {}, and about {} are needed", amount(limit), amount(needed)),
            "raise the limit of its container or service, or start fewer slots",
        ),
        Some(limit) => Check::ok(NAME, format!("this process may have {}", amount(limit))),
    }
}

/// The address can be listened on.
pub fn port(address: SocketAddr, option: &str) -> Check {
    let name = format!("port of {option}");
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(&name, format!("{address} is free")),
        Err(error) => Check::failed(
            &name,
            format!("cannot listen on {address}: {error}"),
            format!("end what listens there, or choose another address with {option}"),
        ),
    }
}

/// A port for probes that other machines reach: it asks no one for a token, and speaks no TLS.
pub fn open_admin(address: SocketAddr) -> Option<Check> {
    let is_open = !address.ip().is_loopback();
    is_open.then(|| {
        Check::warning(
            "probes",
            format!(
                "{address} is in plain text and asks no one for a token: whoever reaches it sees the metrics"
            ),
            "name with --admin an address that only probes and scrapers reach, or close the port to others",
        )
    })
}

/// The coordinator's clock, of which the other end told the time in whole seconds, and this machine's are about the same.
pub fn clock(theirs: SystemTime, ours: SystemTime) -> Check {
    const NAME: &str = "clock";
    let apart = ours.duration_since(theirs).unwrap_or_else(|earlier| earlier.duration());
    if apart <= CLOCKS_APART {
        return Check::ok(NAME, "it agrees with the coordinator's");
    }
    Check::warning(
        NAME,
        format!("it differs from the coordinator's by {} s", apart.as_secs()),
        "set both by NTP: leases do not depend on it, but certificates and the times that people see do",
    )
}

/// Bytes for people.
fn amount(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = UNITS.iter().find(|(_, shift)| bytes >> shift > 0);
    #[allow(clippy::cast_precision_loss)] // One digit behind the point is shown.
    unit.map_or_else(
        || format!("{bytes} B"),
        |(name, shift)| format!("{:.1} {name}", bytes as f64 / (1_u64 << shift) as f64),
    )
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    fn is(check: &Check, verdict: Verdict, part: &str) {
        assert_eq!(check.verdict, verdict, "{check:?}");
        assert!(check.says.contains(part), "{check:?}");
        assert_eq!(check.cure.is_empty(), matches!(verdict, Verdict::Ok | Verdict::Skipped), "{check:?}");
    }

    #[test]
    fn a_limit_on_open_files_is_too_low_or_lower_than_it_may_be() {
        is(&descriptors(1, 1), Verdict::Ok, "allowed");
        let allowed = getrlimit(Resource::Nofile).maximum;
        // Without a limit there is nothing that could be more.
        if let Some(allowed) = allowed {
            is(&descriptors(1, allowed + 1), Verdict::Warning, "allowed");
            is(&descriptors(allowed + 1, allowed + 2), Verdict::Failed, "needed");
        }
    }

    #[test]
    fn a_folder_is_writable_with_all_that_is_missing_above_it_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        is(
            &super::folder("spool", &folder.path().join("a/b"), "--spool"),
            Verdict::Ok,
            "is not there, and can be made",
        );
        is(&super::folder("spool", folder.path(), "--spool"), Verdict::Ok, "is writable");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::write(folder.path().join("file"), "").unwrap();
        let check = super::folder("spool", &folder.path().join("file/b"), "--spool");
        is(&check, Verdict::Failed, "cannot be written");
        assert!(check.cure.contains("--spool"), "{check:?}");
        // Where even root may make no files.
        is(&super::folder("spool", Path::new("/proc/self"), "--spool"), Verdict::Failed, "/proc/self");
    }

    #[test]
    fn a_disk_that_is_full_wants_room_and_not_other_rights() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert!(cure_of(&full, "--store").starts_with("make room on its disk"));
        let closed = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert!(cure_of(&closed, "--store").starts_with("make it writable"));
    }

    #[test]
    fn the_lowest_limit_of_all_control_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("a/b");
        fs::create_dir_all(&own).unwrap();
        let check = |needed| memory_in(root.path(), "12:cpu:/x\n0::/a/b\n", needed);
        is(&check(1), Verdict::Ok, "no control group");
        fs::write(own.join("memory.max"), "max\n").unwrap();
        fs::write(root.path().join("a/memory.max"), "2147483648\n").unwrap();
        is(&check(1 << 30), Verdict::Ok, "2.0 GiB");
        is(&check(3 << 30), Verdict::Warning, "about 3.0 GiB are needed");
        is(&memory_in(root.path(), "3:memory:/x\n", 1), Verdict::Skipped, "version 2");
    }

    #[test]
    fn a_port_that_is_taken_is_named_with_its_option() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let check = port(taken.local_addr().unwrap(), "--http");
        is(&check, Verdict::Failed, "cannot listen");
        assert!(check.cure.contains("--http"), "{check:?}");
        is(&port(SocketAddr::from(([127, 0, 0, 1], 0)), "--http"), Verdict::Ok, "is free");
    }

    #[test]
    fn clocks_may_differ_a_little_in_both_directions() {
        let now = SystemTime::now();
        is(&clock(now, now + Duration::from_secs(5)), Verdict::Ok, "agrees");
        is(&clock(now + Duration::from_secs(60), now), Verdict::Warning, "60 s");
        is(&clock(now, now + Duration::from_secs(3_600)), Verdict::Warning, "3600 s");
    }

    #[test]
    fn shared_memory_is_looked_at_where_there_is_some() {
        is(&shared_memory_at(Path::new("/nowhere")), Verdict::Skipped, "/nowhere");
        assert!(shared_memory().says.contains("/dev/shm"));
        assert_eq!([amount(12), amount(64 << 20), amount(3 << 39)], ["12 B", "64.0 MiB", "1.5 TiB"]);
    }
}
