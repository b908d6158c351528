// SPDX-License-Identifier: GPL-2.0
//! One QEMU process.

use crate::accel::Accel;
use crate::host;
use crate::images::Images;
use crate::limit::Delays;
use crate::snapshot::Snapshot;
use anyhow::{bail, Context, Result};
use nix::fcntl::{fcntl, FcntlArg, FdFlag};
use nix::sys::signal::Signal;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Disks that a snapshot has room for, beside those of the system and of the tests' files.
pub const SPARES: usize = 6;

/// How long QEMU may take to write a snapshot.
const SAVE: Duration = Duration::from_secs(60);

/// How a machine starts.
pub enum Start<'a> {
    /// Its kernel boots, from an initramfs with the tests' files.
    Boot(&'a Path),
    /// The same, and what becomes of it is to be a snapshot.
    Template(&'a Path, &'a Snapshot),
    /// It goes on from a snapshot, with the tests' files on a disk image.
    Resume(&'a Snapshot, &'a Path),
}

/// What one start needs.
pub struct Machine<'a> {
    /// Kernel and images.
    pub images: &'a Images,
    /// From what it starts.
    pub start: Start<'a>,
    /// KVM or not.
    pub accel: Accel,
    /// MiB of memory.
    pub mem: u32,
    /// Number of CPUs.
    pub smp: u32,
    /// Disks by name, beside the root and modules images.
    pub disks: &'a [(String, PathBuf)],
    /// The socket that leads to its place on the virtual network.
    pub net: Option<UnixDatagram>,
    /// Variables for the guest's init.
    pub env: Vec<(&'static str, String)>,
    /// More words of its command line, for the kernel.
    pub boot: &'a [String],
}

/// To QEMU's monitor: memory that is a file is no part of what migrates.
const IGNORE_SHARED: &str = "migrate_set_capability x-ignore-shared on";

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
        fds.extend(self.net.as_ref().map(AsRawFd::as_raw_fd));
        qemu.stdin(Stdio::null());
        qemu.stdout(OwnedFd::from(console_qemu.try_clone()?));
        qemu.stderr(OwnedFd::from(console_qemu.try_clone()?));
        let child = spawn(&mut qemu, fds)?;
        let running = Running {
            child,
            console,
            channel,
            monitor,
        };
        if let Start::Resume(snapshot, _) = self.start {
            running.resume(snapshot, &self.words())?;
        }
        Ok(running)
    }

    /// Runs it on this terminal until it ends.
    pub fn interact(&self) -> Result<()> {
        let mut qemu = self.command();
        qemu.args(["-serial", "mon:stdio"]);
        spawn(&mut qemu, self.net.iter().map(AsRawFd::as_raw_fd).collect())?.wait()?;
        Ok(())
    }

    /// What the guest's init is told on the channel when it goes on from a snapshot.
    fn words(&self) -> String {
        let mut words = format!("VM_DISKS={}", self.disks.len());
        for (key, value) in &self.env {
            words += &format!(" {key}={value}");
        }
        words
    }

    /// QEMU with all but its sockets.
    pub fn command(&self) -> Command {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none"])
            .args(self.accel.args())
            .args(["-smp", &self.smp.to_string(), "-m", &self.mem.to_string()]);
        // The memory of a snapshot is a file. What goes on from it has that as its own, and copies a page when it
        // writes to it.
        let memory = match self.start {
            Start::Boot(_) => None,
            Start::Template(_, snapshot) => Some((snapshot, "share=on")),
            Start::Resume(snapshot, _) => Some((snapshot, "share=off,readonly=on,rom=off")),
        };
        if let Some((snapshot, how)) = memory {
            let (mem, path) = (self.mem, option(&snapshot.memory()));
            qemu.args(["-machine", "pc,memory-backend=memory", "-object"])
                .arg(format!(
                    "memory-backend-file,id=memory,size={mem}M,mem-path={path},{how}"
                ));
        } else {
            qemu.args(["-machine", "pc"]);
        }
        match self.start {
            Start::Boot(initrd) | Start::Template(initrd, _) => self.kernel(&mut qemu, initrd),
            Start::Resume(..) => {
                qemu.args(["-incoming", "defer"]);
            }
        }
        self.devices(&mut qemu);
        qemu
    }

    fn kernel(&self, qemu: &mut Command, initrd: &Path) {
        // An emulated CPU may not run for a while when the host is busy: the kernel must neither distrust its
        // clock nor its timer, nor take that for a stall. The clock is the host's time stamp counter: reading the
        // other ones, HPET and ACPI's, costs an exit from translated code and QEMU's global lock.
        let mut cmdline = String::from(
            "console=ttyS0 panic=-1 oops=panic tsc=reliable no_timer_check rcupdate.rcu_cpu_stall_timeout=120",
        );
        // An emulated CPU does not speculate, but what keeps a real one from it costs a tenth of its time. Where
        // instructions are counted, they are those of a kernel as people run it.
        if self.accel == Accel::Tcg {
            cmdline += " mitigations=off";
        }
        for (key, value) in &self.env {
            cmdline += &format!(" {key}={value}");
        }
        for word in self.boot {
            cmdline += &format!(" {word}");
        }
        qemu.arg("-kernel").arg(&self.images.kernel);
        qemu.arg("-initrd").arg(initrd);
        qemu.args(["-append", &cmdline]);
    }

    /// A snapshot and what goes on from it have the same devices. The test's are there from the beginning, with
    /// nothing behind them and without a driver: to plug them in would take the guest longer.
    fn devices(&self, qemu: &mut Command) {
        let image = |path: &Path| format!("file={},format=raw", option(path));
        disk(qemu, "root", &image(&self.images.root), ",read-only=on");
        disk(
            qemu,
            "modules",
            &image(&self.images.modules),
            ",read-only=on",
        );
        let warm = match self.start {
            Start::Boot(_) => None,
            Start::Template(..) => Some(NOTHING.into()),
            Start::Resume(_, payload) => Some(image(payload)),
        };
        if let Some(payload) = &warm {
            disk(qemu, "payload", payload, ",read-only=on");
        }
        for (name, path) in self.disks {
            disk(qemu, name, &image(path), ",file.locking=off");
        }
        if warm.is_some() {
            for spare in self.disks.len()..SPARES {
                disk(qemu, &format!("spare{spare}"), NOTHING, "");
            }
            // By this the guest's kernel knows that it needs other random numbers than the snapshot's.
            qemu.args(["-device", "vmgenid,guid=auto"]);
        }
        // The guest's init gives it its address.
        let net = match &self.net {
            Some(socket) => format!(
                "dgram,id=net,local.type=fd,local.str={}",
                socket.as_raw_fd()
            ),
            None if warm.is_some() => "hubport,id=net,hubid=0".into(),
            None => return,
        };
        qemu.args(["-netdev", &net, "-device"])
            .arg(format!("{},netdev=net,romfile=", virtio("net")));
    }
}

