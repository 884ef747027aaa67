//! What a plugin may do here, decided without doing anything.
//!
//! Grant = its imports ∩ its manifest's request ∩ the operator's allowance ∩ what the session has. [`decide`] computes the
//! first three once per load, [`mounts`] and [`Grant::for_model`] the last one per call. A bundled component's allowance is
//! what it requests, narrowed by `[plugins.NAME]`; any other gets `/data` until the operator grants more to one SHA-256.
//!
//! No message, model, tool or file beside a component is an input here.

pub(super) mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::call::Places;
use super::manifest::Surface;
use super::policy::net::{NamedBy, OriginError, OriginGrant};
use super::status::{Kind, Source};
use crate::config::{self, FsGrant, FsGrantError, FsMount, SecretSource};

/// The slot that a model entry's `api_key` fills.
pub(super) const API_KEY_SLOT: &str = "api-key";

/// Where a login goes unless the operator names another place.
const LOGIN_ORIGIN: &str = "https://chatgpt.com";

/// The most a plugin may do, whatever the session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Grant {
    pub plugin: String,
    /// Is it for these bytes: bundled, or named by the operator? Without that nothing is ever added to it.
    pub tied: bool,
    pub fs: Vec<FsGrant>,
    pub http: Vec<OriginGrant>,
    pub secrets: BTreeMap<String, SlotSecret>,
    /// Slots whose secret `secrets.sign` may use as a key.
    pub sign: BTreeSet<String>,
}

/// A secret in a slot, and where it may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SlotSecret {
    pub source: SecretSource,
    pub origins: Vec<OriginGrant>,
}

/// Something the plugin asks for and does not have, because the operator has not said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    pub reason: String,
    /// What to add to the configuration.
    pub line: String,
    /// What to run instead, where the configuration says nothing about it.
    pub command: Option<String>,
}

/// Who says what a plugin may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// It is bundled, and nobody narrows what it asks for.
    Manifest,
    /// `[plugins.NAME]`
    Config,
    /// `plugin grant`
    GrantsFile,
    Nobody,
}

/// A grant or a request that cannot be read. Says where it stands.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GrantError {
    #[error("its manifest: requests.fs: {0}")]
    Fs(#[from] FsGrantError),
    #[error("{place}: {source}")]
    Origin { place: String, source: OriginError },
    #[error(
        "[models.{model}] gives {what} to the plugin {plugin}, which the operator has not tied to its bytes; to allow it add\n[plugins.{plugin}]\nsha256 = \"{digest}\""
    )]
    Untied { plugin: String, model: String, what: &'static str, digest: String },
}

/// A directory that a call sees.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MountPlan {
    pub path: PathBuf,
    /// Names for one and the same place.
    pub guests: Vec<String>,
    pub writable: bool,
    /// What would make it writable.
    pub key: String,
    /// Directories that appear inside it.
    pub inner: Vec<InnerPlan>,
}

/// A directory that appears inside another one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InnerPlan {
    /// `shared` or `mounts/NAME`.
    pub name: String,
    pub path: PathBuf,
    pub writable: bool,
    /// What would make it writable.
    pub key: String,
}

/// What a plugin gets from the operator, and what it asks for beyond that.
pub(super) fn decide(
    plugin: &str,
    source: Source,
    surface: &Surface,
    digest: &str,
    entry: Option<&config::Plugin>,
) -> Result<(Grant, Option<Missing>), GrantError> {
    let request = Request::read(surface)?;
    let Some(entry) = entry else {
        return Ok(if source == Source::Bundled {
            (Grant { plugin: plugin.into(), tied: true, fs: request.fs, http: request.http, ..Grant::default() }, None)
        } else {
            (Grant { plugin: plugin.into(), ..Grant::default() }, request.missing(plugin, Some(digest)))
        });
    };
    let tied = source == Source::Bundled || entry.trust_path || entry.sha256.as_deref() == Some(digest);
    let grants_something =
        [&entry.fs.as_ref().map(Vec::len), &entry.http.as_ref().map(Vec::len), &Some(entry.secrets.len()), &Some(entry.sign.len())]
            .into_iter()
            .any(|count| count.is_some_and(|count| count > 0));
    if !tied {
        let missing = if grants_something {
            let reason = format!("the grants of [plugins.{plugin}] are not for these bytes; it runs without them");
            Some(Missing { reason, line: format!("[plugins.{plugin}]\nsha256 = \"{digest}\""), command: None })
        } else {
            request.missing(plugin, Some(digest))
        };
        return Ok((Grant { plugin: plugin.into(), ..Grant::default() }, missing));
    }

    let own = |requested: &Vec<FsGrant>| if source == Source::Bundled { requested.clone() } else { Vec::new() };
    let fs = entry.fs.as_ref().map_or_else(|| own(&request.fs), |allowed| meet_fs(&request.fs, allowed));
    let http = match &entry.http {
        None if source == Source::Bundled => request.http.clone(),
        None => Vec::new(),
        Some(allowed) => meet_origins(&request.http, &allowances(plugin, allowed, &entry.private)?),
    };
    let secrets = slot_secrets(plugin, surface, entry)?;
    let sign = entry.sign.iter().filter(|slot| secrets.contains_key(*slot)).cloned().collect();
    let missing = request.unanswered(entry).missing(plugin, None).filter(|_| source != Source::Bundled);
    Ok((Grant { plugin: plugin.into(), tied, fs, http, secrets, sign }, missing))
}

