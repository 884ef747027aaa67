//! `login codex`: logs in to ChatGPT and keeps the login in `auth.json`, which a model's `api_key` then names.
//!
//! The file is the Codex CLI's, and one login in it does not serve two programs for long: each renewal ends the token of the
//! other. So an own file is better, and one with a login of another account is replaced only after asking.

mod browser;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

use super::args::LoginArgs;
use super::{ExitCode, consent, output};
use crate::config::environment;
use crate::secrets::codex::Login;
use crate::secrets::codex::oauth::{AuthError, AuthServer, Tokens};
use crate::secrets::keep_login;
use crate::{clock, limits};

/// Ports that the server lets a browser come back to.
const PORTS: [u16; 2] = [1455, 1457];

/// Runs the verb.
pub(super) async fn codex(args: LoginArgs) -> anyhow::Result<ExitCode> {
    let path = match &args.file {
        Some(file) => environment::expanded(file).and_then(|file| std::path::absolute(file).ok()),
        None => environment::codex_login(),
    };
    let path = path.context("there is no home directory; say where to keep the login with --file")?;
    let server = AuthServer::new().context("failed to make a client")?;
    let until = Instant::now() + limits::LOGIN_TIME;
    let tokens =
        timeout_at(until, async { if args.device { device(&server).await } else { browser::log_in(&server, &PORTS, &tell).await } });
    let late = || anyhow!("nobody logged in within {} minutes; nothing was changed", limits::LOGIN_TIME.as_secs() / 60);
    let tokens = tokens.await.map_err(|_| ExitCode::Auth.error(late()))?.map_err(|error| ExitCode::Auth.error(error))?;
    let Some(login) = replaces(&path, &tokens, args.yes)? else {
        output::text("Nothing was changed.\n")?;
        return Ok(ExitCode::Denied);
    };
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    }
    keep_login(&path, &login).await.map_err(|reason| anyhow!("failed to keep the login: {reason}"))?;
    output::text(&said(&path, &login))?;
    Ok(ExitCode::Ok)
}

/// What to keep: the new login in the place of what the file holds. None where the person wants to keep that.
fn replaces(path: &Path, tokens: &Tokens, yes: bool) -> anyhow::Result<Option<Login>> {
    let new = Login::new(tokens, clock::now()).context("the server's answer")?;
    let old = match Login::read(path) {
        Ok(old) => old,
        Err(_) if !path.try_exists().unwrap_or(true) => return Ok(Some(new)),
        Err(reason) => {
            let question = format!("{reason}\nReplace the file {}?", path.display());
            return Ok(consent::is_given(yes, &question, &again(path))?.then_some(new));
        }
    };
    // What else is in the file stays with its account.
    if let Ok(renewed) = old.renewed(tokens, clock::now()) {
        return Ok(Some(renewed));
    }
    let question = format!("{} holds the login of {}. Replace it with that of {}?", path.display(), who(&old), who(&new));
    Ok(consent::is_given(yes, &question, &again(path))?.then_some(new))
}

fn again(path: &Path) -> String {
    format!("stellaclaw login codex --yes --file {}", path.display())
}

fn who(login: &Login) -> String {
    login.email().or_else(|| login.account()).unwrap_or_else(|| "an account without a name".to_owned())
}

fn said(path: &Path, login: &Login) -> String {
    let place = path.display();
    let line = format!("api_key = {{ codex_auth = {:?} }}", path.to_string_lossy());
    format!("Logged in as {}. The login is in {place}; a model uses it with\n    {line}\n", who(login))
}

/// The way without a browser on this machine.
async fn device(server: &AuthServer) -> anyhow::Result<Tokens> {
    let device = server.device().await.context("failed to begin")?;
    tell(&format!("Open {} in any browser and enter the code {}\n", server.device_page(), device.user_code))?;
    loop {
        match server.confirmed(&device).await {
            Ok(Some(confirmed)) => return server.claim(&confirmed).await.context("failed to claim the login"),
            // A question that got lost is asked again, until the time for the login is over.
            Ok(None) | Err(AuthError::Failed(_)) => {}
            Err(refused) => return Err(refused).context("failed to ask whether the login is confirmed"),
        }
        sleep(device.interval()).await;
    }
}

/// For the person who waits; standard output is for the result.
fn tell(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    std::io::stderr().write_all(text.as_bytes()).context("failed to say where to log in")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::fake_auth::{file, token};

    fn tokens(account: &str) -> Tokens {
        let said = |number| Some(token(account, None, number));
        Tokens { id_token: said(1), access_token: said(2), refresh_token: Some("refresh-token-1".into()) }
    }

    #[test]
    fn a_login_of_somebody_else_is_not_replaced_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auth.json");
        let replaced = |account: &str, yes| replaces(&path, &tokens(account), yes);
        assert_eq!(replaced("acc-1", false).unwrap().unwrap().account().as_deref(), Some("acc-1"), "there is no file");
        std::fs::write(&path, file("acc-1", None, "refresh-token-0")).unwrap();
        assert_eq!(replaced("acc-1", false).unwrap().unwrap().refresh(), Some("refresh-token-1"), "the same account");
        // There is no terminal to ask on.
        let refused = replaced("acc-2", false).err().unwrap().to_string();
        assert!(refused.contains("stellaclaw login codex --yes"), "{refused}");
        assert_eq!(replaced("acc-2", true).unwrap().unwrap().account().as_deref(), Some("acc-2"));
        std::fs::write(&path, "{}").unwrap();
        assert!(replaced("acc-1", false).is_err(), "what is no login is somebody's file");
        assert!(replaced("acc-1", true).unwrap().is_some());
    }
}
