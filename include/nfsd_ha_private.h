/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's own declarations of what nfsd_ha looks into, for bindgen: headers that nfsd
 * keeps beside its source, and types of <linux/> that the kernel's Rust crate does not bind.
 */
#include <crypto/sha2.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/livepatch.h>
#include <linux/rcupdate.h>
#include <linux/siphash.h>
#include <linux/sunrpc/rpc_pipe_fs.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

#include "nfsd.h"
#include "netns.h"
#include "state.h"

/*
 * These two have no header: they are defined in fs/nfsd/nfs4recover.c. The build compares
 * them, and every type above, with the BTF of the targeted nfsd.ko (see layout-types).
 */
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