/// Does the entry leave the grants to `grants.toml`?
pub(super) fn is_silent(entry: &config::Plugin) -> bool {
    let config::Plugin { sha256, trust_path, fs, http, private, secrets, sign, .. } = entry;
    let nothing = fs.is_none() && http.is_none() && private.is_empty() && secrets.is_empty() && sign.is_empty();
    sha256.is_none() && !trust_path && nothing
}

/// The lines of the configuration that would grant a component everything it asks for, but secrets.
pub(super) fn requested(plugin: &str, surface: &Surface, digest: &str) -> String {
    let asked = Request::read(surface).ok().and_then(|request| request.missing(plugin, Some(digest)));
    asked.map_or_else(|| format!("[plugins.{plugin}]\nsha256 = \"{digest}\""), |asked| asked.line)
}

/// What a component asks for in files and origins, in the words of the configuration.
pub(super) fn requests(surface: &Surface) -> Result<(Vec<String>, Vec<String>), GrantError> {
    let request = Request::read(surface)?;
    Ok((request.fs.iter().map(ToString::to_string).collect(), request.http_texts))
}

impl Grant {
    /// The grant for a call with `model`: its `api_key` fills the slot, and writing `base_url` is the operator's naming of
    /// that origin, the only one that then gets the key. Bytes that nobody named get neither.
    pub fn for_model(&self, surface: &Surface, digest: &str, model: &config::Model) -> Result<Self, GrantError> {
        let given = match model {
            config::Model { api_key: Some(_), .. } => Some("an api_key"),
            config::Model { base_url: Some(_), .. } => Some("a base_url"),
            _ => None,
        };
        if let Some(what) = given.filter(|_| !self.tied) {
            let (plugin, model, digest) = (self.plugin.clone(), model.alias.clone(), digest.to_owned());
            return Err(GrantError::Untied { plugin, model, what, digest });
        }
        let mut grant = self.clone();
        let named = match &model.base_url {
            Some(url) => origins(&format!("[models.{}] base_url", model.alias), std::slice::from_ref(url), NamedBy::OperatorAsPrivate)?,
            None => Vec::new(),
        };
        if let (Some(source), Some(slot)) = (&model.api_key, surface.manifest.slots.iter().find(|slot| slot.name == API_KEY_SLOT)) {
            let origins = match source {
                _ if !named.is_empty() => named.clone(),
                // Whatever the manifest says: no other server is told of a login.
                SecretSource::CodexAuth(_) => origins("logins", &[LOGIN_ORIGIN.to_owned()], NamedBy::Manifest)?,
                _ => origins("its manifest: slots", &slot.origins, NamedBy::Manifest)?,
            };
            grant.secrets.insert(API_KEY_SLOT.into(), SlotSecret { source: source.clone(), origins });
        }
        if reaches_out(surface) {
            grant.http.extend(named);
        }
        Ok(grant)
    }

    /// Does it allow all that `other` does?
    pub fn covers(&self, other: &Self) -> bool {
        let files = |one: &FsGrant| self.fs.iter().any(|own| own.mount == one.mount && (own.writable || !one.writable));
        let secret = |(slot, one): (&String, &SlotSecret)| {
            self.secrets
                .get(slot)
                .is_some_and(|own| own.source == one.source && one.origins.iter().all(|origin| own.origins.contains(origin)))
        };
        (self.tied || !other.tied)
            && other.fs.iter().all(files)
            && other.http.iter().all(|origin| self.http.contains(origin))
            && other.secrets.iter().all(secret)
            && other.sign.is_subset(&self.sign)
    }

