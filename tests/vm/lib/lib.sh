# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2119,SC2120 # optional arguments
#
# For tests in a VM, to be sourced: . /test/lib/lib.sh
# Results are KTAP (Documentation/dev-tools/ktap.rst): say 'ktap_plan N' first, then N results.

# --- results ---

_count=${VM_RESULTS:-0}

# ktap_plan N: how many results there will be, in all stages together.
ktap_plan() {
	if [ -z "$VM_STAGE" ]; then
		echo "KTAP version 1"
		echo "1..$1"
	fi
}

# diag TEXT: a comment in the results.
diag() {
	printf '%s\n' "$*" | sed 's/^/# /'
}

ok() {
	_count=$((_count + 1))
	echo "ok $_count $*"
}

not_ok() {
	_count=$((_count + 1))
	echo "not ok $_count $*"
}

# skip NAME REASON
skip() {
	_count=$((_count + 1))
	echo "ok $_count $1 # SKIP $2"
}

# skip_all REASON: in place of a plan.
skip_all() {
	echo "1..0 # SKIP $*"
	exit 0
}

# check NAME COMMAND...: one result; what the command says is shown if it fails.
check() {
	_name=$1
	shift
	if _out=$("$@" 2>&1); then
		ok "$_name"
	else
		diag "'$*' ended with $?: $_out"
		not_ok "$_name"
	fi
}

# check_fails NAME COMMAND...: the same for a command that must fail.
check_fails() {
	_name=$1
	shift
	if _out=$("$@" 2>&1); then
		diag "'$*' succeeded: $_out"
		not_ok "$_name"
	else
		ok "$_name"
	fi
}

# is NAME SEEN WANTED
is() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		diag "saw '$2', wanted '$3'"
		not_ok "$1"
	fi
}

# need_module: skip the test if it runs with --no-module.
need_module() {
	[ -e /test/nfsd_ha.ko ] || skip_all "no nfsd_ha.ko"
}

# --- requests to the harness ---

# reset_vm STAGE: power off at once; the test starts again with VM_STAGE=STAGE. Only disks survive.
reset_vm() {
	echo "@reset $1" >&3
	sleep 1000
}

# barrier NAME: wait until every VM of the scenario is here.
barrier() {
	echo "@barrier $1" >&3
	read -r _answer <&3
}

# put KEY VALUE: publish a value. get KEY: wait for it and print it.
put() {
	echo "@set $*" >&3
}
get() {
	echo "@wait $1" >&3
	read -r _answer <&3
	echo "$_answer"
}

# kill_vm NAME [STAGE]: cut another VM's power; with STAGE it boots again.
kill_vm() {
	echo "@kill $*" >&3
}

# allow_report TEXT: kernel reports that contain it do not fail the test.
allow_report() {
	echo "@allow $*" >&3
}

# --- waiting ---

# wait_for SECONDS COMMAND...: until the command succeeds, or fail after that time and some patience: a busy host
# makes all slower, and waiting costs nothing if the command succeeds (see patience() in nfs.py).
wait_for() {
	_more=$(($1 * 3))
	[ "$_more" -le 60 ] || _more=60
	_end=$(($(date +%s) + ($1 + _more) * ${VM_SLOW:-1}))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt "$_end" ] || return 1
		sleep 0.3 # these processes need the CPU that others wait for
	done
}

# seconds COMMAND...: run it, print how long it took; its status is kept.
seconds() {
	_began=$(date +%s%N)
	"$@" >&2
	_status=$?
	echo $((($(date +%s%N) - _began) / 1000000000))
	return $_status
}

# --- the server ---

mount_nfsd() {
	modprobe nfsd || return
	mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd || return
	mountpoint -q /run/rpc_pipefs || mount -t rpc_pipefs rpc_pipefs /run/rpc_pipefs
}

# start_nfsdcld [DIRECTORY]: the client tracking daemon; its database is on a disk if DIRECTORY is.
start_nfsdcld() {
	mkdir -p "${1:-/var/lib/nfs/nfsdcld}"
	nfsdcld -F -d -s "${1:-/var/lib/nfs/nfsdcld}" >/run/nfsdcld.log 2>&1 3>&- &
	echo $! >/run/nfsdcld.pid
}

stop_nfsdcld() {
	kill "$(cat /run/nfsdcld.pid)"
	wait "$(cat /run/nfsdcld.pid)" 2>/dev/null
	rm /run/nfsdcld.pid
}

# start_rpc: what NFSv3 needs beside the server.
start_rpc() {
	[ -e /run/rpcbind.sock ] || rpcbind -w 3>&- || return
	wait_for 10 rpcinfo -p || return
	rpcinfo -t localhost status >/dev/null 2>&1 || rpc.statd --no-notify 3>&-
}

