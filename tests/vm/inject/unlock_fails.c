// SPDX-License-Identifier: GPL-2.0
/*
 * For tests only: lets vfs_lock_file(F_UNLCK) fail when one task calls it.
 *
 * Local file systems never fail to unlock, so there is no other way to see what nlm_unlock does
 * when one does; and the stock kernels are built without fault injection.
 *
 *   insmod unlock_fails.ko pid=N skip=150 times=1
 *
 * lets 150 calls of that thread through and fails the next one, without executing it. All
 * parameters can be written while it is loaded; write skip and times first, pid last. lockd's own
 * calls, which are made by its thread, are not counted.
 */
#include <linux/errno.h>
#include <linux/filelock.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sched.h>

static int pid;
module_param(pid, int, 0644);
MODULE_PARM_DESC(pid, "thread whose calls count; 0: nobody's");

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

/* Runs in place of vfs_lock_file(): entered by the kprobe as that would be, it returns to the caller. */
static noinline notrace int fail(void)
{
	return -EIO;
}

/*
 * The probe is at the function's entry, where ftrace calls it with preemption off. Only one
 * thread passes the first test, so the counters need no lock.
 */
static int enter(struct kprobe *probe, struct pt_regs *regs)
{
	struct file_lock *fl = (struct file_lock *)regs_get_kernel_argument(regs, 2);

	if (!pid || current->pid != pid || fl->c.flc_type != F_UNLCK)
		return 0;
	calls++;
	if (skip > 0) {
		skip--;
		return 0;
	}
	if (times <= 0)
		return 0;
	times--;
	hits++;
	regs->ip = (unsigned long)fail;
	return 1;
}
NOKPROBE_SYMBOL(enter);

static struct kprobe probe = {
	.symbol_name = "vfs_lock_file",
	.pre_handler = enter,
};

static int __init unlock_fails_init(void)
{
	return register_kprobe(&probe);
}

static void __exit unlock_fails_exit(void)
{
	unregister_kprobe(&probe);
}

module_init(unlock_fails_init);
module_exit(unlock_fails_exit);
MODULE_DESCRIPTION("Test only: lets vfs_lock_file(F_UNLCK) fail");
MODULE_LICENSE("GPL");
