// SPDX-License-Identifier: GPL-2.0
/*
 * For tests only: lets a function of the kernel fail when it is called.
 *
 * The stock kernels are built without fault injection, and some calls never fail otherwise: local
 * file systems always unlock, and there is always a place for a pipe.
 *
 *   insmod fail_calls.ko function=vfs_lock_file value=-5 unlocks=1 pid=N skip=150 times=1
 *
 * lets 150 calls of that thread through and has the next one return -5 (-EIO) without executing it.
 * All but the function can be written while it is loaded; write skip and times first, pid last.
 */
#include <linux/filelock.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sched.h>

static char *function = "vfs_lock_file";
module_param(function, charp, 0444);
MODULE_PARM_DESC(function, "the function that fails");

static long value = -EIO;
module_param(value, long, 0644);
MODULE_PARM_DESC(value, "what it returns then: an error, an error as a pointer, or 0");

static bool unlocks;
module_param(unlocks, bool, 0644);
MODULE_PARM_DESC(unlocks, "of vfs_lock_file, only calls that unlock count");

static int pid;
module_param(pid, int, 0644);
MODULE_PARM_DESC(pid, "thread whose calls count; 0: nobody's; -1: everybody's");

static int skip;
module_param(skip, int, 0644);
MODULE_PARM_DESC(skip, "calls still to let through; counts down");

static int times;
module_param(times, int, 0644);
MODULE_PARM_DESC(times, "calls still to fail; counts down");

static int calls;
module_param(calls, int, 0644);
MODULE_PARM_DESC(calls, "calls seen");

static int hits;
module_param(hits, int, 0644);
MODULE_PARM_DESC(hits, "calls failed");

static DEFINE_RAW_SPINLOCK(counters);

/* Runs in place of the function: entered by the kprobe as that would be, it returns to the caller. */
static noinline notrace long fail(void)
{
	return value;
}

/* The probe is at the function's entry, where ftrace calls it with preemption off. */
static int enter(struct kprobe *probe, struct pt_regs *regs)
{
	unsigned long irqs;
	bool now = false;

	if (!pid || (pid > 0 && current->pid != pid))
		return 0;
	if (unlocks) {
		struct file_lock *fl = (struct file_lock *)regs_get_kernel_argument(regs, 2);

		if (fl->c.flc_type != F_UNLCK)
			return 0;
	}
	raw_spin_lock_irqsave(&counters, irqs);
	calls++;
	if (skip > 0) {
		skip--;
	} else if (times > 0) {
		times--;
		hits++;
		now = true;
	}
	raw_spin_unlock_irqrestore(&counters, irqs);
	if (!now)
		return 0;
	regs->ip = (unsigned long)fail;
	return 1;
}
NOKPROBE_SYMBOL(enter);

static struct kprobe probe = {
	.pre_handler = enter,
};

static int __init fail_calls_init(void)
{
	probe.symbol_name = function;
	return register_kprobe(&probe);
}

static void __exit fail_calls_exit(void)
{
	unregister_kprobe(&probe);
}

module_init(fail_calls_init);
module_exit(fail_calls_exit);
MODULE_DESCRIPTION("Test only: lets a function of the kernel fail");
MODULE_LICENSE("GPL");
