//! What an ELF file's symbols and debug information say of an address.

use gimli::{DwarfSections, EndianArcSlice, RunTimeEndian, SectionId};
use ivshmem::fault::GAP;
use object::{File, Object, ObjectSection, ObjectSymbol, SymbolKind};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

type Reader = EndianArcSlice<RunTimeEndian>;

/// Most calls that are told of one address: inlined code can be nested deeply.
const MOST_INLINED: usize = 16;

/// What is at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The address; `None` where the next place's code was inlined into this one's.
    pub address: Option<u64>,
    /// The function, if it is known.
    pub function: Option<String>,
    /// File and line, if they are known.
    pub line: Option<String>,
}

/// What is known of the addresses of a file.
pub struct Symbols {
    /// Functions by where they begin.
    functions: BTreeMap<u64, Function>,
    lines: Option<addr2line::Context<Reader>>,
}

struct Function {
    name: String,
    /// 0: not known, as far as the next one.
    bytes: u64,
}

impl std::fmt::Debug for Symbols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Symbols").field("functions", &self.functions.len()).finish_non_exhaustive()
    }
}

impl Symbols {
    /// Those of an ELF file; none, if it was stripped.
    ///
    /// # Errors
    /// If it is no such file.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let file = File::parse(bytes).map_err(|error| error.to_string())?;
        let functions = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
        let functions = functions.filter_map(|symbol| {
            let name = symbol.name().ok().filter(|name| !name.is_empty())?;
            Some((symbol.address(), Function { name: name.into(), bytes: symbol.size() }))
        });
        Ok(Self { functions: functions.collect(), lines: lines(&file) })
    }

    /// Whether nothing is known of any address.
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty() && self.lines.is_none()
    }

    /// What is at each of these addresses. All but the first are where a caller
    /// goes on: what called is just before.
    pub fn places(&self, addresses: &[u64]) -> Vec<Place> {
        let called = |(index, &address): (usize, &u64)| (address, address.saturating_sub((index > 0).into()));
        let places = addresses.iter().enumerate().map(called);
        places.flat_map(|(address, looked_up)| self.place(address, looked_up)).collect()
    }

    /// The calls at an address, the innermost first.
    fn place(&self, address: u64, looked_up: u64) -> Vec<Place> {
        if address == GAP {
            return vec![Place { function: Some("(calls left out)".into()), ..Place::default() }];
        }
        let mut places = self.inlined(looked_up).unwrap_or_default();
        let function = self.function(looked_up);
        match places.last_mut() {
            Some(outermost) => outermost.function = outermost.function.take().or(function),
            None => places.push(Place { function, ..Place::default() }),
        }
        places.last_mut().expect("there is one by now").address = Some(address);
        places
    }

    fn inlined(&self, address: u64) -> Option<Vec<Place>> {
        let lines = self.lines.as_ref()?;
        let unit = lines.find_dwarf_and_unit(address).skip_all_loads();
        let folder =
            unit.and_then(|unit| Some(String::from_utf8_lossy(unit.comp_dir.as_ref()?).into_owned()));
        let mut frames = lines.find_frames(address).skip_all_loads().ok()?;
        let mut places = Vec::new();
        while let Ok(Some(frame)) = frames.next()
            && places.len() < MOST_INLINED
        {
            let function = frame.function.as_ref().and_then(|name| name.demangle().ok().map(short_name));
            let line = frame.location.and_then(|location| {
                let file = short_path(location.file?, folder.as_deref());
                Some(location.line.map_or(file.clone(), |line| format!("{file}:{line}")))
            });
            places.push(Place { address: None, function, line });
        }
        Some(places)
    }

    /// By the symbols: the function that begins last before the address.
    fn function(&self, address: u64) -> Option<String> {
        let (start, function) = self.functions.range(..=address).next_back()?;
        let within = function.bytes == 0 || address - start < function.bytes;
        within.then(|| short_name(format!("{:#}", rustc_demangle::demangle(&function.name)).into()))
    }
}

/// The debug information, if there is any.
fn lines(file: &File<'_>) -> Option<addr2line::Context<Reader>> {
    file.section_by_name(".debug_info")?;
    let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    let load = |id: SectionId| -> Result<Reader, object::Error> {
        let section = file.section_by_name(id.name());
        let data = section.map_or(Ok(Cow::Borrowed(&[][..])), |section| section.uncompressed_data())?;
        Ok(EndianArcSlice::new(Arc::from(data.as_ref()), endian))
    };
    let dwarf = DwarfSections::load(load).ok()?.borrow(|section| section.clone());
    addr2line::Context::from_dwarf(dwarf).ok()
}

/// A name without the hash of its crate's version.
fn short_name(name: Cow<'_, str>) -> String {
    match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => name.into(),
        _ => name.into_owned(),
    }
}

/// A path without what says only where things lie on this host: of a crate from
/// a registry from its name on, of the standard library from `library` on, of
/// anything else from the folder that it was compiled in.
fn short_path(path: &str, folder: Option<&str>) -> String {
    if let Some((_, rest)) = path.split_once("/registry/src/") {
        return rest.split_once('/').map_or(rest, |(_, path)| path).into();
    }
    if let Some((before, rest)) = path.split_once("/library/")
        && (before.contains("/rustc/") || before.contains("rustlib"))
    {
        return format!("library/{rest}");
    }
    let below = folder.and_then(|folder| Path::new(path).strip_prefix(folder).ok());
    below.map_or_else(|| path.into(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_are_shortened() {
        assert_eq!(short_name("a::b::h0123456789abcdef".into()), "a::b");
        assert_eq!(short_name("a::hello".into()), "a::hello");
        let short = |path| short_path(path, Some("/home/me/project"));
        assert_eq!(
            short("/home/me/.cargo/registry/src/index-0123/regex-1.2.3/src/lib.rs"),
            "regex-1.2.3/src/lib.rs"
        );
        assert_eq!(short("/rustc/abc/library/core/src/ptr.rs"), "library/core/src/ptr.rs");
        assert_eq!(short("/usr/lib/rustlib/src/rust/library/std/src/a.rs"), "library/std/src/a.rs");
        assert_eq!(short("/home/me/project/src/a.rs"), "src/a.rs");
        assert_eq!(short("/home/me/library/src/a.rs"), "/home/me/library/src/a.rs");
    }
}
