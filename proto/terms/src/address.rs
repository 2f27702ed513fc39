//! How people write where a coordinator is.

/// The URL of a coordinator's address, where `HOST:PORT` stands for `http://HOST:PORT`.
///
/// # Errors
/// What is wrong with it, as a clause of a sentence.
pub fn coordinator_url(address: &str) -> Result<String, &'static str> {
    match address.split_once("://") {
        _ if address.is_empty() => Err("it is empty"),
        // A name alone may be anything, such as a file or a sweep.
        None if !has_port(address) => Err("it has neither a scheme nor a port"),
        None => Ok(format!("http://{address}")),
        Some(("http" | "https", _)) => Ok(address.to_owned()),
        Some(_) => Err("its scheme is neither http nor https"),
    }
}

fn has_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_its_scheme() {
        assert_eq!(coordinator_url("127.0.0.1:7070").as_deref(), Ok("http://127.0.0.1:7070"));
        assert_eq!(coordinator_url("[::1]:7070").as_deref(), Ok("http://[::1]:7070"));
        for url in ["http://host:7070", "https://host:7070"] {
            assert_eq!(coordinator_url(url).as_deref(), Ok(url));
        }
        assert!(coordinator_url("ftp://host").is_err() && coordinator_url("").is_err());
        assert!(coordinator_url("nowhere").is_err() && coordinator_url("host:port").is_err());
    }
}