# start_server [RPC.NFSD OPTIONS]: everything a server of NFS 3 and 4 needs. GRACE and LEASE: seconds.
start_server() {
	mount_nfsd && start_rpc || return
	[ -e /run/nfsdcld.pid ] || start_nfsdcld || return
	echo "${LEASE:-10}" >/proc/fs/nfsd/nfsv4leasetime
	echo "${GRACE:-10}" >/proc/fs/nfsd/nfsv4gracetime
	echo "${GRACE:-10}" >/proc/sys/fs/nfs/nlm_grace_period # locks of NFSv4 wait for it, too
	pidof rpc.mountd >/dev/null || rpc.mountd 3>&- || return
	if ! mountpoint -q /srv/root; then
		mkdir -p /srv/root && mount -t tmpfs tmpfs /srv/root &&
			exportfs -o ro,fsid=0,crossmnt,no_subtree_check "*:/srv/root" || return
	fi
	rpc.nfsd "$@" 8 3>&-
}

stop_server() {
	rpc.nfsd 0
}

# new_export NAME FSID [DEVICE]: an export at NAME (v4) and /srv/root/NAME (v3), on tmpfs or ext4.
new_export() {
	mkdir -p "/srv/root/$1" || return
	if [ -n "$3" ]; then
		mount -t ext4 "$3" "/srv/root/$1" || return
	else
		mount -t tmpfs tmpfs "/srv/root/$1" || return
	fi
	chmod 1777 "/srv/root/$1"
	exportfs -o "rw,sync,no_root_squash,no_subtree_check,fsid=$2" "*:/srv/root/$1"
}

# --- clients ---

# mount_client VERS NAME DIRECTORY [OPTIONS]: mount an export; SERVER says whose, ours if unset.
mount_client() {
	case $1 in
	3) _path=/srv/root/$2 ;;
	*) _path=/$2 ;;
	esac
	mkdir -p "$3" && mount.nfs -o "vers=$1${4:+,$4}" "${SERVER:-127.0.0.1}:$_path" "$3"
}

# client_ns NAME: an NFS client of its own: net, mount and UTS namespaces, its own address, rpcbind and statd.
# The server is 10.99.0.1 for all of them.
# shellcheck disable=SC2016 # for the shells inside
client_ns() {
	if ! [ -d /sys/class/net/clients ]; then
		# With an address of its own: a bridge takes the lowest one of its ports else, so that it changes when a client
		# comes, and the others talk to nobody until their ARP entries time out.
		ip link add clients address 02:00:00:00:00:01 type bridge && ip addr add 10.99.0.1/24 dev clients && ip link set clients up || return
		mkdir -p /run/client
	fi
	_n=$(($(find /run/client -name '*.pid' | wc -l) + 2))
	unshare --net --mount --uts sh -c 'echo $$ >"/run/client/$1.new"; mv "/run/client/$1.new" "/run/client/$1.pid"
		exec sleep infinity' sh "$1" >/dev/null 2>&1 3>&- &
	wait_for 20 test -e "/run/client/$1.pid" || return
	ip link add "c$_n" master clients type veth peer name eth0 netns "$(cat "/run/client/$1.pid")" || return
	ip link set "c$_n" up
	modprobe nfs
	in_client "$1" sh -c 'hostname "$1" && ip link set lo up && ip addr add "10.99.0.$2/24" dev eth0 &&
		ip link set eth0 up && mount -t sysfs sysfs /sys && echo "$1" >/sys/fs/nfs/net/nfs_client/identifier &&
		mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib/nfs && mkdir -p /run/lock /var/lib/nfs/sm /var/lib/nfs/sm.bak &&
		rpcbind -w && rpc.statd --no-notify' sh "$1" "$_n" 3>&-
}

# in_client NAME COMMAND...
in_client() {
	_pid=$(cat "/run/client/$1.pid")
	shift
	nsenter -t "$_pid" --net --mount --uts "$@"
}

# mount_in CLIENT VERS NAME DIRECTORY [OPTIONS]: mount_client for a client made by client_ns.
mount_in() {
	_client=$1
	shift
	# shellcheck disable=SC2016 # for the shell inside
	SERVER=10.99.0.1 in_client "$_client" sh -c '. /test/lib/lib.sh; mount_client "$@"' sh "$@"
}

# --- locks ---

# hold_lock ID FILE [COMMAND PREFIX...]: take an fcntl write lock in the background; fails if it is not there in
# 90 s. With a prefix: hold_lock a /mnt/f in_client c1
hold_lock() {
	_id=$1 _file=$2
	shift 2
	# exec, as a redirection of a function leaves a copy behind, which $(...) in check would wait for.
	(exec >/dev/null 2>&1 3>&- && "$@" python3 /test/lib/lock.py hold "$_file" "/tmp/lock.$_id") &
	wait_for 90 test -e "/tmp/lock.$_id"
}

# drop_lock ID
drop_lock() {
	rm "/tmp/lock.$1"
}

# try_lock FILE [COMMAND PREFIX...]: succeed if the lock is granted now; it is released at once.
try_lock() {
	_file=$1
	shift
	"$@" python3 /test/lib/lock.py try "$_file"
}
