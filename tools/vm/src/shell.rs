// SPDX-License-Identifier: GPL-2.0
//! An interactive VM.

use crate::bench::{Bench, Kernel};
use crate::images::disks;
use crate::machine::{Machine, Start};
use crate::payload::Form;
use crate::spec::Spec;
use anyhow::{bail, Result};
use nix::libc;
use std::fs;
use std::io::IsTerminal;

/// Boots one VM with its console on this terminal, until it ends.
pub fn run(bench: &Bench, kernel: &Kernel, spec: &Spec) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("a shell needs a terminal: use 'vm run' for tests");
    }
    let vm = &spec.vms[0];
    let initrd = bench.payloads.get(Form::Initrd, kernel, &spec.path)?;
    let (rows, columns) = window_size();
    let module = if kernel.module.is_some() {
        "load"
    } else {
        "none"
    };
    let machine = Machine {
        images: &kernel.images,
        start: Start::Boot(&initrd),
        accel: bench.accel,
        mem: vm.mem,
        smp: vm.smp,
        disks: &disks(&bench.run_dir, spec, bench.data_disk.as_deref())?,
        net: None,
        env: vec![
            ("VM_ROWS", rows.to_string()),
            ("VM_COLUMNS", columns.to_string()),
            ("VM_MODULE", module.into()),
        ],
        boot: &[],
    };
    println!("Booting {} ...", kernel.release);
    machine.interact()?;
    fs::remove_dir_all(&bench.run_dir)?;
    Ok(())
}

fn window_size() -> (u16, u16) {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes a struct winsize to its argument, which is one, and lives.
    let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    if result == 0 && size.ws_row > 0 {
        (size.ws_row, size.ws_col)
    } else {
        (24, 80)
    }
}
