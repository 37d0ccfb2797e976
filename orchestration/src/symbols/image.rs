//! The file that a VM booted, as it was then.

use super::NoSymbols;
use super::lookup::{Place, Symbols};
use kernel::protocol::Peer;
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Largest file that is read for its symbols.
const MOST_BYTES: u64 = 1 << 30;

/// An image file. It stays open: if a build puts another one in its place, this
/// is still the old one. Its symbols are read when they are first asked for.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
    file: File,
    version: Version,
    symbols: Mutex<Option<Symbols>>,
}

/// Which image each VM booted last. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Booted(Arc<Mutex<BTreeMap<Peer, Arc<Image>>>>);

impl Booted {
    /// Notes that a VM boots the file at `path`. `None` if that cannot be
    /// opened; then it will not boot either.
    pub fn boots(&self, peer: Peer, path: &Path) -> Option<Arc<Image>> {
        let mut images = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let image = Image::open(path, images.values()).ok()?;
        images.insert(peer, image.clone());
        Some(image)
    }

    /// What a VM booted.
    pub fn of(&self, peer: Peer) -> Option<Arc<Image>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&peer).cloned()
    }
}

/// What differs between two versions of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Image {
    /// The file at `path` as it is now: one of `known`, if it is the same.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open<'a>(path: &Path, known: impl IntoIterator<Item = &'a Arc<Self>>) -> io::Result<Arc<Self>> {
        let file = File::open(path)?;
        let version = Version::of(&file.metadata()?);
        let same = |image: &&Arc<Self>| image.version == version && image.is_unchanged();
        if let Some(image) = known.into_iter().find(same) {
            return Ok(image.clone());
        }
        Ok(Arc::new(Self { path: path.to_owned(), file, version, symbols: Mutex::default() }))
    }

    fn is_unchanged(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| Version::of(&metadata) == self.version)
    }

    /// What is at each of these addresses, from the innermost call to the
    /// outermost, with what was inlined. All but the first are where a caller goes on.
    ///
    /// # Errors
    /// If nothing can be said of any.
    pub fn places(&self, addresses: &[u64]) -> Result<Vec<Place>, NoSymbols> {
        let mut symbols = self.symbols.lock().unwrap_or_else(PoisonError::into_inner);
        let path = || self.path.display().to_string();
        if !self.is_unchanged() {
            return Err(NoSymbols::Changed(path()));
        }
        if symbols.is_none() {
            let bytes = self.read().map_err(|error| NoSymbols::Unreadable(path(), error.to_string()))?;
            let read = Symbols::read(&bytes).map_err(|error| NoSymbols::Unreadable(path(), error))?;
            *symbols = Some(read);
        }
        let symbols = symbols.as_ref().filter(|symbols| !symbols.is_empty());
        Ok(symbols.ok_or_else(|| NoSymbols::Stripped(path()))?.places(addresses))
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        if self.version.bytes > MOST_BYTES {
            return Err(io::Error::other("it is larger than 1 GiB"));
        }
        let mut bytes = vec![0; self.version.bytes as usize];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}
