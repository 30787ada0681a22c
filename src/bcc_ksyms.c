/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libbcc reads all of /proc/kallsyms, which takes half a second, to find out
 * whether the kernel has bpf_probe_read_kernel. Every kernel that Plainsight
 * runs on has it (5.5 and newer), so this answers in libbcc's place: loaded
 * into the global scope before libbcc, it is found first. Used by the process
 * that compiles the probes only (lua/plainsight/compiler.lua).
 */
#include <stdint.h>

typedef void (*ksym_callback)(const char *name, const char *module, uint64_t address, void *payload);

int bcc_procutils_each_ksym(ksym_callback callback, void *payload);

int bcc_procutils_each_ksym(ksym_callback callback, void *payload)
{
	callback("bpf_probe_read_kernel", "kernel", UINT64_C(0xffffffff81000000), payload);
	callback("bpf_probe_read_user", "kernel", UINT64_C(0xffffffff81000010), payload);
	return 0;
}
