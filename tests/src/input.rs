//! Files from a seed, counted on the host.

use std::fs;
use std::path::Path;

/// A small generator of numbers (xorshift64*, Vigna 2016).
pub struct Random(u64);

impl Random {
    /// From a seed; every seed is fine.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// From `$CYANEA_SEED`, else from the clock; it is printed, and shown if the test fails.
    pub fn seeded() -> Self {
        let given = std::env::var("CYANEA_SEED").ok().and_then(|seed| seed.parse().ok());
        let clock = || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64 % 1_000_000);
        let seed = given.unwrap_or_else(clock);
        println!("seed: CYANEA_SEED={seed}");
        Self::new(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count.div_ceil(8)).flat_map(|_| self.number().to_le_bytes()).take(count).collect()
    }
}

/// Writes a tree of source files below `folder`, for `wordcount`, and returns
/// the totals that it must find, as it prints them.
pub fn sources(folder: &Path, files: u64, random: &mut Random) -> String {
    let (mut bytes, mut lines, mut words) = (0, 0, 0);
    for file in 0..files {
        let directory = folder.join(format!("part-{}", file % 7)).join(format!("of-{}", file % 3));
        fs::create_dir_all(&directory).expect("the folder is ours");
        let mut text = String::new();
        for _ in 0..random.below(1500) {
            let count = random.below(12);
            for _ in 0..count {
                text += &format!("w{} ", random.below(900));
            }
            words += count;
            lines += 1;
            text += "\n";
        }
        bytes += text.len();
        fs::write(directory.join(format!("file-{file}.rs")), text).expect("the folder is ours");
    }
    format!("wordcount: {files} files {bytes} bytes {lines} lines {words} words, ")
}

/// Everything below `folder`: relative names, with the bytes of what is a file.
pub fn tree(folder: &Path) -> Vec<(String, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let name = entry.strip_prefix(folder).expect("below it").to_string_lossy().into_owned();
            let content = (!entry.is_dir()).then(|| fs::read(&entry).expect("a file"));
            found.push((name, content));
            if entry.is_dir() {
                waiting.push(entry);
            }
        }
    }
    found.sort();
    found
}
