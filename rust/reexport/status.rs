// SPDX-License-Identifier: GPL-2.0

//! `/proc/fs/nfsd/originals`: the original servers of what is mounted here.

use crate::base::net::Nfsd;
use crate::base::text::Text;
use crate::reexport::file_systems;
use crate::reexport::originals::{self, Complete, Original};
use core::fmt::Write;
use kernel::prelude::*;

/// The longest line but for its name, in bytes.
const LINE: usize = 128;

/// Shows those in a namespace, a line for each. May sleep.
pub(crate) fn show(nfsd: Nfsd<'_>, out: &mut Text) -> Result {
    out.write_str("# server minor reexported complete milliseconds reclaims granted refused\n")?;
    // What comes meanwhile is not shown.
    let mut size = 0;
    originals::each(nfsd.net(), |_, one| size += LINE + 4 * one.name.len());
    out.make_room(size)?;
    let mut result = Ok(());
    originals::each(nfsd.net(), |number, one| {
        let needed = LINE + 4 * one.name.len();
        if result.is_ok() && needed <= size {
            size -= needed;
            result = line(number, one, out);
        }
    });
    Ok(result?)
}

/// The line of one.
fn line(number: usize, one: &Original, out: &mut Text) -> core::fmt::Result {
    out.name(&one.name)?;
    let reexported = if one.is_reexported { "yes" } else { "no" };
    write!(out, " {} {reexported}", one.minor_version)?;
    match one.complete {
        Complete::Held(_) => write!(out, " held -")?,
        Complete::Going(_) => write!(out, " going -")?,
        Complete::Sent(Some(after)) => write!(out, " sent {after}")?,
        Complete::Sent(None) | Complete::No => write!(out, " sent -")?,
    }
    let reclaims = match file_systems::count(number) {
        (0, _) => "open",
        (refuse, all) if refuse < all => "partly",
        _ => "over",
    };
    writeln!(out, " {reclaims} {} {}", one.granted, one.refused)
}
