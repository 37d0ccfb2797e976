//! `cyanea::fs`: what `std::fs` cannot do on a node, on the host as `std` does it.

use crate::{Outcome, path, say, tell};
use std::fs;

pub fn main() -> Outcome {
    renaming()?;
    lengths()?;
    Ok(())
}

fn renaming() -> Outcome {
    let (a, b) = (path("a"), path("b"));
    fs::write(&a, "first")?;
    tell("renamed", cyanea::fs::rename(&a, &b));
    tell("old name", fs::exists(&a));
    fs::write(&a, "second")?;
    tell("over another", cyanea::fs::rename(&a, &b).and_then(|()| fs::read_to_string(&b)));
    tell("from nothing", cyanea::fs::rename(&a, &b));
    fs::create_dir_all(path("d/inner"))?;
    tell("file over directory", cyanea::fs::rename(&b, path("d")));
    tell("directory over file", cyanea::fs::rename(path("d"), &b));
    tell("directory into itself", cyanea::fs::rename(path("d"), path("d/inner/d")));
    tell("directory", cyanea::fs::rename(path("d"), path("e")));
    fs::create_dir(path("full"))?;
    fs::write(path("full/file"), "x")?;
    tell("over a full directory", cyanea::fs::rename(path("e"), path("full")));
    let mut names = cyanea::fs::names(path("e"))?;
    names.sort();
    say("names", names);
    tell("names of an empty one", cyanea::fs::names(path("e/inner")));
    tell("names of a file", cyanea::fs::names(&b));
    Ok(())
}

fn lengths() -> Outcome {
    let name = path("length");
    fs::write(&name, "0123456789")?;
    tell("shorter", cyanea::fs::set_len(&name, 3).and_then(|()| fs::read_to_string(&name)));
    tell("longer", cyanea::fs::set_len(&name, 6).and_then(|()| fs::read(&name)));
    tell("of nothing", cyanea::fs::set_len(path("nothing"), 1));
    tell("of a directory", cyanea::fs::set_len(path("e"), 1));
    Ok(())
}
