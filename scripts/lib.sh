# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the build scripts share: the places of things, and steps that show their progress.
#
# The cache, all of it made anew after 'make distclean':
#   buildroot-KEY/     Debian with the tools to build and run everything; KEY is the script's hash
#   releases           the stock kernels to build for, and their versions in Debian
#   kernels/RELEASE/   a stock kernel: vmlinuz, modules/, build/ (for external modules), src/
#   debug/RELEASE/     the debug kernel, with the same
#   build/RELEASE/     nfsd_ha.ko for that kernel
#   tools/             cargo's target directories
#   user/              cargo's target directory for nfsd-ha, the program for admins
#   cargo/             the crates that Debian does not have
#   fuzz/              what the fuzz targets find
#   images/            what the virtual machines boot from
#   mutations/         a copy of the source, for deliberate faults
#   coverage/          the module with nothing inlined
#   logs/              the full output of each step

set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export XDG_CACHE_HOME=${XDG_CACHE_HOME:-$HOME/.cache}
cache=$XDG_CACHE_HOME/nfsd-ha
# Only in the build root; says which one it is.
in_root=/etc/nfsd-ha-buildroot
mkdir -p "$cache/logs"

say() {
	printf '%s\n' "$*" >&2
}

die() {
	say "error: $*"
	exit 1
}

# enter_root "$@": go on in the build root with the script that calls this.
enter_root() {
	[ -e "$in_root" ] || exec "$repo/scripts/build/inroot" "$(cd "$(dirname "$0")" && pwd)/${0##*/}" "$@"
}

# other_crates: let cargo have crates that are not Debian's. The build root's configuration replaces
# all by those; cargo looks for it in its home, and above the working directory. What is built so is in tools/ or user/.
other_crates() {
	own_tools
	export CARGO_HOME=$cache/cargo
	cd /
}

# own_tools: what cargo builds in tools/ and user/ is this checkout's. Cargo's names for the packages there have no path, and it
# looks at times only: what another checkout has built after this one's files were written would be taken for theirs.
own_tools() {
	is_ours || (
		locked checkout
		# Another script of this checkout, which ran beside this one, may have done it meanwhile, and be building by now.
		if is_ours; then exit; fi
		mkdir -p "$cache/tools" "$cache/user"
		exec 6>"$cache/tools.lock" 7>"$cache/user.lock"
		flock 6
		flock 7
		for name in $(sed -n 's/^name = "\(.*\)"$/\1/p' "$repo"/{tools,tests,user}/*/Cargo.toml "$repo"/tests/*/*/Cargo.toml); do
			find "$cache/tools" "$cache/user" -type d -path "*/.fingerprint/$name-*" -prune -exec rm -rf {} +
		done
		echo "$repo" >"$cache/tools/checkout"
	)
}

is_ours() {
	[ "$(cat "$cache/tools/checkout" 2>/dev/null)" = "$repo" ]
}

# key FILE...: a short name for what the files say.
key() {
	cat "$@" | sha256sum | cut -c1-12
}

# step NAME TEXT COMMAND...: run a command with its output in logs/NAME.log, say every ten seconds
# where it is, and at the end how long it took. If it fails, show the errors in the log and exit.
# With V=1 the output is shown as it comes.
step() {
	local name=$1 text=$2 log=$cache/logs/$1.log began=$SECONDS progress='' status
	shift 2
	say "==> ${NFSD_HA_BESIDE:+meanwhile: }$text"
	# The command is in the foreground, so that ^C ends it and sudo can ask for a password.
	# set -e holds in the command if it is a function, which it would not after || or if.
	set +e
	if [ -n "${V-}" ]; then
		(set -e && "$@") 2>&1 </dev/null | tee "$log" >&2
		status=${PIPESTATUS[0]}
	else
		if [ -z "${NFSD_HA_BESIDE-}" ]; then
			# It must not keep the lock, or the caller's standard output, when this script is killed.
			show_progress "$log" 8>&- >/dev/null &
			progress=$!
		fi
		(set -e && "$@") >"$log" 2>&1 </dev/null
		status=$?
		if [ -n "$progress" ]; then
			kill "$progress"
			wait "$progress" 2>/dev/null
		fi
	fi
	set -e
	if [ "$status" -ne 0 ]; then
		say "    ${NFSD_HA_BESIDE:+$name }failed after $((SECONDS - began)) s:"
		[ -n "${V-}" ] || show_errors "$log"
		die "$text: that did not work (all of the output: $log)"
	fi
	if [ $((SECONDS - began)) -ge 3 ]; then say "    ${NFSD_HA_BESIDE:+$name }done in $((SECONDS - began)) s"; fi
}

# beside COMMAND...: begin with it, and go on; its steps show no progress. ^C ends this script, which
# ends all that runs beside it.
beside_it=()
beside() {
	trap 'for job in "${beside_it[@]}"; do kill -- "-$job" 2>/dev/null || true; done' EXIT
	set -m # it gets a process group of its own
	NFSD_HA_BESIDE=yes "$@" </dev/null &
	set +m
	beside_it+=($!)
}

# together: wait for what was begun beside this; if it did not work, it has said why.
together() {
	local job
	for job in "${beside_it[@]}"; do wait "$job" || exit 1; done
	beside_it=()
}

# show_progress LOG: say the last line of the log every ten seconds, while this script runs.
show_progress() {
	local seconds=0
	while sleep 1 2>/dev/null && kill -0 $$ 2>/dev/null; do
		seconds=$((seconds + 1))
		if [ $((seconds % 10)) -eq 0 ]; then
			say "    $seconds s: $(tail -n 1 "$1" | tr -d '\r' | cut -c1-90)"
		fi
	done
}

# show_errors LOG: what the log says from its first error on, or its end if it names none.
show_errors() {
	local errors
	errors=$(grep -v '^make' "$1" |
		awk '/^(E:|Err:|[Ee]rror|ERROR|fatal)|: (fatal )?error: / { on = 1 } on' | sed 40q)
	if [ -z "$errors" ]; then errors=$(tail -n 10 "$1"); fi
	printf '%s\n' "$errors" | sed 's/^/    /' >&2
}

# locked NAME: wait until no other script has this lock, and keep it until this script ends.
locked() {
	exec 8>"$cache/$1.lock"
	if ! flock --nonblock 8; then
		say "==> waiting for another build to finish ($cache/$1.lock)"
		flock 8
	fi
}