/// A virtio device. The thread whose CPU notifies it does its work at once: to wake QEMU's main loop for that, which
/// polls a file descriptor for each queue there is, costs an emulated machine a tenth of its time.
fn virtio(device: &str) -> String {
    format!("virtio-{device}-pci,ioeventfd=off")
}

/// A disk with nothing behind it.
const NOTHING: &str = "driver=null-co,size=1M,read-zeroes=on";

/// Adds a disk. A power cut (killing QEMU) leaves what the guest has written out in the host's page cache,
/// which all VMs share, so that nothing needs to be flushed.
fn disk(qemu: &mut Command, name: &str, what: &str, more: &str) {
    qemu.args([
        "-drive",
        &format!("if=none,id={name},{what},cache=unsafe{more}"),
    ]);
    let share = if more.contains("read-only") {
        ""
    } else {
        ",share-rw=on"
    };
    qemu.args([
        "-device",
        &format!("{},drive={name},serial={name}{share}", virtio("blk")),
    ]);
}

/// A path in an option of QEMU.
fn option(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
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
    /// Goes on from a snapshot. All but the first line waits in the sockets until it does.
    fn resume(&self, snapshot: &Snapshot, words: &str) -> io::Result<()> {
        let state = snapshot.state();
        (&self.monitor).write_all(
            format!(
                "{IGNORE_SHARED}\nmigrate_incoming \"file:{}\"\n",
                state.display()
            )
            .as_bytes(),
        )?;
        (&self.channel).write_all(format!("{words}\n").as_bytes())
    }

    /// Writes what is not in its memory's file, and ends it.
    pub fn save(mut self, snapshot: &Snapshot) -> Result<()> {
        let state = snapshot.state();
        let commands = format!(
            "{IGNORE_SHARED}\nmigrate \"file:{}\"\ninfo migrate\nquit\n",
            state.display()
        );
        self.monitor.set_read_timeout(Some(SAVE))?;
        self.monitor.write_all(commands.as_bytes())?;
        let mut said = Vec::new();
        self.monitor
            .read_to_end(&mut said)
            .context("QEMU does not end")?;
        let said = String::from_utf8_lossy(&said);
        if !said.contains("tatus: completed") {
            bail!("QEMU did not save it: {said}");
        }
        Ok(())
    }

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
