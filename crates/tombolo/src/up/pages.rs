//! The console of a running `tombolo up`: opened here, and kept at counting.

use crate::wiring::World;
use base::OnError;
use console::{Console, Planes};

/// Opens the console, and reads for it what is counted as long as the world lasts.
pub(crate) fn open(planes: Planes, world: &World) -> Console {
    let console = Console::new(planes);
    let watching = console.clone();
    world.scope.spawn("console", OnError::Restart, move || watching.clone().watch());
    console
}
