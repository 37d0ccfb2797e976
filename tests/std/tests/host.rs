//! On the host every program says the same each time: else it could not be compared with a node.

use std::path::Path;
use std::process::{Command, Stdio};
use std_suite::PROGRAMS;

fn said(program: &str, folder: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_std-suite"));
    command.arg(program).arg(folder).current_dir("/").stdin(Stdio::null());
    let output = command.output().expect("it is built");
    let said = String::from_utf8(output.stdout).expect("programs print text");
    assert!(said.lines().count() > 4, "{program}: {said}{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}

#[test]
fn every_program_says_the_same_each_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path().canonicalize().expect("it is there");
    for program in PROGRAMS {
        let first = said(program.name, &folder.join(format!("{}-1", program.name)));
        let second = said(program.name, &folder.join(format!("{}-2", program.name)));
        assert_eq!(first, second, "{}", program.name);
        let code = if program.name == "std-process" { 42 } else { 0 };
        assert_eq!(first.0, Some(code), "{}: {}", program.name, first.1);
    }
}
