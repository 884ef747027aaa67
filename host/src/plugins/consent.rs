//! What `plugin grant` and `plugin revoke` propose: what stands in `grants.toml`, what would, and the difference in lines.
//!
//! A proposal is for the bytes that the file has now; they are named by their digest and kept with the grant, so what becomes
//! of the file afterwards changes nothing. Nothing is written before [`Proposal::apply`].

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use super::Setup;
use super::accepted::Accepted;
use super::grants::file::{Granted, GrantsError, GrantsFile, Place};
use super::grants::{self, By};
use super::load;
use super::manifest::{self, Surface};
use super::policy::net::{NamedBy, OriginGrant};
use super::registry::{self, Bytes, Library, Shelves};
use super::settle::Listing;
use super::status::Source;
use crate::config::{FsGrant, SecretSource, is_host_of, parse_origin};

/// What to grant. Where `fs` and `http` are both empty, what the manifest asks for; never by itself a secret, or an origin
/// that is this machine or in its network.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    pub fs: Vec<String>,
    pub http: Vec<String>,
    /// Hosts of origins that may lie in a private network.
    pub private: Vec<String>,
    /// By slot.
    pub secrets: Vec<(String, SecretSource)>,
    /// Slots whose secret may be used to sign.
    pub sign: Vec<String>,
}

/// Why nothing can be proposed.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    #[error("there is no plugin {0:?} that something could be granted to; `stellaclaw plugin list` shows those that there are")]
    NotFound(String),
    #[error("nothing was granted to {0} with `plugin grant`")]
    NotGranted(String),
    #[error("{0} is bundled: it has what it asks for; narrow it, or give it secrets, in the configuration, [plugins.{0}]")]
    Bundled(String),
    #[error("the grants of {name} stand in the configuration; change [plugins.{name}] in {file}")]
    InConfig { name: String, file: String },
    #[error("{name} cannot be loaded, so nothing is granted to it: {reason}")]
    Refused { name: String, reason: String },
    /// What was asked for on the command line makes no sense for this component.
    #[error("{0}")]
    Useless(String),
    #[error(transparent)]
    Grants(#[from] GrantsError),
}

/// A change of `grants.toml` that somebody has to agree to.
#[derive(Debug)]
pub struct Proposal {
    name: String,
    source: Source,
    /// What the plugin is, for the reader.
    title: String,
    path: PathBuf,
    old: Option<(Granted, Vec<String>)>,
    new: Option<(Granted, Vec<String>)>,
    /// What else the reader should know.
    remarks: Vec<String>,
    /// What it is for, and where that is kept.
    bytes: Option<(Bytes, Accepted)>,
}

impl Proposal {
    /// To grant something to the plugin `name`, as its file is now.
    ///
    /// # Errors
    ///
    /// See [`ConsentError`].
    pub fn grant(setup: &Setup, name: &str, ask: &Ask) -> Result<Self, ConsentError> {
        let shelves = Shelves::new(&setup.config.get(), &setup.workdir);
        let found = Library::new(true).find(&shelves, &shelves.list(&Listing::new()).0);
        // The first of a name has it.
        let found = found.into_iter().find(|found| found.name == name).ok_or_else(|| ConsentError::NotFound(name.to_owned()))?;
        if found.source == Source::Bundled {
            return Err(ConsentError::Bundled(name.to_owned()));
        }
        not_in_config(setup, name)?;
        let refused = |reason: String| ConsentError::Refused { name: name.to_owned(), reason };
        let component = found.component.map_err(refused)?;
        let surface = component.surface.map_err(refused)?;
        load::kinds(&surface.imports, &surface.exports).map_err(refused)?;
        let (granted, left_out) = granted(name, found.source, &component.digest, &surface, ask)?;
        let file = GrantsFile::load(&shelves.grants)?;
        let old = file.get(found.source, name).map(|old| (old.clone(), lines(old, kept(setup, &old.sha256).as_ref())));
        let path = found.path.unwrap_or_default();
        let bytes = registry::read(&path).map_err(|error| refused(error.to_string()))?;
        if bytes.digest != component.digest {
            return Err(refused(format!("{} is being written; try again", path.display())));
        }
        let place = path.display();
        Ok(Self {
            title: format!("{name} {} ({}, {place})", surface.manifest.version, found.source),
            name: name.to_owned(),
            source: found.source,
            path: shelves.grants,
            old,
            new: Some((granted.clone(), lines(&granted, Some(&surface)))),
            remarks: left_out,
            bytes: Some((bytes, accepted(setup))),
        })
    }

