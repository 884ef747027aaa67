//! What becomes of a link's address. One that Telegram would not take costs the whole message its formatting (error 400), so this
//! follows its rules: `http`, `https` and `tg` with a host as it accepts them. It has no links to `localhost`, and makes a web address
//! of `mailto:`.

use crate::limits;

use super::characters;

#[derive(Debug, PartialEq, Eq)]
pub enum Address {
    /// Behind the label.
    Link(String),
    /// In parentheses after it.
    Shown(String),
    /// Not at all: the bytes of a picture.
    Hidden,
}

/// What to do with the address of a link or a picture.
pub fn address(written: &str) -> Address {
    let clean = characters::cleaned(written);
    let address = clean.trim();
    let Some(scheme) = scheme(address) else { return Address::Shown(address.to_owned()) };
    let rest = &address[scheme.len() + 1..];
    let is_link = address.len() <= limits::LINK_BYTES
        && !address.contains(|c: char| c.is_whitespace())
        && match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => rest.strip_prefix("//").is_some_and(is_web),
            "tg" => rest.strip_prefix("//").is_some_and(is_telegram),
            "mailto" | "tel" => return Address::Shown(rest.to_owned()),
            "data" => return Address::Hidden,
            _ => false,
        };
    if is_link { Address::Link(address.to_owned()) } else { Address::Shown(address.to_owned()) }
}

/// What stands before the colon when that is the name of a scheme.
pub fn scheme(address: &str) -> Option<&str> {
    let (scheme, _) = address.split_once(':')?;
    let is_name = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    is_name.then_some(scheme)
}

/// What stands after the slashes, up to the path.
fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

fn is_web(rest: &str) -> bool {
    let authority = authority(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (host, None),
    };
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
            host.contains('.') && host.chars().all(is_part) && host.chars().any(char::is_alphanumeric)
        }
    };
    is_host && port.is_none_or(is_port)
}

fn is_telegram(rest: &str) -> bool {
    let host = authority(rest);
    !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// Where web addresses stand in a text, not as links but as they are. Their underscores and asterisks are not emphasis.
pub fn bare(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    for (at, _) in text.match_indices("://") {
        let start = match &text[..at] {
            before if before.ends_with("https") => at - 5,
            before if before.ends_with("http") => at - 4,
            _ => continue,
        };
        if found.last().is_some_and(|last| start < last.end) {
            continue;
        }
        let is_end = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '`' | '|' | '[' | ']' | '(' | ')');
        let end = text[at..].find(is_end).map_or(text.len(), |length| at + length);
        found.push(start..end);
    }
    found
}
