//! A user's own crates: from `cyanea new` to output, whatever they are made of.

use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tests::command::{Ended, Running};
use tests::host::Host;
use tests::root;

/// How long a crate and what stands under it may take to be built, on a busy host.
pub const BUILDING: Duration = Duration::from_secs(1200);

/// The command, about to build something: where the images are built, so that
/// `std` is not built once more. Crates of one name would be taken for one
/// another there: each test has names of its own.
fn command(host: &Host, words: &[&str]) -> Command {
    let mut command = host.command(words);
    command.env("CYANEA_GUEST_TARGET_DIR", root().join("target/guest"));
    command
}

fn call(host: &Host, words: &[&str]) -> Ended {
    Running::start(command(host, words)).end_within(BUILDING)
}

/// The last line of what a command complains of, which is its own.
fn complaint(ended: &Ended) -> &str {
    assert_eq!(ended.code(), Some(1), "{}: {}{}", ended.line, ended.out, ended.err);
    let last = ended.err.lines().last().unwrap_or_default();
    last.strip_prefix("cyanea: ").unwrap_or_else(|| panic!("{}: no sentence: {}", ended.line, ended.err))
}

#[test]
fn two_commands_from_nothing_to_output() {
    let host = Host::new();
    host.call(&["new", "greeting"]).well();
    let main = fs::read_to_string(host.folder().join("greeting/src/main.rs")).unwrap();
    assert_eq!(main.split_whitespace().collect::<String>(), "fnmain(){println!(\"hello\");}");
    let ran = call(&host, &["run", "./greeting"]);
    assert_eq!(ran.well(), "hello\n");
    // Its machine has ended with it.
    assert!(host.is_quiet() && host.state("").read_dir().unwrap().next().is_none());
    let image = host.folder().join("greeting/target/cyanea/greeting");
    assert!(image.is_file());
    // The same crate is one of the host's.
    let cargo =
        Command::new("cargo").args(["run", "--quiet"]).current_dir(host.folder().join("greeting")).output();
    let cargo = cargo.expect("cargo runs");
    assert_eq!(
        String::from_utf8_lossy(&cargo.stdout),
        "hello\n",
        "{}",
        String::from_utf8_lossy(&cargo.stderr)
    );
}

#[test]
fn ctrl_c_ends_the_program_and_its_machine() {
    let host = Host::new();
    host.call(&["new", "endless"]).well();
    let text = "fn main() {\n    println!(\"here\");\n    loop {\n        std::thread::sleep(std::time::Duration::from_secs(3600));\n    }\n}\n";
    fs::write(host.folder().join("endless/src/main.rs"), text).unwrap();
    call(&host, &["build", "endless"]).well();
    let mut running = Running::start(command(&host, &["run", "./endless"]));
    running.wait_for("here\n");
    running.signal(Signal::INT);
    let ended = running.end();
    assert_eq!(ended.code(), Some(130), "{}", ended.err);
    assert!(host.is_quiet() && host.state("").read_dir().unwrap().next().is_none());
}