    /// To take back what was granted to the plugin `name`, whether it is there or not.
    ///
    /// # Errors
    ///
    /// See [`ConsentError`].
    pub fn revoke(setup: &Setup, name: &str) -> Result<Self, ConsentError> {
        let path = Shelves::new(&setup.config.get(), &setup.workdir).grants;
        let file = GrantsFile::load(&path)?;
        let is_configured = setup.config.get().plugins.get(name).is_some_and(|entry| entry.path.is_some());
        let meant = if is_configured { Source::Configured } else { Source::DroppedIn };
        let granted = file.get(meant, name).or_else(|| file.iter().find(|granted| granted.name == name));
        let Some(granted) = granted.cloned() else {
            not_in_config(setup, name)?;
            return Err(ConsentError::NotGranted(name.to_owned()));
        };
        let old = lines(&granted, kept(setup, &granted.sha256).as_ref());
        let source = granted.source;
        let (title, remarks) = (format!("{name} ({source})"), vec![afterwards(setup, &granted)]);
        Ok(Self { name: name.to_owned(), source, title, path, old: Some((granted, old)), new: None, remarks, bytes: None })
    }

    /// Would it change anything?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.old.as_ref().map(|(old, _)| old) == self.new.as_ref().map(|(new, _)| new)
    }

    /// Writes it down, if what was shown as granted still is.
    ///
    /// # Errors
    ///
    /// `grants.toml` has changed in the meantime, or it or the bytes cannot be written.
    pub fn apply(self) -> Result<(), ConsentError> {
        let keep = || {
            let kept = self.bytes.as_ref().map_or(Ok(()), |(bytes, accepted)| accepted.keep(bytes));
            kept.map_err(|error| ConsentError::Refused { name: self.name.clone(), reason: error.to_string() })
        };
        keep()?;
        let old = self.old.as_ref().map(|(old, _)| old);
        let new = self.new.as_ref().map(|(new, _)| new.clone());
        GrantsFile::replace(&self.path, (self.source, &self.name), old, new)?;
        // Before that nothing referred to them, and a host that starts removes such bytes.
        keep()
    }
}

/// What changes, line by line.
impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = Vec::new();
        let (old, new) = (self.old.as_ref().map_or(&none, |(_, lines)| lines), self.new.as_ref().map_or(&none, |(_, lines)| lines));
        let digest =
            |granted: &Option<(Granted, Vec<String>)>| granted.as_ref().map_or("none", |(granted, _)| granted.sha256.as_str()).to_owned();
        writeln!(f, "{}", self.title)?;
        let (before, after) = (digest(&self.old), digest(&self.new));
        if before == after {
            writeln!(f, "  for the bytes with sha256 {after}")?;
        } else {
            writeln!(f, "  for the bytes with sha256 {before}\n    → {after}")?;
        }
        for line in old.iter().chain(new).collect::<BTreeSet<_>>() {
            let sign = match (old.contains(line), new.contains(line)) {
                (true, false) => '-',
                (false, true) => '+',
                _ => ' ',
            };
            writeln!(f, "  {sign} {line}")?;
        }
        if old.is_empty() && new.is_empty() {
            writeln!(f, "    nothing beyond its own /data")?;
        }
        self.remarks.iter().try_for_each(|line| writeln!(f, "  ! {line}"))
    }
}

fn not_in_config(setup: &Setup, name: &str) -> Result<(), ConsentError> {
    let config = setup.config.get();
    match config.plugins.get(name) {
        Some(entry) if !grants::is_silent(entry) => {
            let file = config.source.as_deref().map(|path| path.display().to_string());
            Err(ConsentError::InConfig { name: name.to_owned(), file: file.unwrap_or_else(|| "the configuration".to_owned()) })
        }
        _ => Ok(()),
    }
}

