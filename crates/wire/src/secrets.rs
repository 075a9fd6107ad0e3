//! Which names tell that what they name is a secret: names of a head's fields, of parameters, of members of JSON. There
//! is one list, for all who show such values, log them, or hold them for longer than their message.

use http::header::HeaderName;

/// Words that tell it wherever they stand in a name.
const WORDS: [&str; 21] = [
    "accesskey",
    "apikey",
    "authkey",
    "authorization",
    "cardnumber",
    "cookie",
    "credential",
    "encryptionkey",
    "functionskey",
    "jwt",
    "masterkey",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "session",
    "signature",
    "subscriptionkey",
    "token",
];

/// Words that tell it at the end of a name: elsewhere they are parts of harmless ones.
const LAST_WORDS: [&str; 9] = ["auth", "cvc", "cvv", "otp", "pass", "pin", "pwd", "sid", "sig"];

/// Whether a field says who somebody is, by all that its name tells: then nobody should read its value, or hold it for
/// longer than its message.
pub fn is_secret(name: &HeaderName) -> bool {
    is_secret_name(name.as_str())
}

/// The same of any name, in whatever case and with whatever between its words: `X-Api-Key`, `api_key` and `apiKey` are
/// one.
pub fn is_secret_name(name: &str) -> bool {
    let mut plain = String::with_capacity(name.len());
    plain.extend(name.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase()));
    has_word(plain.as_bytes())
        || (LAST_WORDS.iter().any(|word| plain.ends_with(word)) && LAST_WORDS.contains(&&*last_word(name)))
}

/// Whether one of the words stands anywhere in a name. Nearly every place of nearly every name is passed over by its two
/// letters.
fn has_word(name: &[u8]) -> bool {
    let is_word_at = |at: usize| WORDS.iter().any(|word| name[at..].starts_with(word.as_bytes()));
    name.windows(2).enumerate().any(|(at, letters)| may_begin(letters[0], letters[1]) && is_word_at(at))
}

/// Whether a word begins with these two letters.
fn may_begin(first: u8, second: u8) -> bool {
    let (first, second) = (first.wrapping_sub(b'a'), second.wrapping_sub(b'a'));
    second < 26 && BEGINNINGS.get(usize::from(first)).is_some_and(|seconds| seconds >> second & 1 == 1)
}

/// For each letter the second letters, as bits, of the words that begin with it.
const BEGINNINGS: [u32; 26] = {
    let (mut table, mut at) = ([0; 26], 0);
    while at < WORDS.len() {
        let word = WORDS[at].as_bytes();
        table[(word[0] - b'a') as usize] |= 1 << (word[1] - b'a');
        at += 1;
    }
    table
};

/// The last word of a name, in small letters; a capital behind a small letter begins one.
fn last_word(name: &str) -> String {
    let name = name.trim_end_matches(|c: char| !c.is_alphanumeric());
    let mut word = String::new();
    let mut behind = None;
    for c in name.chars().rev() {
        let ends_before = behind.is_some_and(char::is_uppercase) && c.is_lowercase();
        if !c.is_alphanumeric() || ends_before {
            break;
        }
        word.insert(0, c.to_ascii_lowercase());
        behind = Some(c);
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_in_all_their_spellings() {
        for name in [
            "Authorization",
            "proxy-authorization",
            "Cookie",
            "set-cookie",
            "X-Api-Key",
            "api_key",
            "apiKey",
            "Ocp-Apim-Subscription-Key",
            "x-auth-token",
            "X-Amz-Signature",
            "newPassword",
            "client_secret",
            "sessionId",
            "user[pwd]",
            "cardPin",
            "PIN",
            "pass",
            "sig",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "",
            "host",
            "x-request-id",
            "idempotency-key",
            "key",
            "author",
            "authority",
            "compass",
            "passenger",
            "pinned",
            "shopping",
            "design",
            "sec-websocket-key",
            "traceparent",
            "tombolo-caller",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
