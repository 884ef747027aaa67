//! `--grant`: what one call may reach, in the words of the configuration.

use anyhow::bail;

use crate::config::{FsGrant, Plugin, is_host_of, parse_origin};

/// What replaces the default grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Grants {
    fs: Vec<FsGrant>,
    http: Vec<String>,
    private: Vec<String>,
}

/// No grants: only `/data`.
pub(super) fn none() -> Grants {
    Grants::default()
}

/// Reads `fs=workspace:ro`, `http=https://api.example.com` and `private=api.example.com`.
pub(super) fn parse(texts: &[String]) -> anyhow::Result<Grants> {
    let mut grants = none();
    for text in texts {
        match text.split_once('=') {
            Some(("fs", grant)) => match grant.parse().ok() {
                Some(grant) => grants.fs.push(grant),
                None => bail!("--grant {text}: write fs=workspace, fs=shared or fs=mounts/NAME, then :ro or :rw"),
            },
            Some(("http", origin)) => match parse_origin(origin) {
                Some(_) => grants.http.push(origin.to_owned()),
                None => bail!("--grant {text}: write http=https://host, with :port and /path where needed"),
            },
            Some(("private", host)) => grants.private.push(host.to_owned()),
            _ => bail!("--grant {text}: write fs=…, http=… or private=…"),
        }
    }
    if let Some(host) = grants.private.iter().find(|host| !grants.http.iter().any(|origin| is_host_of(host, origin))) {
        bail!("--grant private={host}: write the host alone, as it stands in another --grant http=…");
    }
    Ok(grants)
}

impl Grants {
    /// The entry with these grants instead of its own. Settings and limits stay.
    pub fn apply(self, entry: Plugin) -> Plugin {
        let Self { fs, http, private } = self;
        Plugin { fs: Some(fs), http: Some(http), private, secrets: Default::default(), sign: Vec::new(), enabled: None, ..entry }
    }
}

/// The entry without secrets: a bundled component then gets what its manifest asks for, as far as the operator left it.
pub(super) fn default(entry: &Plugin) -> Plugin {
    Plugin { secrets: Default::default(), sign: Vec::new(), ..entry.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FsMount;

    #[test]
    fn a_grant_is_in_the_words_of_the_configuration() {
        let check = |texts: &[&str]| parse(&texts.iter().map(ToString::to_string).collect::<Vec<_>>()).map_err(|error| error.to_string());
        let fs = vec![FsGrant { mount: FsMount::Workspace, writable: false }];
        let (http, private) = (vec!["https://x.example".into()], vec!["x.example".into()]);
        assert_eq!(check(&["fs=workspace:ro", "private=x.example", "http=https://x.example"]), Ok(Grants { fs, http, private }));
        for (wrong, says) in [
            ("fs=/etc:ro", "fs=workspace"),
            ("http=ftp://x", "http=https://host"),
            ("private=x.example", "as it stands in another --grant http=…"),
            ("workspace:rw", "fs=…, http=… or private=…"),
        ] {
            let error = check(&[wrong]).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
