//! `plugin grant` and `plugin revoke`: show what would change, ask, and write it down.
//!
//! Only these write `grants.toml`. A running host sees the change by itself.

use anyhow::anyhow;

use super::super::args::{GrantArgs, RevokeArgs};
use super::super::{Context, ExitCode, consent, output};
use crate::config::SecretSource;
use crate::plugins::{Ask, ConsentError, Proposal, Setup};
use crate::workdir::WorkDir;

/// `plugin grant`
pub(in crate::cli) fn grant(context: &Context, args: &GrantArgs) -> anyhow::Result<ExitCode> {
    let secrets = args.secret.iter().map(|text| secret(text)).collect::<anyhow::Result<_>>();
    let secrets = secrets.map_err(|error| ExitCode::Usage.error(error))?;
    let GrantArgs { fs, http, private, sign, .. } = args.clone();
    let ask = Ask { fs, http, private, secrets, sign };
    let proposal = Proposal::grant(&setup(context)?, &args.name, &ask).map_err(coded)?;
    let again = format!("stellaclaw plugin grant {} … --yes", args.name);
    settle(proposal, &args.name, args.yes, "Grant this?", &again)
}

/// `plugin revoke`
pub(in crate::cli) fn revoke(context: &Context, args: &RevokeArgs) -> anyhow::Result<ExitCode> {
    let proposal = Proposal::revoke(&setup(context)?, &args.name).map_err(coded)?;
    let again = format!("stellaclaw plugin revoke {} --yes", args.name);
    settle(proposal, &args.name, args.yes, "Take this back?", &again)
}

fn setup(context: &Context) -> anyhow::Result<Setup> {
    let config = context.config()?.into();
    let workdir = WorkDir::open(&context.workdir)?;
    Ok(Setup { workdir: workdir.root().to_owned(), config, bundled: true })
}

fn settle(proposal: Proposal, name: &str, yes: bool, question: &str, again: &str) -> anyhow::Result<ExitCode> {
    output::text(&proposal.to_string())?;
    if proposal.is_empty() {
        output::text("Nothing changes.\n")?;
        return Ok(ExitCode::Ok);
    }
    if !consent::is_given(yes, question, again)? {
        output::text("Nothing was changed.\n")?;
        return Ok(ExitCode::Denied);
    }
    proposal.apply().map_err(coded)?;
    let done = "Done. A running host sees it within seconds, and ends calls that run with more than is granted now";
    output::text(&format!("{done}; `stellaclaw plugin inspect {name}` shows what it may do.\n"))?;
    Ok(ExitCode::Ok)
}

/// `SLOT=env:NAME` or `SLOT=file:PATH`.
fn secret(text: &str) -> anyhow::Result<(String, SecretSource)> {
    let parse = || {
        let (slot, place) = text.split_once('=')?;
        let source = match place.split_once(':')? {
            ("env", name) if !name.is_empty() => SecretSource::Env(name.to_owned()),
            ("file", path) if !path.is_empty() => SecretSource::File(std::path::absolute(path).ok()?),
            _ => return None,
        };
        (!slot.is_empty()).then(|| (slot.to_owned(), source))
    };
    // What was written may be the secret itself.
    parse().ok_or_else(|| anyhow!("--secret: write SLOT=env:NAME or SLOT=file:PATH; the secret itself has no place on a command line"))
}

fn coded(error: ConsentError) -> anyhow::Error {
    let code = match &error {
        ConsentError::NotFound(_) | ConsentError::NotGranted(_) => ExitCode::NotFound,
        ConsentError::Bundled(_) | ConsentError::InConfig { .. } => ExitCode::Denied,
        ConsentError::Useless(_) => ExitCode::Usage,
        ConsentError::Refused { .. } => ExitCode::Failed,
        ConsentError::Grants(_) => ExitCode::Config,
    };
    code.error(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_named_and_never_repeated() {
        assert_eq!(secret("key=env:KEY").unwrap(), ("key".into(), SecretSource::Env("KEY".into())));
        assert_eq!(secret("key=file:/k").unwrap(), ("key".into(), SecretSource::File("/k".into())));
        for wrong in ["key", "key=sk-123", "key=env:", "=env:KEY", "key=vault:x"] {
            let error = secret(wrong).unwrap_err().to_string();
            assert!(error.contains("SLOT=env:NAME") && !error.contains("sk-123"), "{error}");
        }
    }
}
