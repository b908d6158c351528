// SPDX-License-Identifier: GPL-2.0
//! What a test asks of its VM (a `# vm:` line in the test), and scenario files.

use anyhow::{bail, Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A virtual machine of a test.
#[derive(Clone, Debug, PartialEq)]
pub struct VmSpec {
    /// Its host name; empty for a test with one VM only.
    pub name: String,
    /// The test it runs: a path below the tests directory. Empty for a shell.
    pub test: String,
    /// MiB of memory.
    pub mem: u32,
    /// Number of CPUs.
    pub smp: u32,
    /// Count instructions in place of time; such a VM should have one CPU.
    pub icount: bool,
    /// What to do with nfsd_ha.ko: `load` it before the test, `ship` it only, or `none`.
    pub module: String,
    /// Words more on the kernel's command line, as `--boot` has them.
    pub boot: Vec<String>,
    /// Words for the test, before those of `--arg`.
    pub args: Vec<String>,
}

/// A test: one VM, or the several of a scenario.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The file's name without its extension.
    pub name: String,
    /// Time limit for all of it.
    pub timeout: Duration,
    /// Disks, as name and size in MiB. Every VM sees them all.
    pub disks: Vec<(String, u32)>,
    /// Hundredths of a CPU that it takes, if it says so.
    pub weight: Option<u32>,
    /// It measures times: nothing else may run beside it.
    pub alone: bool,
    /// One kernel is enough when all tests are run: the last of them.
    pub once: bool,
    /// The machines. A scenario's are on one network.
    pub vms: Vec<VmSpec>,
    /// Whether it came from a scenario file.
    pub scenario: bool,
    /// The file it came from.
    pub path: PathBuf,
}

impl Spec {
    /// Reads what the test or scenario `path` asks for. The guest has it, and the files beside it, in the same
    /// room below `/test` as the directory of all tests has, or in `/test` if it comes from elsewhere.
    pub fn read(path: &Path, tests: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read test {}", path.display()))?;
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut spec = Self::empty(&stem);
        spec.path = path.canonicalize()?;
        let room = spec
            .path
            .parent()
            .and_then(|dir| dir.strip_prefix(tests).ok());
        let room = room.map(Path::to_path_buf).unwrap_or_default();
        let inside = |file: &str| room.join(file).to_string_lossy().into_owned();
        if path.extension().is_some_and(|e| e == "scenario") {
            spec.scenario = true;
            for line in text.lines().filter(|l| !l.trim_start().starts_with('#')) {
                spec.words(line, path)?;
            }
            if spec.vms.is_empty() {
                bail!(
                    "{}: names no VM: add lines such as 'vm=a test=node.sh'",
                    path.display()
                );
            }
            for vm in &mut spec.vms {
                vm.test = inside(&vm.test);
            }
        } else {
            spec.vms.push(VmSpec {
                test: inside(&file),
                ..VmSpec::default()
            });
            for line in text.lines().filter_map(|l| l.strip_prefix("# vm:")) {
                spec.words(line, path)?;
            }
        }
        Ok(spec)
    }

    /// A test of no VM.
    pub fn empty(name: &str) -> Self {
        Self {
            name: name.into(),
            timeout: Duration::from_secs(120),
            disks: Vec::new(),
            weight: None,
            alone: false,
            once: false,
            vms: Vec::new(),
            scenario: false,
            path: PathBuf::new(),
        }
    }

    /// Takes the `key=value` words of one line.
    fn words(&mut self, line: &str, path: &Path) -> Result<()> {
        for word in line.split_whitespace() {
            self.word(word)
                .with_context(|| format!("{}: '{word}' in '{}'", path.display(), line.trim()))?;
        }
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<()> {
        let (key, value) = word.split_once('=').context("want key=value")?;
        match key {
            "once" if value == "yes" => self.once = true,
            "alone" if value == "yes" => self.alone = true,
            "weight" => self.weight = Some(value.parse()?),
            "timeout" => self.timeout = Duration::from_secs(value.parse()?),
            "disk" => {
                let (name, size) = value.split_once(':').unwrap_or((value, "64M"));
                let size = size
                    .strip_suffix('M')
                    .context("want disk=NAME:SIZEM")?
                    .parse()?;
                self.disks.push((name.into(), size));
            }
            "vm" => self.vms.push(VmSpec {
                name: value.into(),
                ..VmSpec::default()
            }),
            "test" | "mem" | "smp" | "icount" | "module" | "boot" | "arg" => {
                let vm = self
                    .vms
                    .last_mut()
                    .context("comes before the first vm=NAME")?;
                match key {
                    "test" => vm.test = value.into(),
                    "mem" => vm.mem = value.parse()?,
                    "smp" => vm.smp = value.parse()?,
                    "boot" => vm.boot.push(value.into()),
                    "arg" => vm.args.push(value.into()),
                    "icount" if value == "yes" => vm.icount = true,
                    "icount" => bail!("want icount=yes"),
                    _ if ["load", "ship", "none"].contains(&value) => vm.module = value.into(),
                    _ => bail!("want module=load, ship or none"),
                }
            }
            _ => bail!(
                "unknown key: known are timeout disk once=yes weight alone=yes mem smp icount=yes module boot arg, and in a scenario vm test"
            ),
        }
        Ok(())
    }
}

impl Default for VmSpec {
    fn default() -> Self {
        Self {
            name: String::new(),
            test: String::new(),
            mem: 768,
            smp: 2,
            icount: false,
            module: "load".into(),
            boot: Vec::new(),
            args: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_options_in_order() {
        let mut spec = Spec::empty("x");
        spec.words(
            "timeout=5 disk=shared:32M disk=data once=yes weight=90 alone=yes",
            Path::new("x"),
        )
        .unwrap();
        spec.words("vm=a test=n.sh mem=512", Path::new("x"))
            .unwrap();
        spec.words(
            "vm=b test=n.sh icount=yes module=ship boot=slab_debug=P arg=daemon=other arg=5",
            Path::new("x"),
        )
        .unwrap();
        assert_eq!(spec.timeout, Duration::from_secs(5));
        assert!(spec.once && spec.alone);
        assert_eq!(spec.weight, Some(90));
        assert_eq!(spec.disks, [("shared".into(), 32), ("data".into(), 64)]);
        assert_eq!(spec.vms[0].mem, 512);
        assert_eq!(spec.vms[1].name, "b");
        assert_eq!(spec.vms[1].module, "ship");
        assert_eq!(spec.vms[1].boot, ["slab_debug=P"]);
        assert_eq!(spec.vms[1].args, ["daemon=other", "5"]);
        assert_eq!([spec.vms[0].icount, spec.vms[1].icount], [false, true]);
    }

    #[test]
    fn refuses_nonsense() {
        let mut spec = Spec::empty("x");
        for word in [
            "mem=512",
            "timeout",
            "timeout=x",
            "disk=d:1G",
            "colour=red",
            "once=no",
        ] {
            assert!(spec.word(word).is_err(), "{word}");
        }
        spec.word("vm=a").unwrap();
        assert!(spec.word("module=maybe").is_err());
        assert!(spec.word("icount=no").is_err());
    }
}
