//! How the programs talk to people: [`text`] makes foreign text safe for each kind of output, [`output`] writes to
//! standard output and standard error and reports what could not be written, [`logging`] sets up log lines, [`signals`]
//! says which signals a program was started to ignore. The crate imports no other crate of the workspace.

use std::net::{IpAddr, SocketAddr};

pub mod logging;
pub mod output;
pub mod signals;
pub mod text;

/// An address to listen on, of a command line.
///
/// # Errors
/// It is none, or lacks its port: what to write.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let without_port = |_| {
        match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => format!("write its port, too: {address}:PORT, or {address}:0 for any that is free"),
        Ok(IpAddr::V6(address)) => format!("write its port, too: [{address}]:PORT, or [{address}]:0 for any that is free"),
        Err(_) => "write an IP address of this machine and a port, such as 127.0.0.1:7070, or 0.0.0.0:7070 for all of its networks"
            .to_owned(),
    }
    };
    text.parse().map_err(without_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_its_port_is_told_how_to_write_it() {
        assert_eq!(listen_address("127.0.0.1:0"), Ok(([127, 0, 0, 1], 0).into()));
        for (wrong, says) in [
            ("127.0.0.1", "write its port, too: 127.0.0.1:PORT,"),
            ("::1", "write its port, too: [::1]:PORT,"),
            ("localhost:7070", "write an IP address of this machine and a port, such as 127.0.0.1:7070,"),
            ("7070", "write an IP address of this machine and a port,"),
        ] {
            let told = listen_address(wrong).unwrap_err();
            assert!(told.starts_with(says), "{wrong}: {told}");
        }
    }
}