/// A crate of two binaries, one of several files, with a build script.
fn ways(host: &Host) -> String {
    host.call(&["new", "ways"]).well();
    let file = |name: &str, text: &str| {
        let path = host.folder().join("ways").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    file("build.rs", "fn main() { println!(\"cargo::rustc-env=GIVEN=by the build script\"); }\n");
    file("src/part/mod.rs", "pub mod inner;\n");
    file("src/part/inner.rs", "pub fn given() -> &'static str { crate::GIVEN }\n");
    file(
        "src/main.rs",
        "#![forbid(unsafe_code)]\n//! Says what it is given, or fails.\nmod part;\n\
         const GIVEN: &str = env!(\"GIVEN\");\n\
         fn main() -> Result<(), String> {\n\
             let me = cyanea::activity();\n\
             let words: Vec<String> = std::env::args().collect();\n\
             println!(\"{words:?} {} {} of {}\", part::inner::given(), me.index, me.count);\n\
             if words.len() > 3 { Err(\"too much\".into()) } else { Ok(()) }\n}\n",
    );
    file(
        "src/bin/second.rs",
        "use std::process::ExitCode;\nfn main() -> ExitCode { ExitCode::from(cyanea::args().len() as u8) }\n",
    );
    file(
        "src/bin/own.rs",
        "fn main() {\n    #[cfg(target_os = \"hermit\")]\n    own::node();\n}\n\
         #[cfg(target_os = \"hermit\")]\nmod own {\n    fn one() { println!(\"one\") }\n    \
         fn two() { println!(\"two\") }\n    pub fn node() -> ! {\n        \
         node::main(&[node::program!(\"one\", one), node::program!(\"two\", two)])\n    }\n}\n",
    );
    let manifest = host.folder().join("ways/Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(manifest, text + "\n[package.metadata.cyanea]\nnodes = [\"own\"]\n").unwrap();
    "./ways".into()
}

#[test]
fn a_crate_may_be_made_of_anything() {
    let host = Host::new();
    let folder = ways(&host);
    let several = call(&host, &["run", &folder]);
    assert_eq!(
        complaint(&several),
        "the crate ways has several binaries (own, second, ways); say which with --bin"
    );
    let ran = call(&host, &["run", "--activities", "2", "--bin", "ways", &folder, "a", "b c"]).well();
    let mut lines: Vec<&str> = ran.lines().collect();
    lines.sort_unstable();
    let line = |index: u32| format!("[\"ways\", \"a\", \"b c\"] by the build script {index} of 2");
    assert_eq!(lines, [line(0), line(1)]);
    let failed = call(&host, &["run", "--bin", "ways", &folder, "--", "a", "--activities", "c"]);
    assert_eq!(failed.code(), Some(1));
    assert!(failed.err.contains("Error: \"too much\"\n"), "{}", failed.err);
    let second = call(&host, &["run", "--bin", "second", &folder, "--", "1", "2", "3", "4", "5"]);
    assert_eq!(second.code(), Some(5), "{}", second.err);
    assert!(
        complaint(&call(&host, &["run", "--bin", "third", &folder]))
            .starts_with("the crate ways has no binary \"third\"; it has ")
    );
    own_node(&host, &folder);
}

/// A binary that chooses the programs itself, on a machine that stays.
fn own_node(host: &Host, folder: &str) {
    let built = call(host, &["build", folder, "--bin", "own"]).well();
    assert_eq!(built, "own: ways/target/cyanea/own\n");
    let refused = call(host, &["run", "--bin", "own", folder]);
    assert!(complaint(&refused).contains("is a node image with programs of its own choice"));
    host.file("own.toml", "[clusters.a]\nnodes = 1\n[images]\nnode = \"ways/target/cyanea/own\"\n");
    host.call(&["up", "--detach", "own.toml"]).well();
    let said = [host.call(&["run", "one"]), host.call(&["run", "two"]), host.call(&["run", "three"])];
    host.call(&["down"]).well();
    let [one, two, three] = said;
    assert_eq!((&one.out[..], &two.out[..]), ("one\n", "two\n"));
    assert_eq!(three.sentence(), "no program \"three\" on the nodes; there are: one, two, distance");
}

/// What the activities of `selves` say: what they were given, how often their
/// `main` ran, what they have set, and the first thread's name.
const SELVES: &str = r#"
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;
static RUNS: AtomicU32 = AtomicU32::new(0);
fn main() {
    let runs = RUNS.fetch_add(1, SeqCst) + 1;
    assert_eq!(std::env::vars().count(), 0);
    let word = std::env::args().nth(1).unwrap_or_default();
    unsafe { std::env::set_var("WORD", &word) };
    println!("{word} begins");
    let time = if word == "first" { Duration::MAX } else { Duration::from_millis(100) };
    std::thread::sleep(time);
    let words: Vec<String> = std::env::args().collect();
    println!("{words:?} {runs} {:?} {:?}", std::env::var("WORD"), std::thread::current().name());
}
"#;

/// Runs of one binary on one node, one after the other and beside one another.
#[test]
fn what_a_process_has_to_itself_every_activity_has() {
    let host = Host::new();
    host.call(&["new", "selves"]).well();
    fs::write(host.folder().join("selves/src/main.rs"), SELVES).unwrap();
    call(&host, &["build", "./selves"]).well();
    host.file("one.toml", "[clusters.a]\nnodes = 1\n[images]\nnode = \"selves/target/cyanea/selves\"\n");
    host.call(&["up", "--detach", "one.toml"]).well();
    let mut first = host.start(&["run", "selves", "first"]);
    first.wait_for("first begins\n");
    for word in ["second", "third"] {
        let said = host.call(&["run", "selves", word, "b c"]).well();
        let expected =
            format!("{word} begins\n[\"selves\", {word:?}, \"b c\"] 1 Ok({word:?}) Some(\"main\")\n");
        assert_eq!(said, expected);
    }
    first.signal(Signal::INT);
    first.end();
    let said = host.call(&["run", "--activities", "3", "selves", "both"]).well();
    assert_eq!(said.matches("[\"selves\", \"both\"] 1 Ok(\"both\") Some(\"main\")\n").count(), 3, "{said}");
    host.call(&["down"]).well();
}

/// A crate's settings are its own; the toolchain is that of the system's sources.
#[test]
fn a_crate_is_built_alike_wherever_the_caller_is() {
    let host = Host::new();
    host.call(&["new", "settled"]).well();
    let settings = |folder: &str, greeting: &str| {
        let folder = host.folder().join(folder);
        fs::create_dir_all(folder.join(".cargo")).unwrap();
        fs::write(folder.join(".cargo/config.toml"), format!("[env]\nGREETING = {greeting:?}\n")).unwrap();
        fs::write(folder.join("rust-toolchain.toml"), "[toolchain]\nchannel = \"1.0.0\"\n").unwrap();
        folder
    };
    let own = settings("settled", "of the crate");
    let elsewhere = settings("elsewhere", "of the caller");
    fs::write(own.join("src/main.rs"), "fn main() {\n    println!(env!(\"GREETING\"));\n}\n").unwrap();
    for (caller, folder) in [(host.folder(), "./settled"), (&elsewhere, "../settled"), (&own, ".")] {
        let mut command = command(&host, &["run", folder]);
        // A path of the caller's own is seen from there.
        let images = root().join("target/guest").canonicalize().unwrap();
        let images =
            Path::new(&"../".repeat(caller.components().count() - 1)).join(images.strip_prefix("/").unwrap());
        command.current_dir(caller).env("CYANEA_GUEST_TARGET_DIR", images);
        assert_eq!(
            Running::start(command).end_within(BUILDING).well(),
            "of the crate\n",
            "{}",
            caller.display()
        );
    }
}

#[test]
fn what_would_be_refused_is_not_built_first() {
    let host = Host::new();
    host.call(&["new", "early"]).well();
    let file = |name: &str, text: &str| fs::write(host.folder().join("early").join(name), text).unwrap();
    let refused = |words: &[&str]| {
        let ended = call(&host, words);
        assert!(!host.folder().join("early/target").exists(), "{}: it was built", ended.line);
        complaint(&ended).to_owned()
    };
    // It could not even be built.
    file("src/main.rs", "fn main() { nothing() }\n");
    let many = refused(&["run", "--activities", "65", "./early"]);
    assert_eq!(many, "a task force has 1 to 64 activities, not 65");
    let long = refused(&["run", "./early", &"x".repeat(9000)]);
    assert!(long.starts_with("the arguments have "), "{long}");
    let qemu = {
        let mut command = command(&host, &["run", "./early"]);
        command.env("CYANEA_QEMU", "/nonexistent/qemu");
        complaint(&Running::start(command).end()).to_owned()
    };
    assert!(qemu.starts_with("/nonexistent/qemu was not found; install QEMU"), "{qemu}");
    file("machine.toml", "[clusters.a]\nnodes = 1\n[images]\nutility = \"nothing\"\n");
    assert!(refused(&["run", "./early"]).starts_with("there is no utility image at "));
    for (lines, expected) in [
        ("node = 1\n", "machine.toml:2:1: there is no key `node` here"),
        ("nodes = 240\n", "machine.toml:1:11: this machine has 244 VMs, 239 is the most"),
        ("[vm]\ncores = 9\n", "machine.toml:3:9: a VM cannot have 9 cores"),
        ("[vm]\nmemory = \"15 MiB\"\n", "machine.toml:3:10: 15 MiB is too little for an image"),
        ("[vm]\nmemory = \"300 GiB\"\n", "machine.toml:3:10: 300 GiB is more than a VM can address"),
        ("[vm]\nmemory = \"256 GiB\"\n", "machine.toml:3:10: the 5 VMs and their regions need "),
        ("[files]\ncapacity = \"2 GiB\"\n", "machine.toml:3:12: 2 GiB is no size for this region"),
        ("[pool]\nsize = \"2 GiB\"\n", "machine.toml:3:8: 2 GiB is no size for this region"),
        (
            "[vm.net]\naddress = \"192.0.2.1\"\nforward = [\"8080:80\"]\n",
            "192.0.2.1:8080 of this host cannot lead to",
        ),
    ] {
        file("machine.toml", &format!("[clusters.a]\n{lines}"));
        let sentence = refused(&["run", "./early"]);
        assert!(sentence.contains(expected), "{sentence}");
    }
    fs::remove_file(host.folder().join("early/machine.toml")).unwrap();
    let manifest = fs::read_to_string(host.folder().join("early/Cargo.toml")).unwrap();
    file("Cargo.toml", &(manifest + "\n[package.metadata.cyanea]\nnodes = [\"early\"]\n"));
    assert!(refused(&["run", "./early"]).contains("is a node image with programs of its own choice"));
}

/// What is linked under the library name of a part of the system would share its statics.
#[test]
fn a_part_that_would_be_taken_for_the_systems_is_refused() {
    let host = Host::new();
    host.call(&["new", "partly"]).well();
    let folder = host.folder().join("partly");
    fs::create_dir_all(folder.join("network/src")).unwrap();
    let file = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    let part = "[package]\nname = \"network\"\nedition = \"2024\"\n";
    file("network/src/lib.rs", "");
    file("network/Cargo.toml", part);
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let depend = |more: &str| {
        let line = format!("other = {{ path = \"network\", package = \"network\"{more} }}");
        file("Cargo.toml", &manifest.replace("[dependencies]\n", &format!("[dependencies]\n{line}\n")));
    };
    let refused = |words: &[&str]| {
        let ended = call(&host, words);
        assert!(!folder.join("target").exists(), "{}: it was built", ended.line);
        complaint(&ended).to_owned()
    };
    depend("");
    let mistaken = refused(&["run", "./partly"]);
    let package = format!("the package network ({}) ", folder.join("network/Cargo.toml").display());
    assert!(mistaken.starts_with(&package) && mistaken.contains("would share its statics"), "{mistaken}");
    assert_eq!(refused(&["build", "partly"]), mistaken);
    // Where nothing is linked with it, it may be called so.
    let unrefused = "the crate partly has no binary \"none\"; it has partly";
    depend(", optional = true");
    assert_eq!(refused(&["build", "partly", "--bin", "none"]), unrefused);
    assert_eq!(refused(&["build", "partly", "--bin", "none", "--", "--features", "other"]), mistaken);
    // Under another name, as it says, anything may be linked with it.
    depend("");
    file("network/Cargo.toml", &format!("{part}[lib]\nname = \"other\"\n"));
    assert_eq!(refused(&["build", "partly", "--bin", "none"]), unrefused);
}

/// What stands in the way of a machine of its own that is not in its file.
#[test]
fn a_host_that_will_not_do_is_said_before_a_build() {
    let host = Host::new();
    host.call(&["new", "hindered"]).well();
    let refused = |variable: &str, value: &Path| {
        let mut command = command(&host, &["run", "./hindered"]);
        command.env(variable, value);
        let ended = Running::start(command).end();
        assert!(!host.folder().join("hindered/target").exists(), "{}: it was built", ended.line);
        complaint(&ended).to_owned()
    };
    let deep = host.folder().join("x".repeat(100));
    let socket = refused("CYANEA_STATE", &deep);
    assert!(socket.ends_with("set CYANEA_STATE to a folder with a shorter path"), "{socket}");
    let elsewhere = refused("CYANEA_STATE", Path::new("/dev/null/x"));
    assert!(elsewhere.starts_with("the state directory /dev/null/x cannot be used: "), "{elsewhere}");
    let images = refused("CYANEA_IMAGES", Path::new("/nonexistent"));
    assert!(images.starts_with("there is no utility image at /nonexistent/utility; "), "{images}");
}

/// `make run` refuses what it can before it builds images.
#[test]
fn the_main_job_is_checked_before_images_are_built() {
    let host = Host::new();
    let check = |words: &[&str]| {
        let mut command = Command::new(root().join("scripts/run"));
        command.arg("--check").args(words).env("CYANEA_STATE", host.state(""));
        let ended = Running::start(command).end();
        assert_eq!(ended.out, "", "{}", ended.line);
        (ended.code(), ended.err)
    };
    let machine = root().join("machines/two-clusters.toml");
    let machine = machine.to_str().unwrap();
    assert_eq!(check(&[machine, "."]), (Some(0), String::new()));
    let bad = host.file("bad.toml", "[clusters.a]\nnodes = 0\n");
    for (words, expected) in [
        (["", "."], "run: no machine file is named; "),
        (["absent.toml", "."], "cyanea: absent.toml: cannot read this machine file: "),
        (["--help", "."], "cyanea: --help: cannot read this machine file: "),
        ([bad.to_str().unwrap(), "."], "bad.toml:2:9: no cluster has a node"),
        ([machine, "/nonexistent"], "run: INPUT=/nonexistent is not a directory; "),
        ([machine, machine], "is not a directory; name one, "),
    ] {
        let (code, said) = check(&words);
        assert!(code == Some(1) && said.contains(expected) && said.lines().count() == 1, "{words:?}: {said}");
    }
}

#[test]
fn what_cannot_be_built_is_said() {
    let host = Host::new();
    let complains = |words: &[&str]| complaint(&call(&host, words)).to_owned();
    assert_eq!(
        complains(&["build"]),
        "there is no crate in .: it has no Cargo.toml; `cyanea new NAME` makes one"
    );
    assert!(complains(&["new", "2x"]).starts_with("a crate cannot be called \"2x\": a name is made of "));
    assert_eq!(complains(&["new", "node"]), "a crate cannot be called \"node\": that name is taken");
    host.call(&["new", "wrong"]).well();
    assert_eq!(complains(&["new", "wrong"]), "wrong is there already; choose another name, or remove it");

    fs::write(host.folder().join("wrong/src/main.rs"), "fn main() { nothing() }\n").unwrap();
    let failed = call(&host, &["run", "./wrong"]);
    assert_eq!(complaint(&failed), "wrong was not built; why not is said above");
    assert!(failed.err.contains("cannot find function `nothing` in this scope"), "{}", failed.err);
    assert!(host.is_quiet());

    let asked = complains(&["build", "wrong", "--", "--help"]);
    assert!(asked.starts_with("wrong was not built: cargo made no "), "{asked}");

    let manifest = host.folder().join("wrong/Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let without: String =
        text.lines().filter(|line| !line.starts_with("node = ")).map(|l| format!("{l}\n")).collect();
    fs::write(&manifest, without).unwrap();
    let sentence = complains(&["build", "wrong"]);
    assert!(
        sentence.starts_with("the crate wrong does not depend on `node`, which stands under it in a VM;")
    );
    let named = complains(&["run", "--machine", "m", "./wrong"]);
    assert!(named.starts_with("a crate is run on a machine of its own, not on m;"), "{named}");
}

#[test]
fn a_missing_tree_or_compiler_is_said() {
    let host = Host::new();
    host.call(&["new", "treeless"]).well();
    let with_tree = |tree: &Path| {
        let mut command = command(&host, &["build", "treeless"]);
        command.env("CYANEA_SOURCE", tree);
        complaint(&Running::start(command).end()).to_owned()
    };
    let gone = with_tree(Path::new("/gone"));
    assert!(gone.ends_with("are not in /gone; name their folder with CYANEA_SOURCE"), "{gone}");
    let tree = host.folder().join("tree");
    for (file, text) in [
        ("images/node/Cargo.toml", ""),
        ("images/api/Cargo.toml", ""),
        (
            "scripts/guest",
            "#!/bin/sh\necho 'guest: no Rust compiler with library source found; install it.' >&2\nexit 1\n",
        ),
    ] {
        fs::create_dir_all(tree.join(file).parent().unwrap()).unwrap();
        fs::write(tree.join(file), text).unwrap();
    }
    fs::set_permissions(tree.join("scripts/guest"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(with_tree(&tree), "no Rust compiler with library source found; install it.");
}