    /// Each grant on a line, for `inspect`.
    pub fn lines(&self) -> Vec<String> {
        let secrets = self.secrets.iter().map(|(slot, secret)| {
            let origins: Vec<_> = secret.origins.iter().map(origin_text).collect();
            let signs = if self.sign.contains(slot) { ", may sign" } else { "" };
            format!("secret {slot} → {}{signs}", origins.join(", "))
        });
        let fs = self.fs.iter().map(|grant| format!("fs {grant}"));
        let http = self.http.iter().map(|origin| format!("http {}{}", origin_text(origin), remarked(&origin.remarks())));
        ["fs /data (plugin-private)".to_owned()].into_iter().chain(fs).chain(http).chain(secrets).collect()
    }
}

/// Where a manifest asks for origins.
const HTTP_PLACE: &str = "its manifest: requests.http";

/// Everything in a manifest's requests and slots that cannot be read, whether the component could use it or not.
pub(super) fn problems(surface: &Surface) -> Vec<GrantError> {
    let manifest = &surface.manifest;
    let fs = manifest.requests.fs.iter().filter_map(|text| text.parse::<FsGrant>().err().map(GrantError::Fs));
    let http = manifest.requests.http.iter().map(|text| (HTTP_PLACE.to_owned(), text));
    let slots = manifest.slots.iter().flat_map(|slot| slot.origins.iter().map(|text| (format!("its manifest: slots {}", slot.name), text)));
    let origins = http.chain(slots).filter_map(|(place, text)| origins(&place, std::slice::from_ref(text), NamedBy::Manifest).err());
    fs.chain(origins).collect()
}

/// What of a manifest's requests and of its imports the other does not know.
pub(super) fn unmatched(surface: &Surface, kinds: &[Kind]) -> Vec<String> {
    let manifest = &surface.manifest;
    let (http, secrets, fs) = (reaches_out(surface), imports(surface, "stellaclaw:plugin/secrets"), imports(surface, "wasi:filesystem/"));
    let origins = manifest.requests.http.is_empty() && manifest.slots.iter().all(|slot| slot.origins.is_empty());
    // A model's `base_url` names an origin, too.
    let has_entries = kinds.iter().any(|kind| kind.serves_models());
    let found = [
        (
            !fs && !manifest.requests.fs.is_empty(),
            "it asks for files and imports nothing that could use them: remove `fs` from its manifest",
        ),
        (
            !http && !manifest.requests.http.is_empty(),
            "it asks for origins and imports neither http nor websocket: remove `http` from its manifest",
        ),
        (
            http && origins && !has_entries,
            "it imports http or websocket and asks for no origin: name those it needs in `http`, or each request is refused",
        ),
        (
            !http && !secrets && !manifest.slots.is_empty(),
            "it has slots for secrets and imports neither http nor websocket nor secrets: remove them",
        ),
        (secrets && manifest.slots.is_empty(), "it imports secrets and has no slot: there is no secret that it could use"),
        (
            !kinds.contains(&Kind::Provider) && imports(surface, "stellaclaw:plugin/deltas"),
            "it imports deltas, which only a provider can use",
        ),
    ];
    found.into_iter().filter(|(is_so, _)| *is_so).map(|(_, text)| text.to_owned()).collect()
}

/// The import that requests go through.
const HTTP: &str = "stellaclaw:plugin/http";

/// What a component's manifest asks for, as far as its imports could use it.
#[derive(Debug, Default)]
struct Request {
    fs: Vec<FsGrant>,
    http: Vec<OriginGrant>,
    /// As the manifest writes them.
    http_texts: Vec<String>,
    slots: Vec<String>,
}

impl Request {
    fn read(surface: &Surface) -> Result<Self, GrantError> {
        if let Some(problem) = problems(surface).into_iter().next() {
            return Err(problem);
        }
        let mut request = Self::default();
        if imports(surface, "wasi:filesystem/") {
            request.fs = surface.manifest.requests.fs.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        }
        if reaches_out(surface) {
            request.http_texts.clone_from(&surface.manifest.requests.http);
            request.http = origins(HTTP_PLACE, &request.http_texts, NamedBy::Manifest)?;
        }
        if takes_secrets(surface) {
            request.slots = surface.manifest.slots.iter().map(|slot| slot.name.clone()).collect();
        }
        Ok(request)
    }

