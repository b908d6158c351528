// SPDX-License-Identifier: GPL-2.0
//! Finds a kernel's reports of trouble in its console output.

/// Trouble if the message, after its timestamp, begins so.
const BEGINS: &[&str] = &[
    "WARNING: ",
    "BUG: ",
    "BUG ",
    "[ BUG: ",
    "Oops: ",
    "INFO: task ",
    "INFO: trying to register non-static key",
    "INFO: lockdep is turned off",
    "ODEBUG: Out of memory",
    "kmemleak: Kernel memory leak detector disabled",
    "kmemleak: Memory pool empty",
];

/// Trouble anywhere in the message.
const CONTAINS: &[&str] = &[
    "kernel BUG at ",
    "Kernel panic - ",
    "general protection fault",
    "unable to handle ",
    "Unable to handle ",
    "blocked for more than ",
    "possible recursive locking",
    "possible circular locking",
    "inconsistent lock state",
    "suspicious RCU usage",
    "still holding locks",
    "scheduling while atomic",
    "sleeping function called from invalid context",
    "soft lockup",
    "hard LOCKUP",
    "detected stall",
    "self-detected stall",
    "KASAN: ",
    "KCSAN: ",
    "UBSAN: ",
    "refcount_t: ",
    "new suspected memory leaks",
    "turning off the locking correctness validator",
    "panicked at ",
    "corruption. ",
    "Bad page state",
    "divide error: ",
    "stack segment: ",
    "invalid opcode: ",
    "int3: ",
    "control protection",
];

/// Returns the message if it reports trouble in the kernel.
pub fn report(line: &str) -> Option<&str> {
    let message = message(line);
    let trouble = BEGINS.iter().any(|p| message.starts_with(p))
        || CONTAINS.iter().any(|p| message.contains(p));
    trouble.then_some(message)
}

/// The line without `[    1.234567]` and `[  T123]`.
fn message(line: &str) -> &str {
    let mut rest = line.trim_start();
    while let Some((stamp, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        if !stamp
            .trim()
            .starts_with(|c: char| c.is_ascii_digit() || "TC".contains(c))
        {
            break;
        }
        rest = after.trim_start();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_reports() {
        for line in [
            "[    2.124498] WARNING: fs/nfsd/nfs4state.c:12 at nfsd_x+0x1/0x2 [nfsd], CPU#1: nfsd/7",
            "[    2.1][   T12] WARNING: possible recursive locking detected",
            "[   60.0] INFO: task nfsd:77 blocked for more than 60 seconds.",
            "[    1.0] BUG: kernel NULL pointer dereference, address: 0",
            "[    1.0] Oops: general protection fault, probably for non-canonical address",
            "[    1.0] refcount_t: underflow; use-after-free.",
            "[    1.0] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "[    1.0] list_del corruption. prev->next should be 1, but was 2",
            "[    1.0] rcu: INFO: rcu_preempt self-detected stall on CPU",
            "[    1.0][  T123] BUG: KASAN: slab-use-after-free in nfsd_x+0x1/0x2 [nfsd]",
            "[    1.0][  T123] WARNING: possible circular locking dependency detected",
            "[    1.0][  T123] WARNING: suspicious RCU usage",
            "[    1.0][  T123] BUG: sleeping function called from invalid context at mm/slab.h:1",
            "[    1.0][  T123] BUG: using smp_processor_id() in preemptible [00000000] code: nfsd/1",
            "[    1.0][  T123] [ BUG: Invalid wait context ]",
            "[    1.0][  T123] INFO: trying to register non-static key.",
            "[    1.0][  T123] BUG: MAX_LOCKDEP_ENTRIES too low!",
            "[    1.0][  T123] turning off the locking correctness validator.",
            "[    1.0][  T123] ODEBUG: Out of memory. ODEBUG disabled",
            "[    1.0][  T123] BUG nfsd4_files (Tainted: G K): Objects remaining on __kmem_cache_shutdown()",
            "[    1.0][  T123] kmemleak: Kernel memory leak detector disabled",
            "[    1.0][  T123] rust_kernel: panicked at rust/nfsd_ha.rs:1:1: attempt to add with overflow",
        ] {
            assert!(report(line).is_some(), "{line}");
        }
    }

    #[test]
    fn passes_harmless_lines() {
        for line in [
            "[    0.1] Spectre V2 : WARNING: Unprivileged eBPF is enabled",
            "[    0.1] nfsd_ha: loading out-of-tree module taints kernel.",
            "[    0.1] nfsd_ha: tainting kernel with TAINT_LIVEPATCH",
            "[    0.1] workqueue: debug BUGs off",
            "[    0.1][    T0] kmemleak: Kernel memory leak detector initialized (mem pool available: 1)",
            "[    0.1][    T0] ODEBUG: selftest passed",
            "[    0.1][    T0] Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
            "[    0.1][    T0] Running RCU self tests",
            "",
        ] {
            assert!(report(line).is_none(), "{line}");
        }
    }
}
