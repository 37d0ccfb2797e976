//! On this very test's executable, whose symbols and lines the host's compiler made.

use super::{Image, NoSymbols};
use object::{Object, ObjectSymbol};
use std::fs;
use std::hint::black_box;
use std::path::Path;

/// Has something inlined into it.
#[inline(never)]
fn marked(value: u64) -> u64 {
    inlined(black_box(value)) + 1
}

#[inline(always)]
fn inlined(value: u64) -> u64 {
    black_box(value).wrapping_mul(black_box(31))
}

/// How the name of the function above ends.
const MARKED: &str = "symbols::tests::marked";

/// The bytes of the executable, and where that function is in it.
fn executable() -> (Vec<u8>, std::ops::Range<u64>) {
    assert_eq!(marked(2), 63);
    let bytes = fs::read("/proc/self/exe").unwrap();
    let file = object::File::parse(&bytes[..]).unwrap();
    let name =
        |symbol: &object::Symbol<'_, '_>| format!("{:#}", rustc_demangle::demangle(symbol.name().unwrap()));
    let symbol = file.symbols().find(|symbol| name(symbol).ends_with(MARKED)).unwrap();
    let range = symbol.address()..symbol.address() + symbol.size();
    (bytes, range)
}

#[test]
fn addresses_get_functions_files_and_lines() {
    let (bytes, range) = executable();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    fs::write(&path, &bytes).unwrap();
    let image = Image::open(&path, []).unwrap();
    let mut inlined = 0;
    for address in range.clone() {
        let places = image.places(&[address]).unwrap();
        let outermost = places.last().unwrap();
        assert_eq!(outermost.address, Some(address));
        assert!(outermost.function.as_ref().unwrap().ends_with(MARKED), "{places:?}");
        let here = |line: &String| line.contains("src/symbols/tests.rs");
        assert!(outermost.line.as_ref().is_some_and(here), "{places:?}");
        let of_inlined = |name: &String| name.ends_with("tests::inlined");
        inlined += usize::from(places.iter().any(|place| place.function.as_ref().is_some_and(of_inlined)));
    }
    assert!(inlined > 0, "nothing was inlined");
    // Where a caller goes on may be past its end: what called is before.
    let places = image.places(&[range.start, range.end]).unwrap();
    let name = |place: &super::Place| place.function.clone().unwrap_or_default();
    assert!(places.last().is_some_and(|place| name(place).ends_with(MARKED)), "{places:?}");
    let culprit = image.culprit(&[range.start]).unwrap();
    assert!(culprit.split(' ').next().is_some_and(|name| name.ends_with(MARKED)), "{culprit}");
}

#[test]
fn any_address_can_be_asked_for() {
    let (bytes, _) = executable();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    fs::write(&path, &bytes).unwrap();
    let image = Image::open(&path, []).unwrap();
    let mut random = 12345u64;
    for bits in (0..64).cycle().take(20_000) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let places = image.places(&[random >> bits, u64::MAX, 1]).unwrap();
        assert!(places.len() >= 3);
    }
}

#[test]
fn a_file_that_changed_is_another_one() {
    let (bytes, range) = executable();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    fs::write(&path, &bytes).unwrap();
    let image = Image::open(&path, []).unwrap();
    let same = Image::open(&path, [&image]).unwrap();
    assert!(std::sync::Arc::ptr_eq(&image, &same));
    // Replaced, as builds do it: what was open is as it was.
    fs::remove_file(&path).unwrap();
    fs::write(&path, &bytes[..100]).unwrap();
    assert!(image.places(&[range.start]).is_ok());
    let other = Image::open(&path, [&image]).unwrap();
    assert!(!std::sync::Arc::ptr_eq(&image, &other));
    assert!(matches!(other.places(&[range.start]), Err(NoSymbols::Unreadable(..))));
    // Overwritten.
    fs::write(&path, &bytes[..200]).unwrap();
    assert!(matches!(other.places(&[range.start]), Err(NoSymbols::Changed(_))));
    let lines = other.lines(&[0x20_0000, 0x20_0010]);
    assert_eq!(lines[0], "0x200000 0x200010");
    assert!(lines[1].contains("was changed"), "{lines:?}");
}

#[test]
fn without_symbols_addresses_stay_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    // A header and nothing else.
    let mut elf = vec![0; 64];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    (elf[16], elf[18], elf[20], elf[52], elf[54], elf[58]) = (2, 62, 1, 64, 56, 64);
    fs::write(&path, &elf).unwrap();
    let image = Image::open(&path, []).unwrap();
    assert!(matches!(image.places(&[1]), Err(NoSymbols::Stripped(_))));
    assert_eq!(image.culprit(&[1]), None);
    assert!(Image::open(Path::new("/nonexistent"), []).is_err());
}