    /// What the operator has said nothing about, neither yes nor no.
    fn unanswered(mut self, entry: &config::Plugin) -> Self {
        if entry.fs.is_some() {
            self.fs.clear();
        }
        if entry.http.is_some() {
            self.http_texts.clear();
        }
        self.slots.clear();
        self
    }

    /// `digest`: what the grants still have to be tied to; none where they are.
    fn missing(&self, plugin: &str, digest: Option<&str>) -> Option<Missing> {
        let list = |key: &str, items: Vec<String>| {
            let quoted: Vec<_> = items.into_iter().map(|item| toml::Value::String(item).to_string()).collect();
            (!quoted.is_empty()).then(|| format!("{key} = [{}]", quoted.join(", ")))
        };
        let fs = list("fs", self.fs.iter().map(ToString::to_string).collect());
        let asked: Vec<_> = fs.into_iter().chain(list("http", self.http_texts.clone())).collect();
        if asked.is_empty() {
            return None;
        }
        let tie = digest.map(|digest| format!("sha256 = \"{digest}\""));
        let lines: Vec<_> = [format!("[plugins.{plugin}]")].into_iter().chain(tie).chain(asked.clone()).collect();
        let reason = format!("it asks for {}, which is not granted", asked.join(" and "));
        Some(Missing { reason, line: lines.join("\n"), command: None })
    }
}

fn slot_secrets(plugin: &str, surface: &Surface, entry: &config::Plugin) -> Result<BTreeMap<String, SlotSecret>, GrantError> {
    if !takes_secrets(surface) {
        return Ok(BTreeMap::new());
    }
    let declared = surface.manifest.slots.iter().filter_map(|slot| entry.secrets.get(&slot.name).map(|grant| (slot, grant)));
    declared
        .map(|(slot, grant)| {
            let (texts, named_by) =
                if grant.origins.is_empty() { (&slot.origins, NamedBy::Manifest) } else { (&grant.origins, NamedBy::Operator) };
            let origins = origins(&format!("[plugins.{plugin}] secrets.{}", slot.name), texts, named_by)?;
            Ok((slot.name.clone(), SlotSecret { source: grant.source.clone(), origins }))
        })
        .collect()
}

/// The directories of a call: what is granted, as far as the session has it, and the plugin's own.
pub(super) fn mounts(grant: &Grant, places: Option<&Places>, data: Option<PathBuf>) -> Vec<MountPlan> {
    let mut plans = Vec::new();
    let key = |mount: &FsMount| format!("[plugins.{}] fs = [\"{}\"]", grant.plugin, FsGrant { mount: mount.clone(), writable: true });
    for FsGrant { mount, writable } in grant.fs.iter().filter(|_| places.is_some()) {
        let Some(places) = places else { break };
        let plan = |path: &PathBuf, guests: [String; 2], writable: bool| MountPlan {
            path: path.clone(),
            guests: guests.into(),
            writable,
            key: key(mount),
            inner: Vec::new(),
        };
        match mount {
            FsMount::Workspace => {
                let inner = inner_plans(grant, places, key);
                plans.push(MountPlan { inner, ..plan(&places.workspace, [".".into(), "/workspace".into()], *writable) });
            }
            FsMount::Shared => {
                plans.extend(places.shared.iter().map(|path| plan(path, ["shared".into(), "/workspace/shared".into()], *writable)));
            }
            FsMount::Mount(name) => {
                plans.extend(
                    places.mounts.iter().filter(|own| own.name == *name).map(|own| {
                        plan(&own.path, [format!("mounts/{name}"), format!("/workspace/mounts/{name}")], *writable && own.writable)
                    }),
                )
            }
        }
    }
    plans.extend(data.map(|path| MountPlan { path, guests: vec!["/data".into()], writable: true, key: String::new(), inner: Vec::new() }));
    plans
}

/// What appears inside the workspace, each by the grant that names it, and by the workspace's where none does.
fn inner_plans(grant: &Grant, places: &Places, key: impl Fn(&FsMount) -> String) -> Vec<InnerPlan> {
    let plan = |name: String, path: &PathBuf, mount: FsMount, possible: bool| InnerPlan {
        name,
        path: path.clone(),
        writable: possible && writable(&grant.fs, &mount) == Some(true),
        key: key(&mount),
    };
    let shared = places.shared.iter().map(|path| plan("shared".into(), path, FsMount::Shared, true));
    let mounted =
        places.mounts.iter().map(|own| plan(format!("mounts/{}", own.name), &own.path, FsMount::Mount(own.name.clone()), own.writable));
    shared.chain(mounted).collect()
}

