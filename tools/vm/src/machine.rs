// SPDX-License-Identifier: GPL-2.0
//! One QEMU process.

use crate::accel::Accel;
use crate::host;
use crate::images::Images;
use crate::limit::Delays;
use anyhow::{Context, Result};
use nix::fcntl::{fcntl, FcntlArg, FdFlag};
use nix::sys::signal::Signal;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What one boot needs.
pub struct Machine<'a> {
    /// Kernel and images.
    pub images: &'a Images,
    /// The initramfs with the test's files.
    pub initrd: &'a Path,
    /// KVM or not.
    pub accel: Accel,
    /// MiB of memory.
    pub mem: u32,
    /// Number of CPUs.
    pub smp: u32,
    /// Disks by name, beside the root and modules images.
    pub disks: &'a [(String, PathBuf)],
    /// Its place on the virtual network, and the socket that leads there.
    pub net: Option<(usize, UnixDatagram)>,
    /// Variables for the guest's init.
    pub env: Vec<(&'static str, String)>,
    /// More words of its command line, for the kernel.
    pub boot: &'a [String],
}

/// A running QEMU. Dropping it kills it.
pub struct Running {
    child: Child,
    /// The kernel's console, and what QEMU itself says.
    pub console: UnixStream,
    /// The channel the test speaks on.
    pub channel: UnixStream,
    monitor: UnixStream,
}

impl Machine<'_> {
    /// Starts it with console and test channel on sockets.
    pub fn start(&self) -> Result<Running> {
        let (console, console_qemu) = UnixStream::pair()?;
        let (channel, channel_qemu) = UnixStream::pair()?;
        let (monitor, monitor_qemu) = UnixStream::pair()?;
        let mut qemu = self.command();
        let mut fds = Vec::new();
        for (id, socket) in [
            ("console", &console_qemu),
            ("test", &channel_qemu),
            ("mon", &monitor_qemu),
        ] {
            let fd = socket.as_raw_fd();
            fds.push(fd);
            qemu.args(["-chardev", &format!("socket,id={id},fd={fd}")]);
        }
        qemu.args([
            "-serial",
            "chardev:console",
            "-mon",
            "chardev=mon,mode=readline",
        ]);
        qemu.args([
            "-device",
            &virtio("serial"),
            "-device",
            "virtserialport,chardev=test,name=test",
        ]);
        fds.extend(self.net.as_ref().map(|(_, socket)| socket.as_raw_fd()));
        qemu.stdin(Stdio::null());
        qemu.stdout(OwnedFd::from(console_qemu.try_clone()?));
        qemu.stderr(OwnedFd::from(console_qemu.try_clone()?));
        let child = spawn(&mut qemu, fds)?;
        Ok(Running {
            child,
            console,
            channel,
            monitor,
        })
    }

    /// Runs it on this terminal until it ends.
    pub fn interact(&self) -> Result<()> {
        let mut qemu = self.command();
        qemu.args(["-serial", "mon:stdio"]);
        spawn(
            &mut qemu,
            self.net.iter().map(|(_, s)| s.as_raw_fd()).collect(),
        )?
        .wait()?;
        Ok(())
    }

    fn command(&self) -> Command {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-machine",
            "pc",
        ])
        .args(self.accel.args())
        .args(["-smp", &self.smp.to_string(), "-m", &self.mem.to_string()])
        .arg("-kernel")
        .arg(&self.images.kernel)
        .arg("-initrd")
        .arg(self.initrd);
        // An emulated CPU may not run for a while when the host is busy: the kernel must neither distrust its
        // clock nor its timer, nor take that for a stall. The clock is the host's time stamp counter: reading the
        // other ones, HPET and ACPI's, costs an exit from translated code and QEMU's global lock.
        let mut cmdline = String::from(
            "console=ttyS0 panic=-1 oops=panic tsc=reliable no_timer_check rcupdate.rcu_cpu_stall_timeout=120",
        );
        for (key, value) in &self.env {
            cmdline += &format!(" {key}={value}");
        }
        for word in self.boot {
            cmdline += &format!(" {word}");
        }
        qemu.args(["-append", &cmdline]);
        disk(&mut qemu, "root", &self.images.root, ",readonly=on");
        disk(&mut qemu, "modules", &self.images.modules, ",readonly=on");
        for (name, path) in self.disks {
            disk(&mut qemu, name, path, ",file.locking=off");
        }
        if let Some((index, socket)) = &self.net {
            let fd = socket.as_raw_fd();
            qemu.args([
                "-netdev",
                &format!("dgram,id=net,local.type=fd,local.str={fd}"),
            ]);
            qemu.args([
                "-device",
                &format!(
                    "{},netdev=net,romfile=,mac=52:54:00:00:00:{:02x}",
                    virtio("net"),
                    index + 1
                ),
            ]);
        }
        qemu
    }
}

/// A virtio device. The thread whose CPU notifies it does its work at once: to wake QEMU's main loop for that, which
/// polls a file descriptor for each queue there is, costs an emulated machine a tenth of its time.
fn virtio(device: &str) -> String {
    format!("virtio-{device}-pci,ioeventfd=off")
}

/// Adds a disk. A power cut (killing QEMU) leaves what the guest has written out in the host's page cache,
/// which all VMs share, so that nothing needs to be flushed.
fn disk(qemu: &mut Command, name: &str, path: &Path, more: &str) {
    let file = path.to_string_lossy().replace(',', ",,");
    qemu.args([
        "-drive",
        &format!("if=none,id={name},file={file},format=raw,cache=unsafe{more}"),
    ]);
    let share = if more.contains("readonly") {
        ""
    } else {
        ",share-rw=on"
    };
    qemu.args([
        "-device",
        &format!("{},drive={name},serial={name}{share}", virtio("blk")),
    ]);
}

/// Starts QEMU so that it inherits `fds`, and dies if this thread does.
fn spawn(qemu: &mut Command, fds: Vec<RawFd>) -> Result<Child> {
    let prepare = move || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        for fd in &fds {
            fcntl(*fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok::<(), io::Error>(())
    };
    // SAFETY: the closure makes system calls only: no allocation, no lock.
    unsafe { qemu.pre_exec(prepare) };
    qemu.spawn()
        .context("cannot start qemu-system-x86_64: is this the build root (scripts/build/inroot)?")
}

impl Running {
    /// Has the guest's kernel print its blocked tasks (SysRq w) on the console.
    pub fn print_blocked_tasks(&self) {
        let _ = (&self.monitor).write_all(b"sendkey alt-sysrq-w\n");
    }

    /// How long its threads have waited for a CPU.
    pub fn delays(&self) -> Delays {
        host::delays(self.child.id())
    }

    /// The CPU time it has taken, also when it has ended, as nobody has waited for it.
    pub fn cpu_time(&self) -> Duration {
        host::cpu_time(self.child.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
