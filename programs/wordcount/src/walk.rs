//! The files below a directory, and one activity's share of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Every `count`-th Rust source file below `directory`, from the `index`-th on,
/// in the order of their paths, so that all activities agree on the shares.
pub fn share(directory: &Path, index: usize, count: usize) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_path_buf()];
    while let Some(directory) = directories.pop() {
        list(&directory, &mut directories, &mut files)
            .map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    files.sort();
    Ok(files.into_iter().skip(index).step_by(count).collect())
}

/// Sorts the entries of one directory into directories and source files.
fn list(path: &Path, directories: &mut Vec<PathBuf>, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        // An empty directory, as `std` has it on a node: error number 0.
        Err(error) if error.raw_os_error() == Some(0) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            directories.push(entry.path());
        } else if kind.is_file() && entry.file_name().as_encoded_bytes().ends_with(b".rs") {
            files.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_disjoint_and_together_complete() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder above");
        let all = share(root, 0, 1).unwrap();
        assert!(all.iter().any(|path| path.ends_with("wordcount/src/walk.rs")));
        let mut joined: Vec<_> = (0..3).flat_map(|index| share(root, index, 3).unwrap()).collect();
        joined.sort();
        assert_eq!(joined, all);
    }

    #[test]
    fn a_missing_directory_is_named() {
        assert!(share(Path::new("/no/such/place"), 0, 1).unwrap_err().starts_with("/no/such/place: "));
    }
}
