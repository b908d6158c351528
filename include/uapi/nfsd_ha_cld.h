/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The messages of client tracking, version 3: between nfsd_ha and nfsd-had, by the pipe "nfsd/cld" of rpc_pipefs.
 *
 * Versions 1 and 2 are those of <linux/nfsd/cld.h>, which each daemon knows.
 *
 *                  | 1             | 2             | 3
 *   ---------------+---------------+---------------+------------------------------------------------
 *   daemon         | nfsdcld       | nfsdcld       | nfsd-had
 *   a message has  | 1034 bytes    | 1067 bytes    | a header, and the attributes that it needs
 *   a client       | name          | + principal   | + minor version, address of the server
 *   a downcall of  | 1 client      | 1 client      | as many as it has room for
 *   GraceStart     |               |               |
 *   the end of it  | -             | -             | epoch
 *   GraceDone      | -             | -             | epoch; to say it twice does no harm
 *   Hold, Unhold,  | -             | -             | which exports clients have state on, so that the others are in
 *   AllHeld        |               |               | no grace period after the next start
 *   a daemon goes: | its upcalls are the next one's | the kernel asks the next one for its version, and tells it
 *                  |                               | all if that is at another epoch
 *
 * The version is agreed on by GetVersion, a message of version 1 (struct nfsd_ha_cld_version). A kernel that knows
 * version 3 says so by NFSD_HA_CLD_QUESTION, and only then may a daemon answer with 3, and with NFSD_HA_CLD_ANSWER, as
 * a version 3 of somebody else's would be another one. (nfsdcld sends the question back as it came.)
 *
 * From then on, all messages have version 3, until the last daemon closes the pipe: then the version is asked for anew, by
 * a message of version 1. A daemon answers each message in the version that it has. Two daemons must not have the pipe
 * open at the same time, whatever their versions: each would get some of the messages.
 */
#ifndef _UAPI_NFSD_HA_CLD_H
#define _UAPI_NFSD_HA_CLD_H

#include <linux/types.h>

/* Bytes of the longest upcall and the longest downcall. */
#define NFSD_HA_CLD_UPCALL_MAX		4096
#define NFSD_HA_CLD_DOWNCALL_MAX	32768

#define NFSD_HA_CLD_QUESTION	"nfsd-ha?"
#define NFSD_HA_CLD_ANSWER	"nfsd-ha!"

/* What names an epoch, which is a start of a server: bytes of the daemon's, which the kernel only compares. */
#define NFSD_HA_CLD_EPOCH_LEN	16

/* What each message begins with, in the byte order of the machine (struct cld_msg_hdr). */
struct nfsd_ha_cld_header {
	__u8	version;
	__u8	command;	/* an answer has that of its upcall */
	__s16	status;		/* 0 in an upcall; else 0, a negative errno, or -EINPROGRESS: more follows */
	__u32	xid;		/* an answer has that of its upcall */
} __attribute__((packed));