/// What `grants` say about `mount`: the one that names it, or else the workspace's, in which it appears.
fn writable(grants: &[FsGrant], mount: &FsMount) -> Option<bool> {
    let of =
        |mount: &FsMount| grants.iter().filter(|grant| grant.mount == *mount).map(|grant| grant.writable).reduce(|one, other| one | other);
    of(mount).or_else(|| of(&FsMount::Workspace))
}

/// Does the component import an interface whose name begins so?
fn imports(surface: &Surface, prefix: &str) -> bool {
    surface.imports.iter().any(|import| import.starts_with(prefix))
}

fn takes_secrets(surface: &Surface) -> bool {
    reaches_out(surface) || imports(surface, "stellaclaw:plugin/secrets")
}

/// Could it use an origin?
fn reaches_out(surface: &Surface) -> bool {
    imports(surface, HTTP) || imports(surface, "stellaclaw:plugin/websocket")
}

fn meet_fs(requested: &[FsGrant], allowed: &[FsGrant]) -> Vec<FsGrant> {
    let mut met: Vec<FsGrant> = Vec::new();
    for FsGrant { mount, .. } in requested.iter().chain(allowed) {
        if let (Some(requested), Some(allowed)) = (writable(requested, mount), writable(allowed, mount))
            && !met.iter().any(|grant| grant.mount == *mount)
        {
            met.push(FsGrant { mount: mount.clone(), writable: requested && allowed });
        }
    }
    met
}

fn meet_origins(requested: &[OriginGrant], allowed: &[OriginGrant]) -> Vec<OriginGrant> {
    let pairs = requested.iter().flat_map(|request| allowed.iter().map(move |allowance| (request, allowance)));
    pairs.filter_map(|(request, allowance)| meet_origin(request, allowance)).collect()
}

/// What both allow; the operator's naming counts.
fn meet_origin(request: &OriginGrant, allowance: &OriginGrant) -> Option<OriginGrant> {
    let same = (&request.scheme, &request.host, request.port) == (&allowance.scheme, &allowance.host, allowance.port);
    let path = [(&request.path, &allowance.path), (&allowance.path, &request.path)]
        .into_iter()
        .find(|(outer, inner)| inner.starts_with(outer.as_str()))
        .map(|(_, inner)| inner.clone())?;
    let methods = match (&request.methods, &allowance.methods) {
        (Some(one), Some(other)) => Some(one.iter().filter(|method| other.contains(method)).cloned().collect::<Vec<_>>()),
        (one, other) => one.clone().or_else(|| other.clone()),
    };
    let some = methods.as_ref().is_none_or(|methods| !methods.is_empty());
    (same && some).then(|| OriginGrant { path, methods, ..allowance.clone() })
}

fn origins(place: &str, texts: &[String], named_by: NamedBy) -> Result<Vec<OriginGrant>, GrantError> {
    let parse = |text: &String| OriginGrant::parse(text, named_by).map_err(|source| GrantError::Origin { place: place.to_owned(), source });
    texts.iter().map(parse).collect()
}

/// What the operator allows. Of hosts in `private` they know where they lead.
fn allowances(plugin: &str, allowed: &[String], private: &[String]) -> Result<Vec<OriginGrant>, GrantError> {
    let place = format!("[plugins.{plugin}] http");
    let parse = |text: &String| origins(&place, std::slice::from_ref(text), named_by(text, private));
    Ok(allowed.iter().map(parse).collect::<Result<Vec<_>, _>>()?.concat())
}

/// How the operator has named the origin, whose host may be one of `private`.
pub(super) fn named_by(origin: &str, private: &[String]) -> NamedBy {
    let is_private = private.iter().any(|host| config::is_host_of(host, origin));
    if is_private { NamedBy::OperatorAsPrivate } else { NamedBy::Operator }
}

/// What stands behind an origin for the reader.
pub(super) fn remarked(remarks: &[&str]) -> String {
    if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join(", ")) }
}

fn origin_text(origin: &OriginGrant) -> String {
    let methods = origin.methods.as_ref().map(|methods| methods.join(",") + " ").unwrap_or_default();
    let usual = matches!((origin.scheme.as_str(), origin.port), ("https", 443) | ("http", 80));
    let port = if usual { String::new() } else { format!(":{}", origin.port) };
    format!("{methods}{}://{}{port}{}", origin.scheme, origin.host, origin.path)
}

#[cfg(test)]
mod tests;
