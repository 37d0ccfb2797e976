//! Well-known crates, used as their users use them. What is published is compared
//! with what was published; the rest is printed, to be compared with the host's.

use crate::Outcome;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng, TryRngCore};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};
use std::collections::BTreeMap;
use std::io::{Read, Write};

/// All of them.
pub fn all(out: &mut impl Write) -> Outcome {
    json(out)?;
    expressions(out)?;
    parallel(out)?;
    digests(out)?;
    packing(out)?;
    random(out)
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Machine {
    name: String,
    nodes: Vec<Node>,
    #[serde(default)]
    limits: BTreeMap<String, f64>,
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Node {
    id: u64,
    up: bool,
    peer: Option<i32>,
}

fn json(out: &mut impl Write) -> Outcome {
    let text = r#"{"name":"Cm* \u2606 \"star\"","nodes":[{"id":18446744073709551615,"up":true,"peer":-3},
        {"id":0,"up":false,"peer":null}],"limits":{"a":1e-7,"b":0.1}}"#;
    let machine: Machine = serde_json::from_str(text)?;
    writeln!(out, "json: {}", serde_json::to_string(&machine)?)?;
    assert_eq!(serde_json::from_str::<Machine>(&serde_json::to_string_pretty(&machine)?)?, machine);
    let error = serde_json::from_str::<Machine>(r#"{"name": 7}"#).expect_err("7 is no name");
    writeln!(out, "json: {error}")?;
    let value: serde_json::Value = serde_json::from_str(text)?;
    writeln!(out, "json: {} {}", value["nodes"][1]["id"], value["limits"]["a"])?;
    Ok(())
}

fn expressions(out: &mut impl Write) -> Outcome {
    let log = "2026-11-29 12:00:01 node-a0 WARN 17 ms\n2026-11-29 12:00:02 files-b1 INFO 3 ms\nnonsense\n";
    let line =
        regex::Regex::new(r"(?m)^(?<day>\d{4}-\d\d-\d\d) \S+ (?<vm>[a-z]+-[a-z]\d+) (\w+) (?<ms>\d+) ms$")?;
    for found in line.captures_iter(log) {
        writeln!(out, "regex: {} {} {}", &found["day"], &found["vm"], found["ms"].parse::<u32>()?)?;
    }
    let swapped = regex::Regex::new(r"(\pL+)-(\pL)(\d)")?.replace_all("knoten-ä7 node-b2", "$3$2-$1");
    writeln!(out, "regex: {swapped}")?;
    // Time is linear in the text, whatever the expression.
    let text = "a".repeat(20_000);
    writeln!(out, "regex: {}", regex::Regex::new("(a*)*b")?.is_match(&text))?;
    Ok(())
}

fn parallel(out: &mut impl Write) -> Outcome {
    let sum: u64 = (0..1_000_000_u64).into_par_iter().map(|n| n * n).sum();
    assert_eq!(sum, 999_999 * 1_000_000 * 1_999_999 / 6);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build()?;
    let sorted = pool.install(|| {
        let mut numbers: Vec<u32> = (0..300_000_u32).map(|n| n.wrapping_mul(2_654_435_761)).collect();
        numbers.par_sort_unstable();
        numbers.par_windows(2).all(|pair| pair[0] <= pair[1])
    });
    fn fibonacci(n: u32) -> u64 {
        match n {
            0 | 1 => n.into(),
            _ => {
                let (a, b) = rayon::join(|| fibonacci(n - 1), || fibonacci(n - 2));
                a + b
            }
        }
    }
    writeln!(out, "rayon: {sum} {sorted} {}", pool.install(|| fibonacci(20)))?;
    Ok(())
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The examples of FIPS 180-4.
fn digests(out: &mut impl Write) -> Outcome {
    let published = [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ];
    for (text, digest) in published {
        assert_eq!(hex(Sha256::digest(text)), digest);
    }
    let mut million = Sha256::new();
    (0..1000).for_each(|_| million.update([b'a'; 1000]));
    let million = hex(million.finalize());
    assert_eq!(million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    let long = hex(Sha512::digest("abc"));
    assert!(long.starts_with("ddaf35a193617abacc417349ae204131") && long.ends_with("2a9ac94fa54ca49f"));
    writeln!(out, "sha2: {million} {long}")?;
    Ok(())
}

/// A text that packs well, and is long enough for several blocks.
pub fn text() -> String {
    (0..20_000).map(|n| format!("line {n} of the text, {}\n", n * n % 977)).collect()
}

/// The text, packed as `gzip` does.
pub fn packed() -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text().as_bytes())?;
    encoder.finish()
}

/// "hello from gzip\n" as Debian's `gzip -9n` packs it.
const FROM_GZIP: &[u8] = &[
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x57, 0x48,
    0x2b, 0xca, 0xcf, 0x55, 0x48, 0xaf, 0xca, 0x2c, 0xe0, 0x02, 0x00, 0x78, 0x2d, 0xbd, 0x78, 0x10, 0x00,
    0x00, 0x00,
];

fn packing(out: &mut impl Write) -> Outcome {
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(FROM_GZIP).read_to_string(&mut unpacked)?;
    assert_eq!(unpacked, "hello from gzip\n");
    let packed = packed()?;
    let mut again = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut again)?;
    assert_eq!(again, text());
    let mut spoilt = packed.clone();
    spoilt[packed.len() / 2] ^= 1;
    let error = flate2::read::GzDecoder::new(&spoilt[..]).read_to_end(&mut Vec::new()).is_err();
    writeln!(out, "flate2: {} bytes from {}, spoilt is an error: {error}", packed.len(), again.len())?;
    Ok(())
}

fn random(out: &mut impl Write) -> Outcome {
    let mut seeded = StdRng::seed_from_u64(1979);
    let dice: Vec<u8> = (0..20).map(|_| seeded.random_range(1..=6)).collect();
    let mut deck: Vec<u8> = (0..10).collect();
    deck.shuffle(&mut seeded);
    writeln!(out, "rand: {dice:?} {deck:?} {:.6}", seeded.random::<f64>())?;
    // From the system: two draws of 128 bits are never the same.
    let (a, b): (u128, u128) = (rand::rng().random(), rand::rng().random());
    let mut direct = [0; 32];
    rand::rngs::OsRng.try_fill_bytes(&mut direct)?;
    writeln!(out, "rand: {}", a != b && direct != [0; 32])?;
    Ok(())
}
