// SPDX-License-Identifier: GPL-2.0
//! KVM if it really runs a guest, else emulation.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How guests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// In hardware.
    Kvm,
    /// Emulated.
    Tcg,
    /// Emulated, with a clock that counts instructions: each takes 4 ns, and idle time is skipped.
    Counted,
}

impl Accel {
    /// QEMU's arguments for it.
    pub fn args(self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &["-accel", "kvm", "-cpu", "host"],
            // Five-level page tables only cost time when they are emulated.
            Self::Tcg => &["-accel", "tcg,thread=multi", "-cpu", "max,la57=off"],
            Self::Counted => &[
                "-accel",
                "tcg,thread=single",
                "-cpu",
                "max,la57=off",
                "-icount",
                "shift=2,sleep=off",
            ],
        }
    }

    /// Finds out, once per boot of this host: `cache` remembers.
    pub fn probe(cache: &Path) -> Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let file = cache.join("accel");
        if let Some(known) = fs::read_to_string(&file)
            .ok()
            .and_then(|t| t.strip_prefix(&boot).map(str::to_owned))
        {
            return Ok(if known == "kvm" { Self::Kvm } else { Self::Tcg });
        }
        let kvm = Path::new("/dev/kvm").exists()
            && is_virtualised_in_hardware(&fs::read_to_string("/proc/cpuinfo")?)
            && runs_a_guest(Self::Kvm, cache)?;
        fs::write(&file, format!("{boot}{}", if kvm { "kvm" } else { "tcg" }))?;
        Ok(if kvm { Self::Kvm } else { Self::Tcg })
    }
}

/// Whether the CPU has VT-x or AMD-V, as `/proc/cpuinfo` says. There is a KVM without them, kvm-pvm, which steps through a
/// guest's kernel by itself: first instructions run, but it knows not all of them (`cmpxchg16b`), so no kernel of ours boots.
fn is_virtualised_in_hardware(cpuinfo: &str) -> bool {
    let mut flags = cpuinfo.lines().filter(|line| line.starts_with("flags"));
    let first = flags.next().unwrap_or_default();
    first.split_whitespace().any(|f| matches!(f, "vmx" | "svm"))
}

/// Whether a guest executes its first instructions. An accelerator may be there, open, and still fail here.
fn runs_a_guest(accel: Accel, cache: &Path) -> Result<bool> {
    // A firmware whose reset vector writes 0x10 to the exit device: mov $0x10,%al; out %al,$0xf4; hlt.
    const EXIT: i32 = (0x10 << 1) | 1;
    let mut firmware = vec![0xf4_u8; 0x10000];
    firmware[0xfff0..0xfff5].copy_from_slice(&[0xb0, 0x10, 0xe6, 0xf4, 0xf4]);
    let bios = cache.join(format!("probe-{}.bin", std::process::id()));
    fs::write(&bios, firmware)?;
    let mut qemu = Command::new("qemu-system-x86_64")
        .args([
            "-nodefaults",
            "-display",
            "none",
            "-machine",
            "pc",
            "-no-reboot",
        ])
        .args(accel.args())
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-bios"])
        .arg(&bios)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context(
            "cannot start qemu-system-x86_64: is this the build root (scripts/build/inroot)?",
        )?;
    let deadline = Instant::now() + Duration::from_secs(5);
    let status = loop {
        if let Some(status) = qemu.try_wait()? {
            break Some(status);
        }
        if Instant::now() > deadline {
            qemu.kill()?;
            qemu.wait()?;
            break None;
        }
        sleep(Duration::from_millis(10));
    };
    fs::remove_file(&bios)?;
    Ok(status.and_then(|s| s.code()) == Some(EXIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_is_what_the_cpu_says() {
        let has = |flags| {
            is_virtualised_in_hardware(&format!(
                "processor : 0\nflags\t\t: fpu {flags}\nbugs : vmx"
            ))
        };
        assert!(has("vmx ssse3"));
        assert!(has("lm svm"));
        assert!(!has("lm hypervisor"));
        assert!(!is_virtualised_in_hardware(""));
    }

    #[test]
    fn emulation_always_runs_a_guest() {
        let qemu = Command::new("qemu-system-x86_64")
            .arg("-version")
            .stdout(Stdio::null())
            .status();
        if qemu.is_ok() {
            assert!(runs_a_guest(Accel::Tcg, &std::env::temp_dir()).unwrap());
        }
    }
}
