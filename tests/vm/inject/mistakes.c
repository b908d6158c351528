// SPDX-License-Identifier: GPL-2.0
/*
 * For tests of the debug kernel and of the harness only: makes one mistake, which must be found.
 *
 *   insmod mistakes.ko what=free
 *
 * Loading it fails, so that the next mistake can be made.
 */
#include <linux/debug_locks.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/timer.h>

static char *what = "";
module_param(what, charp, 0);
MODULE_PARM_DESC(what, "which mistake");

static DEFINE_MUTEX(a);
static DEFINE_MUTEX(b);
static DEFINE_SPINLOCK(spin);
static int __rcu *pointer;

static void ignore(struct timer_list *timer)
{
}

/* Reads memory that is free. */
static void after_free(void)
{
	int *p = kzalloc(64, GFP_KERNEL);

	kfree(p);
	OPTIMIZER_HIDE_VAR(p);
	if (p)
		READ_ONCE(*p);
}

/* Forgets memory. */
static void leak(void)
{
	void *p = kzalloc(100, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(p);
}

/* Takes two locks in both orders. */
static void order(void)
{
	mutex_lock(&a);
	mutex_lock(&b);
	mutex_unlock(&b);
	mutex_unlock(&a);
	mutex_lock(&b);
	mutex_lock(&a);
	mutex_unlock(&a);
	mutex_unlock(&b);
}

static void sleep(void)
{
	spin_lock(&spin);
	might_sleep();
	spin_unlock(&spin);
}

/* Frees a timer that runs. */
static void timer(void)
{
	struct timer_list *t = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return;
	timer_setup(t, ignore, 0);
	mod_timer(t, jiffies + 1000 * HZ);
	kfree(t);
}

static void key(void)
{
	struct mutex *m = kzalloc(sizeof(*m), GFP_KERNEL);

	if (!m)
		return;
	/* All but what lockdep wants to know. */
	mutex_init(m);
	m->dep_map.key = NULL;
	m->dep_map.class_cache[0] = NULL;
	mutex_lock(m);
	mutex_unlock(m);
	kfree(m);
}

static void list(void)
{
	struct list_head *head = kzalloc(2 * sizeof(*head), GFP_KERNEL);

	if (!head)
		return;
	INIT_LIST_HEAD(head);
	list_add(&head[1], head);
	list_del(&head[1]);
	list_del(&head[1]);
	kfree(head);
}

static int __init mistakes_init(void)
{
	if (!strcmp(what, "free"))
		after_free();
	else if (!strcmp(what, "leak"))
		leak();
	else if (!strcmp(what, "order"))
		order();
	else if (!strcmp(what, "sleep"))
		sleep();
	else if (!strcmp(what, "rcu"))
		(void)rcu_dereference(pointer);
	else if (!strcmp(what, "timer"))
		timer();
	else if (!strcmp(what, "key"))
		key();
	else if (!strcmp(what, "list"))
		list();
	else if (!strcmp(what, "preempt"))
		(void)smp_processor_id();
	else if (!strcmp(what, "off"))
		debug_locks_off();
	else
		return -EINVAL;
	return -ECANCELED;
}

static void __exit mistakes_exit(void)
{
}

module_init(mistakes_init);
module_exit(mistakes_exit);
MODULE_DESCRIPTION("Makes a mistake for the debug kernel to find");
MODULE_LICENSE("GPL");
