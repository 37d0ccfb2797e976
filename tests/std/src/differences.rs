//! Where a node's lines differ from the host's, and why. All of it is `std`'s Hermit port's own doing.
//!
//! `docs/std.md` is made from this table; a test compares the table with what the programs say.

/// A line that differs.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// The program.
    pub program: &'static str,
    /// The line's topic.
    pub topic: &'static str,
    /// What the host says.
    pub host: &'static str,
    /// What a node says.
    pub node: &'static str,
    /// Why that is so, and what to do instead.
    pub why: &'static str,
}

const fn differs(
    program: &'static str,
    topic: &'static str,
    host: &'static str,
    node: &'static str,
    why: &'static str,
) -> Difference {
    Difference { program, topic, host, node, why }
}

const KIND: &str = "the port knows no `ErrorKind` for this error; `raw_os_error` is Linux's";
const TEXT: &str = "texts of errors are those of `hermit-abi`";
const REFUSED: &str = "the port refuses it";
const BEYOND: &str = "the port refuses it; `cyanea::fs` has it";
const COPY: &str = "the port copies, then fails over the permissions; `cyanea::fs::copy` does not";
const EMPTY: &str = "the port takes no entries for an error; `cyanea::fs::names` does not";
const SAFE: &str = "the port refuses it; what was written is safe when `write` returns";
const HARD_LINK: &str = "the port refuses it, and a file has one name; see `cyanea::fs::symlink`";
const NO_DIRECTORY: &str = "the port's working directory is always `/`";
const PLATFORM: &str = "it is another system";
const AT_ONCE: &str =
    "`std` looks at the timeout of a connection under way; here a refusal on the loopback is known at once";
const ONE_PROCESS: &str = "a node has one process; programs are started by `cyanea run`";

/// All of them.
pub const DIFFERENCES: &[Difference] = &[
    differs("std-env", "to another directory", "()", "Unsupported", NO_DIRECTORY),
    differs("std-env", "there is an executable", "true", "false", REFUSED),
    differs(
        "std-env",
        "system",
        "(\"linux\", \"unix\", \"x86_64\")",
        "(\"hermit\", \"\", \"x86_64\")",
        PLATFORM,
    ),
    differs("std-env", "joined", "Ok(\"/a:/b\")", "Err(\"not supported on this platform yet\")", REFUSED),
    differs("std-beyond", "file over directory", "IsADirectory (21)", "Uncategorized (21)", KIND),
    differs("std-beyond", "directory over file", "NotADirectory (20)", "Uncategorized (20)", KIND),
    differs("std-beyond", "over a full directory", "DirectoryNotEmpty (39)", "Uncategorized (39)", KIND),
    differs("std-beyond", "names of a file", "NotADirectory (20)", "Uncategorized (20)", KIND),
    differs("std-beyond", "of a directory", "IsADirectory (21)", "Uncategorized (21)", KIND),
    differs("std-beyond", "to a directory", "IsADirectory (21)", "Uncategorized (21)", KIND),
    differs("std-beyond", "in circles", "FilesystemLoop (40)", "Uncategorized (40)", KIND),
    differs(
        "std-beyond",
        "the directory behind it removed",
        "NotADirectory (20)",
        "Uncategorized (20)",
        KIND,
    ),
    differs("std-beyond", "of a circle", "FilesystemLoop (40)", "Uncategorized (40)", KIND),
    differs("std-beyond", "a file", "NotADirectory (20)", "Uncategorized (20)", KIND),
    differs("std-fs", "copied", "4", "InvalidInput (22)", COPY),
    differs("std-fs", "list of an empty one", "{}", "Uncategorized (0)", EMPTY),
    differs("std-fs", "removed though not empty", "DirectoryNotEmpty (39)", "Uncategorized (39)", KIND),
    differs("std-fs", "removed as a file", "IsADirectory (21)", "Uncategorized (21)", KIND),
    differs("std-fs", "file removed as a directory", "NotADirectory (20)", "Uncategorized (20)", KIND),
    differs("std-fs", "file listed", "NotADirectory (20)", "Uncategorized (20)", KIND),
    differs("std-fs", "below a file", "NotADirectory (20)", "Uncategorized (20)", KIND),
    differs("std-fs", "written as a file", "IsADirectory (21)", "Uncategorized (21)", KIND),
    differs("std-fs", "read as a file", "IsADirectory (21)", "Uncategorized (21)", KIND),
    differs("std-fs", "a longer one", "InvalidFilename (36)", "Uncategorized (36)", KIND),
    differs("std-fs", "too long a path", "InvalidFilename (36)", "Uncategorized (36)", KIND),
    differs("std-fs", "the root removed", "ResourceBusy (16)", "Uncategorized (16)", KIND),
    differs("std-fs", "renamed", "()", "Unsupported", BEYOND),
    differs("std-fs", "hard link", "()", "Unsupported", HARD_LINK),
    differs("std-fs", "canonical", "true", "Unsupported", BEYOND),
    differs("std-fs", "what a link says", "NotFound (2)", "Unsupported", BEYOND),
    differs("std-fs", "removed with all below", "()", "Unsupported", BEYOND),
    differs("std-fs", "cut", "()", "InvalidInput (22)", BEYOND),
    differs("std-fs", "made safe", "()", "InvalidInput (22)", SAFE),
    differs("std-fs", "its data", "()", "InvalidInput (22)", SAFE),
    differs("std-fs", "a second descriptor", "()", "InvalidInput (22)", REFUSED),
    differs("std-fs", "locked", "()", "Unsupported", BEYOND),
    differs("std-fs", "unlocked", "()", "Unsupported", BEYOND),
    differs("std-fs", "permissions", "()", "InvalidInput (22)", REFUSED),
    differs("std-fs", "times", "()", "InvalidInput (22)", REFUSED),
    differs("std-fs", "the time that was set", "true", "false", REFUSED),
    differs(
        "std-io",
        "text of error 9",
        "Bad file descriptor (os error 9)",
        "Bad file number (os error 9)",
        TEXT,
    ),
    differs(
        "std-io",
        "text of error 11",
        "Resource temporarily unavailable (os error 11)",
        "Try again (os error 11)",
        TEXT,
    ),
    differs("std-io", "error 20", "NotADirectory", "Uncategorized", KIND),
    differs("std-io", "error 21", "IsADirectory", "Uncategorized", KIND),
    differs("std-io", "error 28", "StorageFull", "Uncategorized", KIND),
    differs("std-io", "error 39", "DirectoryNotEmpty", "Uncategorized", KIND),
    differs("std-net", "to the other version", "NetworkUnreachable (101)", "Uncategorized (101)", KIND),
    differs("std-net", "a timeout of nothing", "InvalidInput", "ConnectionRefused", AT_ONCE),
    differs("std-io", "a pipe", "()", "Unsupported", REFUSED),
    differs("std-process", "no such program", "NotFound (2)", "Unsupported", ONE_PROCESS),
    differs("std-process", "its output", "NotFound (2)", "Unsupported", ONE_PROCESS),
];
