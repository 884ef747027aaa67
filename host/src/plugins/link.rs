//! Components as code: compiled or taken from the cache, checked against the linker, ready to be instantiated per call.

use std::panic::{self, AssertUnwindSafe};

use stellaclaw_bindings::CONTRACT_VERSION;
use stellaclaw_bindings::image_plugin::ImageExportPre;
use stellaclaw_bindings::model_list_plugin::ModelListExportPre;
use stellaclaw_bindings::provider_plugin::ProviderPluginPre;
use stellaclaw_bindings::search_plugin::SearchExportPre;
use stellaclaw_bindings::tool_plugin::ToolPluginPre;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::cache::Cache;
use super::engine::{Engines, Host, chain};
use super::instance::Guest;
use super::status::Kind;
use super::threads::panic_text;

/// A component with its imports resolved, once for all calls.
pub(super) struct Linked {
    pub engine: Engine,
    pub tools: Option<ToolPluginPre<Guest>>,
    pub provider: Option<ProviderPluginPre<Guest>>,
    pub model_list: Option<ModelListExportPre<Guest>>,
    pub search: Option<SearchExportPre<Guest>>,
    pub images: Option<ImageExportPre<Guest>>,
}

/// What compiled code is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted<'a> {
    pub digest: &'a str,
    pub memory_bytes: usize,
    pub kinds: &'a [Kind],
}

/// The component from the cache; none when it has to be compiled.
pub(super) fn cached(engines: &Engines, cache: &Cache, wanted: &Wanted<'_>) -> Option<Result<Linked, String>> {
    for host in engines.fitting(wanted.memory_bytes) {
        match cache.load(&host.engine, wanted.digest)? {
            Ok(component) => return Some(link(host, &component, wanted.kinds)),
            Err(error) => tracing::debug!(reason = %chain(&error), "over a limit of the sandbox pool"),
        }
    }
    None
}

/// The component, compiled if it must be, on the first engine whose pool has room for it.
pub(super) fn compiled(engines: &Engines, cache: &Cache, wanted: &Wanted<'_>, wasm: &[u8]) -> Result<Linked, String> {
    let mut reason = String::new();
    for host in engines.fitting(wanted.memory_bytes) {
        match cache.component(&host.engine, wanted.digest, wasm) {
            Ok(component) => return link(host, &component, wanted.kinds),
            Err(error) => reason = chain(&error),
        }
    }
    Err(format!("it cannot be compiled: {reason}"))
}

/// Forgets the code of a component, for every engine.
pub(super) fn forget(engines: &Engines, cache: &Cache, digest: &str) {
    engines.all().into_iter().for_each(|engine| cache.forget(engine, digest));
}

fn link(host: &Host, component: &Component, kinds: &[Kind]) -> Result<Linked, String> {
    let refused = |error: wasmtime::Error| format!("{}; this host serves the contract in version {CONTRACT_VERSION}", chain(&error));
    let pre = host.linker.instantiate_pre(component).map_err(refused)?;
    let is = |kind| kinds.contains(&kind).then(|| pre.clone());
    Ok(Linked {
        engine: host.engine.clone(),
        tools: is(Kind::Tools).map(|pre| ToolPluginPre::new(pre).map_err(refused)).transpose()?,
        provider: is(Kind::Provider).map(|pre| ProviderPluginPre::new(pre).map_err(refused)).transpose()?,
        model_list: is(Kind::ModelList).map(|pre| ModelListExportPre::new(pre).map_err(refused)).transpose()?,
        search: is(Kind::WebSearch).map(|pre| SearchExportPre::new(pre).map_err(refused)).transpose()?,
        images: is(Kind::Images).map(|pre| ImageExportPre::new(pre).map_err(refused)).transpose()?,
    })
}

/// Does `work` on foreign bytes. They may run into a fault of whatever reads them; then its panic is the reason.
pub(super) fn guarded<R>(fault: &str, work: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(format!("{fault}: {}", panic_text(&*payload))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_compiler_is_a_refusal() {
        assert_eq!(guarded("it fails", || Ok(5)), Ok(5));
        let refused = guarded("it fails", || -> Result<(), String> { panic!("no such instruction") });
        assert_eq!(refused.unwrap_err(), "it fails: no such instruction");
    }
}
