//! Whether a text names a host, and perhaps a port, as the Host header must (RFC 9110 section 7.2). What the
//! name means is for others to find out.

/// The letters of a name: unreserved ones, `%`, and sub-delims (RFC 3986 section 3.2.2).
const LETTERS: [bool; 256] = {
    let mut letters = [false; 256];
    let mut at = 0;
    while at < 256 {
        letters[at] = (at as u8).is_ascii_alphanumeric();
        at += 1;
    }
    let marks = b"-._~%!$&'()*+,;=";
    at = 0;
    while at < marks.len() {
        letters[marks[at] as usize] = true;
        at += 1;
    }
    letters
};

/// Whether this is `name`, `address` or `[address]`, with or without `:port`. Nothing at all is valid too: it
/// is what a client sends whose target has no host.
pub(crate) fn is_valid(host: &[u8]) -> bool {
    let port = match host.strip_prefix(b"[") {
        Some(address) => {
            let Some(end) = memchr::memchr(b']', address) else { return false };
            let address = &address[..end];
            if address.is_empty() || !address.iter().all(|byte| LETTERS[*byte as usize] || *byte == b':') {
                return false;
            }
            &host[end + 2..]
        }
        None => &host[host.iter().take_while(|byte| LETTERS[**byte as usize]).count()..],
    };
    match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for valid in [
            "",
            "h",
            "shop.example",
            "Shop_1.example:8080",
            "127.0.0.1:80",
            "[::1]",
            "[fe80::1%25eth0]:443",
            "h:",
            "a%20b",
        ] {
            assert!(is_valid(valid.as_bytes()), "{valid}");
        }
        for invalid in [
            "h, other", "h other", "h/admin", "user@h", "h:80:80", "h:http", "h:123456", "[::1", "[]",
            "[::1]x", "a\\b", "h?q", "h#f", "http://h", "\u{e4}",
        ] {
            assert!(!is_valid(invalid.as_bytes()), "{invalid}");
        }
    }
}
