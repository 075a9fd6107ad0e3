//! Names and addresses: what a service and a variable may be called, what a wrong spelling was likely meant
//! to be, and the form of the URLs behind `at`.

/// The variable that tells a service where another is: `payment-api` becomes `PAYMENT_API_URL`.
pub fn url_variable(service: &str) -> String {
    let mut name: String = service
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect();
    name.push_str("_URL");
    name
}

/// A DNS label (RFC 1035 2.3.1) in lower case.
pub(crate) fn is_service_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The name that was likely meant: `My_Service` is `my-service`.
pub(crate) fn valid_spelling(name: &str) -> Option<String> {
    let mut valid = String::new();
    let mut last_small = false;
    for character in name.chars().take(200) {
        match character {
            'A'..='Z' => {
                if last_small {
                    valid.push('-');
                }
                valid.push(character.to_ascii_lowercase());
            }
            'a'..='z' | '0'..='9' => valid.push(character),
            _ if !valid.is_empty() && !valid.ends_with('-') => valid.push('-'),
            _ => {}
        }
        last_small = character.is_ascii_lowercase() || character.is_ascii_digit();
    }
    valid.truncate(63);
    let valid = valid.trim_start_matches(|c: char| !c.is_ascii_lowercase()).trim_end_matches('-');
    is_service_name(valid).then(|| valid.to_owned())
}

/// POSIX's portable names, with small letters (XBD 8.1).
pub(crate) fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The variable that was likely meant: `log-level` is `log_level`.
pub(crate) fn valid_variable(name: &str) -> String {
    let mut valid: String =
        name.chars().take(80).map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if !is_variable(&valid) {
        valid.insert(0, '_');
    }
    valid
}

/// Whether this is `http://host:port` or `https://host:port`, the port left out for 80 and 443. Otherwise
/// why not, to follow the key's name, and what to do.
pub(crate) fn service_url(text: &str) -> Result<(), (String, String)> {
    let Some((scheme, rest)) = text.split_once("://") else {
        let host = text.trim_matches('/');
        let host = if host.starts_with(':') { format!("127.0.0.1{host}") } else { host.to_owned() };
        return Err(("needs a scheme".to_owned(), format!("write `http://{host}`")));
    };
    if !matches!(scheme, "http" | "https") {
        return Err((format!("knows no scheme `{scheme}`"), "use `http://` or `https://`".to_owned()));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err((
            "takes no user or password".to_owned(),
            "send them with a filter on the route".to_owned(),
        ));
    }
    if authority.len() < rest.len() {
        return Err(("takes no path".to_owned(), format!("write `{scheme}://{authority}`")));
    }
    let (host, port) = match authority.rfind(']') {
        Some(bracket) => (&authority[..=bracket], &authority[bracket + 1..]),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let host_fits = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            host.len() <= 253
                && !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        }
    };
    if !host_fits {
        let hint = format!("for example `{scheme}://10.0.0.5:8080`; an IPv6 address stands in `[` and `]`");
        return Err(("has no host name or address".to_owned(), hint));
    }
    let port_fits = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| digits.parse::<u16>().is_ok_and(|port| port > 0));
    if !port_fits {
        return Err((
            "has no port from 1 to 65535".to_owned(),
            format!("for example `{scheme}://{host}:8080`"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_has_a_valid_spelling_where_one_can_be_told() {
        for (name, valid) in [
            ("My_Service", Some("my-service")),
            ("paymentAPI", Some("payment-api")),
            ("web.v2", Some("web-v2")),
            ("2cart", Some("cart")),
            ("-a-", Some("a")),
            ("\u{fc}ber web", Some("ber-web")),
            ("123", None),
            ("", None),
        ] {
            assert_eq!(valid_spelling(name).as_deref(), valid, "{name}");
        }
        assert!(is_service_name(&"a".repeat(63)) && !is_service_name(&"a".repeat(64)));
        assert_eq!(url_variable("payment-api"), "PAYMENT_API_URL");
    }

    #[test]
    fn a_url_of_a_service_is_a_scheme_a_host_and_perhaps_a_port() {
        for good in
            ["http://a:80", "https://a.b-c", "http://10.0.0.1:65535", "http://[::1]:80", "http://[::1]"]
        {
            assert_eq!(service_url(good), Ok(()), "{good}");
        }
        for bad in [
            "a:80",
            "ftp://a",
            "http://a/",
            "http://a?b",
            "http://u:p@a",
            "http://",
            "http://a:0",
            "http://::1:80",
            "http://a:b",
        ] {
            assert!(service_url(bad).is_err(), "{bad}");
        }
    }
}
