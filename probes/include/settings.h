/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a run was asked for, at an address that the loader knows.
 *
 * BCC has no way to name an address in a map. So the probes read from a made-up
 * one, and lua/plainsight/loader.lua makes it that of entry 0 of the map
 * `settings`, which it creates. The map is read-only and frozen: the verifier
 * takes what is read as constants and drops the branches that cannot be taken,
 * so that a filter that is not in use costs nothing. Volatile: each read is to
 * stand where its value is tested, because old verifiers forget constants that
 * are spilled to the stack.
 */
#ifndef PLAINSIGHT_SETTINGS_H
#define PLAINSIGHT_SETTINGS_H

#define SETTINGS ((const volatile struct ps_settings *)0x7fff020000000000)

static __always_inline bool has_filter(enum ps_filter filter)
{
	return SETTINGS->filters & filter;
}

static __always_inline bool captures(enum ps_capture_bits what)
{
	return SETTINGS->capture & what;
}

#endif
