# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the build scripts share: the places of things, and steps that show their progress.
#
# The cache, all of it made anew after 'make distclean':
#   buildroot-KEY/     Debian with the tools to build and run everything; KEY is the script's hash
#   kernels/RELEASE/   a stock kernel: vmlinuz, modules/, build/ (for external modules), src/
#   build/RELEASE/     nfsd_ha.ko for that kernel
#   tools/             cargo's target directory for tools/
#   images/            what the virtual machines boot from
#   logs/              the full output of each step

set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export XDG_CACHE_HOME=${XDG_CACHE_HOME:-$HOME/.cache}
cache=$XDG_CACHE_HOME/nfsd-ha
mkdir -p "$cache/logs"

say() {
	printf '%s\n' "$*" >&2
}

die() {
	say "error: $*"
	exit 1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo --preserve-env=XDG_CACHE_HOME "$@"
	fi
}

# key FILE...: a short name for what the files say.
key() {
	cat "$@" | sha256sum | cut -c1-12
}

# step NAME TEXT COMMAND...: run a command with its output in logs/NAME.log, say that it goes on
# every ten seconds and how long it took. If it fails, show the end of the log.
step() {
	local name=$1 text=$2 log=$cache/logs/$1.log began=$SECONDS pid
	shift 2
	say "==> $text"
	# Not this script's own standard input: the command is in the background.
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		sleep 1
		if [ $(((SECONDS - began) % 10)) -eq 0 ]; then
			say "    $((SECONDS - began)) s: $(tail -n 1 "$log" | tr -d '\r' | cut -c1-90)"
		fi
	done
	if wait "$pid"; then
		say "    done in $((SECONDS - began)) s"
		return
	fi
	say "    failed after $((SECONDS - began)) s; the log ends in:"
	grep -E '^(E:|error|ERROR|fatal)|[Ee]rror:' "$log" | tail -n 5 | sed 's/^/    /' >&2 || true
	tail -n 5 "$log" | sed 's/^/    /' >&2
	die "$text: see $log, mend the cause, and run the same command again"
}

# locked NAME: wait until no other script has this lock, and keep it until this script ends.
locked() {
	exec 8>"$cache/$1.lock"
	if ! flock -n 8; then
		say "==> waiting for another build to finish ($cache/$1.lock)"
		flock 8
	fi
}
