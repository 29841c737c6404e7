//! Reads one file whole, within limits.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

use super::problems::Fault;

/// Largest file that is read: 100,000 documents ([`MAX_DOCUMENTS`]) of 670 bytes, the size of a plain HTTPRoute.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Most documents in one file: three times what 10,000 routes with a Service and an EndpointSlice each need.
pub const MAX_DOCUMENTS: usize = 100_000;

/// A timestamp this young may hide a later write: kernels stamp files by the timer tick (up to 10 ms), and some file
/// systems by the second or two.
const RACY: Duration = Duration::from_secs(2);

/// What the file system says of a file's content without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// True when the file was written so shortly before `now` that another write may leave the same stamp.
    pub(super) fn is_racy(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let modified = Duration::from_secs(u64::try_from(self.modified.0).unwrap_or_default());
        now < modified + RACY
    }
}

/// Reads a file, a pipe or a device to its end.
///
/// # Errors
///
/// When it cannot be read, is longer than [`MAX_FILE_BYTES`] or is not UTF-8.
pub(super) fn read(path: &Path) -> Result<(String, Stamp), Fault> {
    let file = File::open(path).map_err(|error| Fault::unreadable(&error))?;
    let metadata = file.metadata().map_err(|error| Fault::unreadable(&error))?;
    if metadata.is_file() && metadata.size() > MAX_FILE_BYTES {
        return Err(Fault::TooLarge);
    }
    let text = read_text(file)?;
    Ok((text, Stamp::of(&metadata)))
}

/// Reads a stream to its end.
///
/// # Errors
///
/// As [`read`].
pub(super) fn read_text(source: impl Read) -> Result<String, Fault> {
    let mut bytes = Vec::new();
    source.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| Fault::unreadable(&error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Fault::TooLarge);
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        Fault::NotUtf8 { line: valid.iter().filter(|byte| **byte == b'\n').count() + 1 }
    })
}

/// Reads standard input to its end.
///
/// # Errors
///
/// As [`read`].
pub(super) fn read_standard_input() -> Result<String, Fault> {
    read_text(io::stdin().lock())
}
