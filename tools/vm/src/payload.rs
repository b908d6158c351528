// SPDX-License-Identifier: GPL-2.0
//! The archive that carries a test's own files into the guest, as /test.

use anyhow::{Context, Result};
use std::fs;
use std::io::Write;
use std::path::Path;

/// Writes the initramfs `base` to `out` with an archive of directories and single files, by name, appended.
/// The kernel unpacks one after the other.
pub fn write(
    out: &Path,
    base: &Path,
    directories: &[&Path],
    files: &[(String, &Path)],
) -> Result<()> {
    let mut cpio = fs::read(base).with_context(|| format!("cannot read {}", base.display()))?;
    cpio.resize(cpio.len().next_multiple_of(4), 0);
    for path in directories {
        directory(&mut cpio, path, "test")?;
    }
    for (name, path) in files {
        let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        entry(&mut cpio, &format!("test/{name}"), 0o100_755, &data)?;
    }
    entry(&mut cpio, "TRAILER!!!", 0, &[])?;
    fs::write(out, cpio).with_context(|| format!("cannot write {}", out.display()))
}

fn directory(cpio: &mut Vec<u8>, dir: &Path, name: &str) -> Result<()> {
    entry(cpio, name, 0o040_755, &[])?;
    for item in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let item = item?;
        let name = format!("{name}/{}", item.file_name().to_string_lossy());
        let path = item.path();
        if path.is_dir() {
            directory(cpio, &path, &name)?;
        } else if path.is_file() {
            entry(cpio, &name, 0o100_755, &fs::read(&path)?)?;
        }
    }
    Ok(())
}

/// Appends one file in the "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst).
fn entry(cpio: &mut Vec<u8>, name: &str, mode: u32, data: &[u8]) -> Result<()> {
    let size = u32::try_from(data.len()).context("file too large")?;
    write!(
        cpio,
        "070701{ino:08x}{mode:08x}{zero:08x}{zero:08x}{links:08x}{zero:08x}{size:08x}\
         {zero:08x}{zero:08x}{zero:08x}{zero:08x}{namesize:08x}{zero:08x}{name}\0",
        ino = 0,
        zero = 0,
        links = 1,
        namesize = name.len() + 1
    )?;
    cpio.resize(cpio.len().next_multiple_of(4), 0);
    cpio.extend_from_slice(data);
    cpio.resize(cpio.len().next_multiple_of(4), 0);
    Ok(())
}
