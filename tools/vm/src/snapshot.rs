// SPDX-License-Identifier: GPL-2.0
//! Snapshots of guests that have booted, from which VMs go on.
//!
//! To boot takes an emulated machine longer than most tests. A snapshot is one whose init has got as far as it can
//! without knowing anything of a test (tests/vm/guest/snapshot.sh); it is made when a VM first wants it, and there is
//! one for each kernel, size of memory and number of CPUs. Its memory is a file that the VMs map, each with its own
//! copy of the pages that it writes to; the rest of it is what QEMU migrates. Its name changes with all that went
//! into it, and with each boot of this host, as the guest has measured the rate of its clock.

use crate::accel::Accel;
use crate::bench::Kernel;
use crate::machine::{Machine, Start, SPARES};
use crate::payload;
use crate::spec::{Spec, VmSpec};
use anyhow::{bail, Context, Result};
use nix::fcntl::{Flock, FlockArg};
use std::collections::hash_map::DefaultHasher;
use std::collections::HashSet;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

/// How long a guest may take to boot, on a host that is as busy as it likes.
const BOOT: Duration = Duration::from_secs(180);

/// A snapshot that nobody has used for so long is removed when another one is made.
const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);

/// The same, if the other one is of the same kind: it has changed, but not for another run that may be on its way.
const KEEP_OLD: Duration = Duration::from_secs(3600);

/// A directory with a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot(PathBuf);

impl Snapshot {
    /// The guest's memory.
    pub fn memory(&self) -> PathBuf {
        self.0.join("memory")
    }

    /// All else.
    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }
}

/// The snapshots in the cache.
pub struct Snapshots {
    dir: PathBuf,
    guest: PathBuf,
    /// What all of them depend on: QEMU, this boot of the host, the guest's init.
    all: String,
    /// Those that could not be made, or did not work. What wanted them boots.
    broken: Mutex<HashSet<Snapshot>>,
}

impl Snapshots {
    /// Those in `cache`, for guests that have the files of `tests`.
    pub fn open(cache: &Path, tests: &Path) -> Result<Self> {
        let dir = cache.join("snapshots");
        fs::create_dir_all(&dir)?;
        let qemu = Command::new("qemu-system-x86_64")
            .arg("--version")
            .output()
            .context(
                "cannot run qemu-system-x86_64: is this the build root (scripts/build/inroot)?",
            )?;
        let guest = tests.join("guest");
        let mut all = String::from_utf8_lossy(&qemu.stdout).into_owned();
        all += &fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut files: Vec<_> = fs::read_dir(&guest)?.flatten().map(|f| f.path()).collect();
        files.sort();
        for file in files {
            all += &fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
        }
        Ok(Self {
            dir,
            guest,
            all,
            broken: Mutex::default(),
        })
    }

    /// The snapshot that a VM of a test can go on from, if there is one, or can be.
    pub fn get(&self, kernel: &Kernel, spec: &Spec, vm: &VmSpec, accel: Accel) -> Option<Snapshot> {
        if vm.icount || !vm.boot.is_empty() || accel != Accel::Tcg || spec.disks.len() > SPARES {
            return None;
        }
        let machine = |start| Machine {
            images: &kernel.images,
            start,
            accel,
            mem: vm.mem,
            smp: vm.smp,
            disks: &[],
            net: None,
            env: vec![("VM_SNAPSHOT", "yes".into())],
            boot: &[],
        };
        let kind = format!("{}-{}M-{}", kernel.release, vm.mem, vm.smp);
        let new = Snapshot(self.dir.join(format!("{kind}.new")));
        let initrd = new.0.join("initrd");
        let template = machine(Start::Template(&initrd, &new));
        let mut hash = DefaultHasher::new();
        (&self.all, format!("{:?}", template.command())).hash(&mut hash);
        let snapshot = Snapshot(self.dir.join(format!("{kind}-{:016x}", hash.finish())));
        if self.broken().contains(&snapshot) {
            return None;
        }
        let make = || {
            // One makes it, and all others wait for that.
            let lock = File::create(self.dir.join(format!("{kind}.lock")))?;
            let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, e)| e)?;
            if !snapshot.state().exists() {
                println!("# {kind}: making a snapshot of a guest that has booted, once");
                self.make(kernel, &template, &initrd, &new)?;
                self.sweep(&kind)?;
                fs::rename(&new.0, &snapshot.0)?;
            }
            // When it was used.
            File::options()
                .append(true)
                .open(snapshot.state())?
                .set_modified(SystemTime::now())?;
            Ok::<(), anyhow::Error>(())
        };
        match make() {
            Ok(()) => Some(snapshot),
            Err(e) => {
                println!("# {kind}: no snapshot, its VMs boot: {e:#}");
                self.broken().insert(snapshot);
                None
            }
        }
    }

    /// Forgets one that does not work: what wants it in this run boots, and the next run makes it again.
    pub fn forget(&self, snapshot: &Snapshot) {
        let _ = fs::remove_dir_all(&snapshot.0);
        self.broken().insert(snapshot.clone());
    }

    fn broken(&self) -> std::sync::MutexGuard<'_, HashSet<Snapshot>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Boots a guest, waits until its init does, and saves it. What it says on its console is kept beside it.
    fn make(
        &self,
        kernel: &Kernel,
        template: &Machine,
        initrd: &Path,
        new: &Snapshot,
    ) -> Result<()> {
        if new.0.exists() {
            fs::remove_dir_all(&new.0)?;
        }
        fs::create_dir(&new.0)?;
        let guest = [("guest", self.guest.as_path())];
        payload::initrd(initrd, &kernel.images.initrd, &guest, &[])?;
        let running = template.start()?;
        let mut console = running.console.try_clone()?;
        let mut log = File::create(new.0.join("console"))?;
        thread::spawn(move || io::copy(&mut console, &mut log));
        running.channel.set_read_timeout(Some(BOOT))?;
        let mut line = String::new();
        BufReader::new(&running.channel)
            .read_line(&mut line)
            .context("it does not boot")?;
        if line.trim() != "@ready" {
            bail!("its init said '{}'", line.trim());
        }
        running.save(new)?;
        fs::remove_file(initrd)?;
        Ok(())
    }

    /// Removes those that nobody uses. A VM that runs keeps its own.
    fn sweep(&self, kind: &str) -> Result<()> {
        let kind = format!("{kind}-");
        for old in fs::read_dir(&self.dir)?.flatten() {
            let state = Snapshot(old.path()).state();
            let Ok(used) = state.metadata().and_then(|m| m.modified()) else {
                continue;
            };
            let keep = match old.file_name().to_string_lossy().starts_with(&kind) {
                true => KEEP_OLD,
                false => KEEP,
            };
            if used.elapsed().is_ok_and(|age| age > keep) {
                fs::remove_dir_all(old.path())?;
            }
        }
        Ok(())
    }
}
