// SPDX-License-Identifier: GPL-2.0
//! What carries a test's own files into the guest, as /test: an archive behind the initramfs of a VM that boots, or a
//! disk of one that goes on from a snapshot.

use crate::bench::Kernel;
use anyhow::{bail, Context, Result};
use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// In which form the files come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// The kernel's initramfs with an archive.
    Initrd,
    /// An image of a file system.
    Image,
}

/// Which files: the form, the kernel's release, and the directory that a test from elsewhere brings along.
type Key = (Form, String, Option<PathBuf>);

/// The payloads of a run. Most tests have the same.
pub struct Payloads {
    dir: PathBuf,
    tests: PathBuf,
    made: Mutex<HashMap<Key, PathBuf>>,
}

impl Payloads {
    /// None yet; they will be in `dir`.
    pub fn new(dir: &Path, tests: &Path) -> Self {
        Self {
            dir: dir.into(),
            tests: tests.into(),
            made: Mutex::default(),
        }
    }

    /// The tests and the kernel's own files, in `form`, for the test `path`.
    pub fn get(&self, form: Form, kernel: &Kernel, path: &Path) -> Result<PathBuf> {
        let other = path.parent().filter(|dir| !dir.starts_with(&self.tests));
        let key = (form, kernel.release.clone(), other.map(Path::to_path_buf));
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(out) = made.get(&key) {
            return Ok(out.clone());
        }
        let out = self.dir.join(format!("payload-{}", made.len()));
        let mut directories = vec![("", self.tests.as_path())];
        // A test from elsewhere brings the other files of its directory along.
        directories.extend(other.map(|dir| ("", dir)));
        match form {
            Form::Initrd => initrd(&out, &kernel.images.initrd, &directories, &kernel.files()?)?,
            Form::Image => image(&out, &directories, &kernel.files()?)?,
        }
        made.insert(key, out.clone());
        Ok(out)
    }
}

/// Writes an image of a file system with what `directories` hold, and single files, by name.
fn image(out: &Path, directories: &[(&str, &Path)], files: &[(String, &Path)]) -> Result<()> {
    let tree = out.with_extension("tree");
    for (name, path) in directories {
        copy(path, &tree.join(name))?;
    }
    for (name, path) in files {
        copy(path, &tree.join(name))?;
    }
    // To compile what they import takes the guest's Python longer than to run it. That of the build root is the same; if
    // not, the guest passes over what it made.
    let _ = Command::new("python3")
        .args([
            "-m",
            "compileall",
            "-q",
            "--invalidation-mode",
            "unchecked-hash",
        ])
        .arg(&tree)
        .stdout(Stdio::null())
        .status();
    // Twice what is in it is enough, also for small files.
    let mib = 4 + (size(&tree)? >> 19);
    let status = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0"])
        .args(["-O", "^has_journal,^resize_inode", "-d"])
        .args([&tree, out])
        .arg(format!("{mib}M"))
        .status()
        .context("cannot run mke2fs: is this the build root (scripts/build/inroot)?")?;
    if !status.success() {
        bail!("mke2fs failed on {}", out.display());
    }
    fs::remove_dir_all(&tree)?;
    Ok(())
}

/// Copies a file, or what is in a directory, with the modes that the archive has.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for item in fs::read_dir(from)? {
            let item = item?;
            copy(&item.path(), &to.join(item.file_name()))?;
        }
    } else if from.is_file() {
        fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
        fs::set_permissions(to, Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Bytes that files take in blocks.
fn size(path: &Path) -> Result<u64> {
    if !path.is_dir() {
        return Ok(path.metadata()?.len().next_multiple_of(4096));
    }
    let mut sum = 4096;
    for item in fs::read_dir(path)? {
        sum += size(&item?.path())?;
    }
    Ok(sum)
}

/// Writes the initramfs `base` to `out` with an archive of directories, by where they go in /test, and single files,
/// by name, appended. The kernel unpacks one after the other.
pub fn initrd(
    out: &Path,
    base: &Path,
    directories: &[(&str, &Path)],
    files: &[(String, &Path)],
) -> Result<()> {
    let mut cpio = fs::read(base).with_context(|| format!("cannot read {}", base.display()))?;
    cpio.resize(cpio.len().next_multiple_of(4), 0);
    entry(&mut cpio, "test", 0o040_755, &[])?;
    for (name, path) in directories {
        let name = format!("test/{name}");
        directory(&mut cpio, path, name.trim_end_matches('/'))?;
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
