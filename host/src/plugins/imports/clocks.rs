//! `wasi:clocks/monotonic-clock`: as WASI has it, but where the clock stands still nothing is waited for. A timer that moved
//! there would be a clock for whoever counts beside it.

use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::clocks::{WasiClocksCtxView, WasiClocksView as _};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock::{self, Duration, Host, Instant};

use crate::plugins::instance::{Guest, World};

/// Links it, in the place of WASI's own.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<Guest, HasClock>(linker, clock)?;
    linker.allow_shadowing(false);
    Ok(())
}

struct HasClock;

impl HasData for HasClock {
    type Data<'a> = Clock<'a>;
}

/// The clock of one call.
struct Clock<'a> {
    stands_still: bool,
    wasi: WasiClocksCtxView<'a>,
}

fn clock(guest: &mut Guest) -> Clock<'_> {
    Clock { stands_still: guest.world == World::Fixed, wasi: guest.clocks() }
}

impl Host for Clock<'_> {
    fn now(&mut self) -> wasmtime::Result<Instant> {
        self.wasi.now()
    }

    fn resolution(&mut self) -> wasmtime::Result<Instant> {
        self.wasi.resolution()
    }

    fn subscribe_instant(&mut self, when: Instant) -> wasmtime::Result<Resource<DynPollable>> {
        if self.stands_still { self.subscribe_duration(0) } else { self.wasi.subscribe_instant(when) }
    }

    fn subscribe_duration(&mut self, duration: Duration) -> wasmtime::Result<Resource<DynPollable>> {
        self.wasi.subscribe_duration(if self.stands_still { 0 } else { duration })
    }
}