/* The commands; the numbers are those of enum cld_command. */
enum nfsd_ha_cld_command {
	/* Store a client: NAME, and PRINCIPAL, MINOR, ADDRESS if they are known. */
	NFSD_HA_CLD_CREATE = 0,
	/* Remove a client and its Holds: NAME. One that is not there is no error. */
	NFSD_HA_CLD_REMOVE = 1,
	/*
	 * The grace period of this EPOCH is over: who was not stored in it may not reclaim any more, and Holds that
	 * were not are gone. Of another epoch than the last, it changes nothing, and is no error.
	 */
	NFSD_HA_CLD_GRACE_DONE = 3,
	/*
	 * A server starts. Answers: any number with -EINPROGRESS, with one record or more; then one with 0, and the EPOCH
	 * that has begun. One that has failed says no epoch; to ask again begins another one.
	 *
	 * A record is a client that may reclaim, which begins with its NAME and has PRINCIPAL and HOLDS; or, with KNOWN,
	 * an export that somebody held something on, which begins with its EXPORT and has FILE_SYSTEM and HOLDERS.
	 */
	NFSD_HA_CLD_GRACE_START = 4,
	/* Of version 1 or 2 only: see struct nfsd_ha_cld_version. */
	NFSD_HA_CLD_GET_VERSION = 5,
	/*
	 * Store that a client has state on an export, or is about to: NAME, EXPORT, and FILE_SYSTEM if it is known. Without
	 * NAME: clients of NLM have.
	 */
	NFSD_HA_CLD_HOLD = 6,
	/* It has none there any more; the same attributes. A Hold that is not there is no error. */
	NFSD_HA_CLD_UNHOLD = 7,
	/*
	 * Whatever is held in this EPOCH is stored. Before the time UNTIL, nothing will be granted whose Hold is not
	 * stored, but to who reclaims. A later one takes the place of an earlier one; 0 takes it back. Of another epoch
	 * than the last, it changes nothing, and is no error.
	 */
	NFSD_HA_CLD_ALL_HELD = 8,
};

/* The first bytes of GetVersion and of its answer, which has the same length; the rest is zeros. */
struct nfsd_ha_cld_version {
	struct nfsd_ha_cld_header header;	/* version 1 or 2 */
	__u8	highest;			/* in the answer: the highest version that the daemon knows */
	char	magic[8];			/* NFSD_HA_CLD_QUESTION, NFSD_HA_CLD_ANSWER: no zero at its end */
	__u8	epoch[NFSD_HA_CLD_EPOCH_LEN];	/* in the answer with 3: the daemon's last one, or zeros */
} __attribute__((packed));

/*
 * What follows a header: attributes, one after the other, without padding, in any order but that a NAME begins a client
 * and, in the answers to GraceStart, an EXPORT begins an export.
 * `length` is that of the value alone. Who does not know a type skips it. A message is a bad one, EINVAL, if one of a
 * known type has a length that it cannot have, is there twice for the same record, or goes beyond the end; and if one
 * is missing.
 */
struct nfsd_ha_cld_attribute {
	__u16	type;
	__u16	length;
	/* value */
} __attribute__((packed));

enum nfsd_ha_cld_type {
	NFSD_HA_CLD_NAME = 1,		/* 1 to 1024 bytes: co_ownerid, or the id of SETCLIENTID */
	NFSD_HA_CLD_PRINCIPAL = 2,	/* 32 bytes: SHA-256 */
	NFSD_HA_CLD_MINOR = 3,		/* __u32: its minor version of NFSv4 */
	NFSD_HA_CLD_ADDRESS = 4,	/* 1 to 64 bytes of ASCII: the server's address that the client came to */
	NFSD_HA_CLD_EPOCH = 5,		/* NFSD_HA_CLD_EPOCH_LEN bytes */
	NFSD_HA_CLD_EXPORT = 6,		/* 1 to 64 bytes of ASCII: its fsid, as the kernel has written it */
	NFSD_HA_CLD_FILE_SYSTEM = 7,	/* 16 bytes: the UUID of the export's file system (s_uuid) */
	NFSD_HA_CLD_UNTIL = 8,		/* __u64: seconds since 1970 */
	NFSD_HA_CLD_HOLDERS = 9,	/* __u32: who held something on an export, see below */
	NFSD_HA_CLD_HOLDS = 10,		/* __u32: on how many exports a client held something */
	/*
	 * No bytes. At the end of GraceStart: the exports are all that somebody held something on, as what AllHeld has
	 * said of the last epoch was true until the server stopped or crashed.
	 */
	NFSD_HA_CLD_KNOWN = 11,
};

/* HOLDERS: one of these, or both. */
#define NFSD_HA_CLD_HELD_NFS4	1
#define NFSD_HA_CLD_HELD_NLM	2

#endif /* _UAPI_NFSD_HA_CLD_H */