/// What the operator asked for, as far as the component can use it; and what is left out of what the component asks for.
fn granted(name: &str, source: Source, digest: &str, surface: &Surface, ask: &Ask) -> Result<(Granted, Vec<String>), ConsentError> {
    let useless = |text: String| ConsentError::Useless(text);
    let (fs, requested) = grants::requests(surface).map_err(|error| useless(format!("{name}: {error}")))?;
    let unasked = ask.fs.is_empty() && ask.http.is_empty();
    let fs = if unasked { fs } else { ask.fs.clone() };
    // Who built the component has no say in what of this network it reaches.
    let (http, left_out) =
        if unasked { requested.into_iter().partition(|origin| !is_inside(origin, ask)) } else { (ask.http.clone(), Vec::new()) };
    for grant in &ask.fs {
        grant.parse::<FsGrant>().map_err(|error| useless(format!("--fs: {error}")))?;
    }
    if let Some(origin) = ask.http.iter().find(|origin| parse_origin(origin).is_none()) {
        return Err(useless(format!("--http {origin}: write https://host, with :port and /path where needed")));
    }
    if let Some(host) = ask.private.iter().find(|host| !http.iter().any(|origin| is_host_of(host, origin))) {
        return Err(useless(format!("--private {host}: write the host alone, as it stands in an origin that is granted")));
    }
    check_slots(name, surface, ask)?;
    let place = |source: &SecretSource| match source {
        SecretSource::Env(name) => Ok(Place::Env(name.clone())),
        SecretSource::File(path) => Ok(Place::File(path.clone())),
        SecretSource::CodexAuth(_) => Err(useless("--secret: a login is granted in the configuration, with its origins".to_owned())),
    };
    let secrets = ask.secrets.iter().map(|(slot, source)| Ok((slot.clone(), place(source)?)));
    let granted = Granted {
        source,
        name: name.to_owned(),
        sha256: digest.to_owned(),
        fs,
        http,
        private: ask.private.clone(),
        sign: ask.sign.clone(),
        secrets: secrets.collect::<Result<_, ConsentError>>()?,
    };
    is_asked_for(&granted, surface)?;
    Ok((granted, left_out.iter().map(|origin| left_out_line(origin)).collect()))
}

/// Does the origin name this machine or its network, and the operator has not?
fn is_inside(origin: &str, ask: &Ask) -> bool {
    let is_private = ask.private.iter().any(|host| is_host_of(host, origin));
    !is_private && OriginGrant::parse(origin, NamedBy::Operator).is_ok_and(|origin| origin.is_inside())
}

fn left_out_line(origin: &str) -> String {
    let host = parse_origin(origin).and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    format!("http {origin}{} is left out; to allow it add --private {host}", remarks(origin, &[]))
}

/// What is unusual about an origin, for the reader.
fn remarks(origin: &str, private: &[String]) -> String {
    let origin = OriginGrant::parse(origin, grants::named_by(origin, private));
    origin.map_or_else(|_| String::new(), |origin| grants::remarked(&origin.remarks()))
}

/// Has the component these slots, and are they filled?
fn check_slots(name: &str, surface: &Surface, ask: &Ask) -> Result<(), ConsentError> {
    let useless = |text: String| ConsentError::Useless(text);
    for (slot, _) in &ask.secrets {
        if !surface.manifest.slots.iter().any(|declared| declared.name == *slot) {
            let slots: Vec<_> = surface.manifest.slots.iter().map(|slot| slot.name.as_str()).collect();
            let has = if slots.is_empty() { "no slots".to_owned() } else { format!("the slots {}", slots.join(", ")) };
            return Err(useless(format!("--secret {slot}: {name} has {has}")));
        }
    }
    if let Some(slot) = ask.sign.iter().find(|slot| !ask.secrets.iter().any(|(known, _)| known == *slot)) {
        return Err(useless(format!("--sign {slot}: the slot has no secret; add --secret {slot}=env:NAME")));
    }
    Ok(())
}

