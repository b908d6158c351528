/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's own declarations of what nfsd_ha looks into, for bindgen: headers that nfsd
 * keeps beside its source, and types of <linux/> that the kernel's Rust crate does not bind.
 */
#include <crypto/sha2.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/filelock.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/kthread.h>
#include <linux/livepatch.h>
#include <linux/namei.h>
#include <linux/poll.h>
#include <linux/ptrace.h>
#include <linux/rcupdate.h>
#include <linux/security.h>
#include <linux/sched/task.h>
#include <linux/maple_tree.h>
#include <linux/mm_types.h>
#include <linux/fs_struct.h>
#include <linux/nsproxy.h>
#include <linux/pid_namespace.h>
#include <linux/siphash.h>
#include <linux/swap.h>
#include <linux/sunrpc/clnt.h>
#include <linux/sunrpc/rpc_pipe_fs.h>
#include <linux/sunrpc/svcsock.h>
#include <linux/sunrpc/xprt.h>
#include <linux/tcp.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>
#include <net/request_sock.h>
#include <net/tcp.h>

#include "fs/mount.h"
#include "nfsd.h"
#include "netns.h"
#include "state.h"
#include "xdr4.h"
#include "export.h"
#include "filecache.h"
#include "fs/lockd/lockd.h"
#include "fs/lockd/netns.h"
#include "fs/lockd/share.h"

/* The NFS client. */
#include <linux/exportfs.h>
#include <linux/nfs_fs.h>
#include <linux/nfs_fs_sb.h>
#include <linux/nfs_xdr.h>
#include "fs/nfs/nfs4_fs.h"

/*
 * Arguments of NLM requests. The headers of the two protocol versions share some names.
 */
#undef SM_MAXSTRLEN
#undef SM_PRIV_SIZE
#include <linux/sunrpc/xdrgen/nlm4.h>
#define LM_MAXSTRLEN		NLM3_LM_MAXSTRLEN
#define LM_MAXNAMELEN		NLM3_LM_MAXNAMELEN
#define MAXNETOBJ_SZ		NLM3_MAXNETOBJ_SZ
#define SM_PRIV_SIZE		NLM3_SM_PRIV_SIZE
#define fsm_DN			nlm3_fsm_DN
#define fsm_DR			nlm3_fsm_DR
#define fsm_DW			nlm3_fsm_DW
#define fsm_DRW			nlm3_fsm_DRW
#define fsa_NONE		nlm3_fsa_NONE
#define fsa_R			nlm3_fsa_R
#define fsa_W			nlm3_fsa_W
#define fsa_RW			nlm3_fsa_RW
#include <linux/sunrpc/xdrgen/nlm3.h>

/*
 * The rest has no header. The build compares it, and every type above, with the BTF of the
 * targeted modules (see layout-types).
 */

/* fs/nfsd/nfs4recover.c */
struct nfsd4_client_tracking_ops {
	int (*init)(struct net *);
	void (*exit)(struct net *);
	void (*create)(struct nfs4_client *);
	void (*remove)(struct nfs4_client *);
	int (*check)(struct nfs4_client *);
	void (*grace_done)(struct nfsd_net *);
	uint8_t version;
	size_t msglen;
};

/* nfsd's rpc_pipefs notifier reads cn_pipe, and nothing else of it. */
struct cld_net {
	struct rpc_pipe *cn_pipe;
};

/* fs/lockd/mon.c */
struct nsm_args {
	struct nsm_private *priv;
	u32 prog;
	u32 vers;
	u32 proc;

	char *mon_name;
	const char *nodename;
};

struct nsm_res {
	u32 status;
	u32 state;
};

/* fs/lockd/svc4proc.c, fs/lockd/svcproc.c: what an NLM request's rq_argp points to begins so. */
struct nlm4_testargs_wrapper { struct nlm4_testargs xdrgen; };
struct nlm4_lockargs_wrapper { struct nlm4_lockargs xdrgen; };
struct nlm4_cancargs_wrapper { struct nlm4_cancargs xdrgen; };
struct nlm4_unlockargs_wrapper { struct nlm4_unlockargs xdrgen; };
struct nlm4_shareargs_wrapper { struct nlm4_shareargs xdrgen; };
struct nlm_testargs_wrapper { struct nlm_testargs xdrgen; };
struct nlm_lockargs_wrapper { struct nlm_lockargs xdrgen; };
struct nlm_cancargs_wrapper { struct nlm_cancargs xdrgen; };
struct nlm_unlockargs_wrapper { struct nlm_unlockargs xdrgen; };
struct nlm_shareargs_wrapper { struct nlm_shareargs xdrgen; };

/* drivers/block/loop.c, which has more behind. */
struct loop_device {
	int lo_number;
	loff_t lo_offset;
	loff_t lo_sizelimit;
	int lo_flags;
	char lo_file_name[64];
	struct file *lo_backing_file;
};

/* include/linux/swap.h, which bindgen cannot compute. */
enum nfsd_ha_swap {
	NFSD_HA_MAX_SWAPFILES = MAX_SWAPFILES,
};

/* include/linux/filelock.h: a bit, which bindgen cannot compute. */
enum nfsd_ha_lock {
	NFSD_HA_RECLAIM = FL_RECLAIM,
};

/* fs/lockd/lockd.h: in network byte order, which bindgen cannot compute. */
enum nfsd_ha_nlm {
	NFSD_HA_DROP_REPLY = nlm__int__drop_reply,
};

/* fs/nfsd/state.h: bits, which bindgen cannot compute. */
enum nfsd_ha_stid {
	NFSD_HA_OPEN = SC_TYPE_OPEN,
	NFSD_HA_LOCK = SC_TYPE_LOCK,
	NFSD_HA_DELEG = SC_TYPE_DELEG,
	NFSD_HA_LAYOUT = SC_TYPE_LAYOUT,
};
