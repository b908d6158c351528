# SPDX-License-Identifier: GPL-2.0
#
# make            what there is
# make KDIR=DIR   nfsd_ha.ko for the kernel whose build directory is DIR

.DEFAULT_GOAL := $(if $(KDIR),kdir,help)

help:
	@sed -n 's/^##//p' $(MAKEFILE_LIST)

##make demo       clients keep their locks while a server restarts and is reset, and an export moves
##make test       all tests on all kernels; ends in "N passed, N failed"
##make test-long  what takes longer: fail-over against the stock way, scale, a storm of locks
##make test-mutations  deliberate faults, each to be caught by a test: can the tests fail?
##make bench      how fast it is beside the stock kernel: a table, a plot, and whether goals are reached
##make test-debug the tests in virtual machines on a kernel that finds mistakes of its own
##make fuzz       look for inputs that the module or the program takes wrongly, for some minutes
##make shell      a virtual machine with the module loaded, to play with
##make user       nfsd-ha, the program for admins, in the cache; prints where it is
##make module     nfsd_ha.ko for all stock kernels, in the cache
##make KDIR=DIR   nfsd_ha.ko, here, for the kernel whose build directory is DIR
##make clippy     the lints of the kernel, and ours
##make test-host  the tests that need no virtual machine
##make test-model the parts that work at the same time, in 100 times as many schedules, and with faults
##make kernels    prepare the stock kernels, and print them
##make update     look for new kernels now, not once a day
##make clean      remove what was built; make distclean: the whole cache
##
##KERNEL=7.3 selects the kernels whose releases start so; V=1 shows commands.
##make test TESTS="52-release 70"  the tests whose names begin so, on all kernels (host: those of
##                make test-host); ARGS="seed=7" hands words to them

# For the scripts.
export KERNEL V MODULES QUICK TESTS ARGS

test:
	@scripts/test/all

bench demo fuzz shell:
	@scripts/test/$@

test-host test-long test-debug test-mutations:
	@scripts/test/$(@:test-%=%)

clippy:
	@scripts/build/clippy

user:
	@scripts/build/build-user

module:
	@scripts/build/build-module

kdir:
	@scripts/build/build-kdir $(KDIR)

kernels:
	@scripts/build/prepare-kernel
	@scripts/build/kernels

test-model:
	@scripts/test/model --long

update:
	@scripts/build/kernels --update

cache = $${XDG_CACHE_HOME:-$$HOME/.cache}/nfsd-ha
as_root = $$([ $$(id -u) -eq 0 ] || echo sudo)

clean:
	@$(as_root) rm -rf build nfsd_ha.ko "$(cache)/build" "$(cache)/tools" "$(cache)/user"

distclean: clean
	@$(as_root) rm -rf --one-file-system "$(cache)"

.PHONY: help bench demo fuzz shell user test test-host test-long test-debug test-model test-mutations clippy module kdir kernels update clean distclean