/// Of what the component does not ask for, nothing would come.
fn is_asked_for(granted: &Granted, surface: &Surface) -> Result<(), ConsentError> {
    let useless = |text: String| ConsentError::Useless(text);
    let name = &granted.name;
    for (flag, one) in granted.fs.iter().map(|one| ("--fs", one)).chain(granted.http.iter().map(|one| ("--http", one))) {
        let mut alone = granted.clone();
        (alone.fs, alone.http) = if flag == "--fs" { (vec![one.clone()], Vec::new()) } else { (Vec::new(), vec![one.clone()]) };
        let grant = grants::decide(name, granted.source, surface, &granted.sha256, Some(&alone.to_plugin()));
        let (grant, _) = grant.map_err(|error| useless(error.to_string()))?;
        if grant.fs.is_empty() && grant.http.is_empty() {
            return Err(useless(format!(
                "{flag} {one}: {name} does not ask for it; `stellaclaw plugin inspect {name}` shows what it asks for"
            )));
        }
    }
    Ok(())
}

/// Each grant on a line.
fn lines(granted: &Granted, surface: Option<&Surface>) -> Vec<String> {
    let secret = |(slot, place): (&String, &Place)| {
        let declared = surface.and_then(|surface| surface.manifest.slots.iter().find(|declared| declared.name == *slot));
        let origins = declared.map_or_else(String::new, |slot| {
            let origins = slot.origins.iter().map(|origin| format!("{origin}{}", remarks(origin, &granted.private)));
            format!(" → {}", origins.collect::<Vec<_>>().join(", "))
        });
        let signs = if granted.sign.contains(slot) { ", may sign" } else { "" };
        format!("secret {slot} = {place}{origins}{signs}")
    };
    let fs = granted.fs.iter().map(|grant| format!("fs {grant}"));
    let http = granted.http.iter().map(|origin| format!("http {origin}{}", remarks(origin, &granted.private)));
    fs.chain(http).chain(granted.secrets.iter().map(secret)).collect()
}

fn accepted(setup: &Setup) -> Accepted {
    Accepted::new(setup.workdir.join("components"))
}

/// What bytes that were accepted before say of themselves.
fn kept(setup: &Setup, digest: &str) -> Option<Surface> {
    let bytes = accepted(setup).get(digest)?;
    manifest::read(&bytes.wasm).ok()
}

/// What serves when nothing is granted any more. Without a grant nobody is asked which bytes those are.
fn afterwards(setup: &Setup, granted: &Granted) -> String {
    let name = &granted.name;
    let shelves = Shelves::new(&setup.config.get(), &setup.workdir);
    let found = Library::new(true).find(&shelves, &shelves.list(&Listing::new()).0);
    let found = found.into_iter().find(|found| found.name == *name).filter(|found| found.source == granted.source);
    let Some(path) = found.as_ref().and_then(|found| found.path.as_deref()) else {
        return "its file is gone, so it serves no more".to_owned();
    };
    let off = format!("to stop that, remove {} or set [plugins.{name}] enabled = false", path.display());
    let keeps = format!("with /data and what else is kept for {name}");
    match found.as_ref().map(|found| &found.component) {
        Some(Ok(component)) if component.digest == granted.sha256 => format!("it goes on serving without these, {keeps}; {off}"),
        Some(Ok(component)) => {
            format!("its file has other bytes, sha256 {}: they serve from then on, without these but {keeps}; {off}", component.digest)
        }
        _ => format!("its file cannot be read; what served before goes on without these, {keeps}; {off}"),
    }
}

/// The digest that the operator has named for a plugin, if they have.
///
/// # Errors
///
/// `grants.toml` cannot be read.
pub fn named_digest(setup: &Setup, name: &str) -> Result<Option<String>, GrantsError> {
    let config = setup.config.get();
    let entry = config.plugins.get(name);
    if let Some(entry) = entry.filter(|entry| !grants::is_silent(entry)) {
        return Ok(entry.sha256.clone());
    }
    let source = if entry.is_some_and(|entry| entry.path.is_some()) { Source::Configured } else { Source::DroppedIn };
    let granted = GrantsFile::load(&Shelves::new(&setup.config.get(), &setup.workdir).grants)?;
    Ok(granted.get(source, name).map(|granted| granted.sha256.clone()))
}

/// Who granted what a plugin may do, for the reader.
pub(super) fn granted_by(by: By, name: &str) -> String {
    match by {
        By::Manifest => "its manifest: it is bundled".to_owned(),
        By::Config => format!("the configuration, [plugins.{name}]"),
        By::GrantsFile => "grants.toml, by `plugin grant`".to_owned(),
        By::Nobody => "nobody".to_owned(),
    }
}
