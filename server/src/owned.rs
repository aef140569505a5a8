//! Files that their owner alone may read.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Writes a text. The folder is made where it is not there. A file that was there before does not lend its mode: the new one takes its place.
///
/// # Errors
/// The folder or the file cannot be written.
pub fn write(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let unfinished = file.with_extension("new");
    let mut new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    new.set_permissions(Permissions::from_mode(0o600))?;
    new.write_all(text.as_bytes())?;
    fs::rename(&unfinished, file)
}
