// SPDX-License-Identifier: GPL-2.0
/*
 * For tests only: which functions ran, and how often?
 *
 * Write names of functions, a line each, to /sys/kernel/debug/ran, and read them there with the
 * number of calls before each. The kernel's tracers cannot tell: Rust code has no calls of theirs.
 */
#include <linux/atomic.h>
#include <linux/debugfs.h>
#include <linux/kprobes.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

struct function {
	struct list_head list;
	struct kprobe probe;
	atomic_long_t calls;
	char name[];
};

static LIST_HEAD(functions);
static DEFINE_MUTEX(lock);
static struct dentry *file;

static int enter(struct kprobe *probe, struct pt_regs *regs)
{
	atomic_long_inc(&container_of(probe, struct function, probe)->calls);
	return 0;
}
NOKPROBE_SYMBOL(enter);

static int add(const char *name)
{
	struct function *f = kzalloc(sizeof(*f) + strlen(name) + 1, GFP_KERNEL);
	int err;

	if (!f)
		return -ENOMEM;
	strcpy(f->name, name);
	f->probe.symbol_name = f->name;
	f->probe.pre_handler = enter;
	err = register_kprobe(&f->probe);
	if (err) {
		pr_info("ran: %s: %d\n", name, err);
		kfree(f);
		return 0;
	}
	list_add_tail(&f->list, &functions);
	return 0;
}

static ssize_t ran_write(struct file *file, const char __user *from, size_t len, loff_t *pos)
{
	char *text = memdup_user_nul(from, len), *rest = text, *name;
	int err = 0;

	if (IS_ERR(text))
		return PTR_ERR(text);
	mutex_lock(&lock);
	while (!err && (name = strsep(&rest, "\n")))
		err = *name ? add(name) : 0;
	mutex_unlock(&lock);
	kfree(text);
	return err ?: len;
}

static int ran_show(struct seq_file *m, void *unused)
{
	struct function *f;

	mutex_lock(&lock);
	list_for_each_entry(f, &functions, list)
		seq_printf(m, "%ld %s\n", atomic_long_read(&f->calls), f->name);
	mutex_unlock(&lock);
	return 0;
}

static int ran_open(struct inode *inode, struct file *file)
{
	return single_open(file, ran_show, NULL);
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.open = ran_open,
	.read = seq_read,
	.write = ran_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static int __init ran_init(void)
{
	file = debugfs_create_file("ran", 0600, NULL, NULL, &operations);
	return PTR_ERR_OR_ZERO(file);
}

static void __exit ran_exit(void)
{
	struct function *f, *next;

	debugfs_remove(file);
	list_for_each_entry_safe(f, next, &functions, list) {
		unregister_kprobe(&f->probe);
		kfree(f);
	}
}

module_init(ran_init);
module_exit(ran_exit);
MODULE_DESCRIPTION("Test only: which functions ran");
MODULE_LICENSE("GPL");
