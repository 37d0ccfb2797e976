//! Inputs that fuzzers found, and the seeds, run without a fuzzer.

use std::path::Path;

/// The cases of all targets, each with its target.
#[test]
fn what_was_found_once_is_not_found_again() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut run = 0;
    for folder in std::fs::read_dir(&cases).expect("the folder of cases").map(Result::unwrap) {
        if !folder.path().is_dir() {
            continue;
        }
        let name = folder.file_name().into_string().expect("a target's name");
        let target = fuzz::target(&name).unwrap_or_else(|| panic!("cases/{name} is no target's"));
        for case in std::fs::read_dir(folder.path()).expect("a folder").map(Result::unwrap) {
            println!("{name}: {}", case.path().display());
            (target.run)(&std::fs::read(case.path()).expect("a case"));
            run += 1;
        }
    }
    println!("{run} cases");
}

#[test]
fn seeds_and_their_beginnings_run() {
    for target in fuzz::TARGETS {
        (target.run)(&[]);
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        for seed in seeds {
            println!("{}: a seed of {} bytes", target.name, seed.len());
            (target.run)(&seed);
            (target.run)(&seed[..seed.len() / 2]);
        }
    }
}
