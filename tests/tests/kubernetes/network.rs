//! A network of hosts without a cluster: network namespaces on one switch, each with an address of its own, and names that the hosts
//! of it know.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::Ipv4Addr,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Addresses of hosts begin here; the switch has the first of the network.
const FIRST: u8 = 10;

/// The switch and its hosts; dropping this removes them.
pub(super) struct Network {
    name: String,
    /// What every host has as `/etc/hosts`.
    names: PathBuf,
    known: BTreeMap<String, Ipv4Addr>,
    hosts: u8,
}

/// A host: its namespace is removed with the network.
#[derive(Debug, Clone)]
pub(super) struct Host {
    namespace: String,
    pub(super) address: Ipv4Addr,
}

impl Network {
    /// Makes a switch, whose namespace the calling thread enters, and with it what the thread starts. None, with a printed reason, where
    /// this is not allowed.
    pub(super) fn enter(name: &str, folder: &Path) -> Option<Self> {
        let name = format!("sweep{}{name}", std::process::id());
        let names = folder.join("hosts");
        fs::write(&names, "127.0.0.1 localhost\n").unwrap();
        let network = Self { name, names, known: BTreeMap::new(), hosts: 0 };
        let switch = network.switch();
        let made = ip(&["netns", "add", &switch])
            && ip(&["-n", &switch, "link", "set", "lo", "up"])
            && ip(&["-n", &switch, "link", "add", "switch", "type", "bridge"])
            && ip(&["-n", &switch, "addr", "add", "10.214.0.1/24", "dev", "switch"])
            && ip(&["-n", &switch, "link", "set", "switch", "up"]);
        if !made {
            tests::skipped(
                "network namespaces cannot be made here (root is needed): coordinators and workers on several hosts are not tested",
            );
            return None;
        }
        let namespace = File::open(Path::new("/run/netns").join(&switch)).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        Some(network)
    }

    fn switch(&self) -> String {
        format!("{}n", self.name)
    }

    /// A new host, with an address that none had before. Whoever asks for one of `names` finds it from now on.
    pub(super) fn host(&mut self, names: &[String]) -> Host {
        let number = self.hosts;
        self.hosts += 1;
        let (switch, namespace) = (self.switch(), format!("{}h{number}", self.name));
        let address = Ipv4Addr::new(10, 214, 0, FIRST + number);
        let port = format!("port{number}");
        let cable = ["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &namespace];
        let made = ip(&["netns", "add", &namespace])
            && ip(&[["-n", &switch].as_slice(), &cable].concat())
            && ip(&["-n", &switch, "link", "set", &port, "master", "switch", "up"])
            && ip(&["-n", &namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"])
            && ip(&["-n", &namespace, "link", "set", "eth0", "up"])
            && ip(&["-n", &namespace, "link", "set", "lo", "up"]);
        assert!(made, "the host {namespace} cannot be made");
        self.known.extend(names.iter().map(|name| (name.clone(), address)));
        let lines = self.known.iter().map(|(name, address)| format!("{address} {name}\n"));
        // In place: the file is what each host has mounted.
        fs::write(&self.names, format!("127.0.0.1 localhost\n{}", lines.collect::<String>())).unwrap();
        Host { namespace, address }
    }

    /// Takes a host from the network, as when its machine is gone.
    pub(super) fn remove(&self, host: &Host) {
        assert!(ip(&["netns", "del", &host.namespace]));
    }

    /// What runs a program on a host: it replaces itself by the program.
    pub(super) fn on(&self, host: &Host) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &host.namespace, "unshare", "-m", "sh", "-c"])
            .arg("mount --bind \"$0\" /etc/hosts && exec \"$@\"")
            .arg(&self.names);
        command
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Those that were removed before are not there.
        for number in 0..self.hosts {
            ip(&["netns", "del", &format!("{}h{number}", self.name)]);
        }
        ip(&["netns", "del", &self.switch()]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
