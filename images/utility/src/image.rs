//! What the image of each utility does at boot: attach to the region that the
//! utility's activities share, and serve its pipe.

use crate::files::FileSystem;
use crate::files::service::FilesService;
use crate::shared::environment::Environment;
use crate::tasks::service::Tasks;
use crate::tasks::table::Table;
use ivshmem::layout::{Part, Region, RegionKind};
use kernel::messenger::Messenger;
use kernel::protocol::Incarnation;
use std::sync::Arc;
use std::time::Duration;
use transport::memory::SharedMemory;

/// The machine as a utility's tables see it.
struct World(Arc<Messenger>);

impl Environment for World {
    fn own(&self) -> Incarnation {
        self.0.own()
    }

    fn lives(&self, who: Incarnation) -> bool {
        self.0.membership().lives(who)
    }

    fn relax(&self, attempt: u32) {
        // The holder may need this very processor: spin only at first.
        match attempt {
            0..16 => std::hint::spin_loop(),
            _ => std::thread::sleep(Duration::from_micros(20)),
        }
    }
}

/// The tables of this VM's utility.
fn tables() -> SharedMemory {
    let Some(memory) = runtime::regions::utility() else { vm::refuse("there is no utility region") };
    Region::laid_out(memory, RegionKind::Utility)
        .and_then(|region| region.part(Part::Tables))
        .unwrap_or_else(|error| vm::refuse(&format!("utility region: {error}")))
}

/// Becomes an activity of `files`.
pub fn files(messenger: &Arc<Messenger>) {
    let world = Arc::new(World(messenger.clone()));
    match FileSystem::attach_or_format(&tables(), world, messenger.wall_clock_ns()) {
        Ok(files) => FilesService::start(messenger.clone(), files),
        Err(error) => vm::refuse(&format!("utility region: {error}")),
    }
}

/// Becomes an activity of `tasks`.
pub fn tasks(messenger: &Arc<Messenger>) {
    let world = Arc::new(World(messenger.clone()));
    match Table::attach(tables(), world) {
        Some(table) => drop(Tasks::start(messenger.clone(), table)),
        None => vm::refuse("utility region: it is too small for the table of task forces"),
    }
}
