// SPDX-License-Identifier: GPL-2.0
//! Where things are: the repository, the cache, the images of a kernel.

use crate::spec::Spec;
use anyhow::{bail, Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a kernel's VMs boot from (made by scripts/build/vm-image).
pub struct Images {
    /// The kernel.
    pub kernel: PathBuf,
    /// Its initramfs.
    pub initrd: PathBuf,
    /// The root file system.
    pub root: PathBuf,
    /// For /lib/modules.
    pub modules: PathBuf,
}

impl Images {
    /// Makes the images of a kernel that are not in the cache.
    pub fn make(repo: &Path, release: &str) -> Result<Self> {
        let script = repo.join("scripts/build/vm-image");
        let output = Command::new(&script)
            .arg(release)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run {}", script.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut paths = text.lines().map(PathBuf::from);
        match (
            output.status.success(),
            paths.next(),
            paths.next(),
            paths.next(),
            paths.next(),
        ) {
            (true, Some(kernel), Some(initrd), Some(root), Some(modules)) => Ok(Self {
                kernel,
                initrd,
                root,
                modules,
            }),
            _ => bail!("no images for kernel {release}: see the messages above"),
        }
    }
}

/// The directory all that is built or downloaded lives in.
pub fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|v| !v.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(
            std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?,
        )
        .join(".cache"),
    };
    let cache = base.join("nfsd-ha");
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    Ok(cache)
}

/// A directory for this run's files; those of runs that are gone are removed.
pub fn run_dir(cache: &Path) -> Result<PathBuf> {
    let runs = cache.join("run");
    fs::create_dir_all(&runs)?;
    for old in fs::read_dir(&runs)?.flatten() {
        if !Path::new("/proc").join(old.file_name()).exists() {
            let _ = fs::remove_dir_all(old.path());
        }
    }
    let dir = runs.join(std::process::id().to_string());
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Makes a sparse disk with an empty ext4 on it, unless the file is there already.
fn make_disk(path: &Path, mib: u32) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let status = Command::new("mke2fs")
        .args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-E",
            "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0",
        ])
        .arg(path)
        .arg(format!("{mib}M"))
        .status()
        .context("cannot run mke2fs: is this the build root (scripts/build/inroot)?")?;
    if !status.success() {
        bail!("mke2fs failed on {}", path.display());
    }
    Ok(())
}

/// Makes the disks a test asks for. `data` stands in for the one of that name, and lives on after the test.
pub fn disks(dir: &Path, spec: &Spec, data: Option<&Path>) -> Result<Vec<(String, PathBuf)>> {
    let mut wanted = spec.disks.clone();
    if data.is_some() && !wanted.iter().any(|(name, _)| name == "data") {
        wanted.push(("data".into(), 256));
    }
    let mut disks = Vec::new();
    for (name, mib) in wanted {
        let path = match data {
            Some(file) if name == "data" => file.to_path_buf(),
            _ => dir.join(format!("{name}.disk")),
        };
        make_disk(&path, mib)?;
        disks.push((name, path));
    }
    Ok(disks)
}
