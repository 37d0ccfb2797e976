//! The image of an activity of a utility; which one it is, the machine's
//! description says at boot.

use kernel::membership::{Role, Utility};
use utility::image;

fn main() -> ! {
    let messenger = vm::join();
    let own = messenger.own().peer;
    match messenger.membership().description().peers[usize::from(own.0)].role {
        Role::Utility(Utility::Files) => image::files(&messenger),
        Role::Utility(Utility::Tasks) => image::tasks(&messenger),
        role => vm::refuse(&format!("this image serves utilities, the machine wants {role:?}")),
    }
    vm::serve(messenger)
}
