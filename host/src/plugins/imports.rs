//! The host side of every interface a component may import, one file per interface.
//!
//! Every import is linked for every component, checks its grant at the call, and names the config key when it refuses.
//! None holds an effect in a task that outlives its future. What is not here does not exist for a component: an unknown
//! import refuses the load.

mod clocks;
mod conversation;
mod deltas;
pub mod filesystem;
pub mod http;
mod images;
mod log;
mod models;
mod pieces;
mod secrets;
mod settings;
mod storage;
mod web_search;
pub mod websocket;

use stellaclaw_bindings as contract;
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::p2::bindings::{cli, random, sockets};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView as _};

use super::instance::Guest;

/// Links everything a component may import.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    ambient(linker)?;
    refused(linker)?;
    filesystem::add_to_linker(linker)?;
    http::add_to_linker(linker)?;
    websocket::add_to_linker(linker)?;
    contract::types::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::chat::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::log::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::deltas::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::secrets::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::settings::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::storage::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::conversation::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::models::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::search_types::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::web_search::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::image_types::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::images::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)
}

/// Streams, clocks, random numbers, and a command line without arguments, variables or terminal.
fn ambient(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(linker)?;
    clocks::add_to_linker(linker)?;
    random::insecure::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<Guest, WasiRandom>(linker, |guest| guest.ctx().ctx.random())?;
    cli::exit::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::environment::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_input::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_output::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<Guest, WasiCli>(linker, Guest::cli)
}

/// Sockets: some languages need them to load. Nothing allows an address or a lookup, so every use is denied.
fn refused(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    sockets::tcp::add_to_linker::<Guest, WasiSockets>(linker, Guest::sockets)?;
    sockets::tcp_create_socket::add_to_linker::<Guest, WasiSockets>(linker, Guest::sockets)?;
    sockets::udp::add_to_linker::<Guest, WasiSockets>(linker, Guest::sockets)?;
    sockets::udp_create_socket::add_to_linker::<Guest, WasiSockets>(linker, Guest::sockets)?;
    sockets::instance_network::add_to_linker::<Guest, WasiSockets>(linker, Guest::sockets)?;
    sockets::network::add_to_linker::<Guest, WasiSockets>(linker, &sockets::network::LinkOptions::default(), Guest::sockets)?;
    sockets::ip_name_lookup::add_to_linker::<Guest, WasiSockets>(linker, Guest::sockets)
}

/// Interfaces of types alone.
impl contract::types::Host for Guest {}
impl contract::chat::Host for Guest {}
impl contract::search_types::Host for Guest {}
impl contract::image_types::Host for Guest {}
