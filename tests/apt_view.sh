# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Packages of other Debian suites, for scripts that source this: from the archive that the system already uses, by
# views that the system's own apt never learns of. skip(), of such a script, is called with the reason when that
# cannot be.

# The sites that the system's own package lists with label $1 came from: "Debian" or "Debian-Security".
apt_site() {
	# shellcheck disable=SC2016 # apt's variables
	apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' "Label: $1" | sort -u | head -n 1
}

# Sets APT to options for a view of suite $2 in directory $1: it has its own sources, lists and cache, and no installed
# packages.
open_view() {
	local view=$1 suite=$2 site security keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -r "$keyring" ] || skip "$keyring is missing (debian-archive-keyring)"
	site=$(apt_site Debian)
	security=$(apt_site Debian-Security)
	[ -n "$site" ] || skip "no Debian package lists on this system (apt-get update)"
	mkdir -p "$view"/{lists/partial,cache/archives/partial}
	: >"$view/status"
	echo "deb [arch=amd64 signed-by=$keyring] $site $suite main" >"$view/sources.list"
	# sid has no security suite
	if [ -n "$security" ] && [ "$suite" != sid ]; then
		echo "deb [arch=amd64 signed-by=$keyring] $security $suite-security main" >>"$view/sources.list"
	fi
	# shellcheck disable=SC2034 # for those that source this
	APT=(-q=2 -o APT::Architecture=amd64 -o APT::Sandbox::User=root -o APT::Default-Release=
		-o Dir::Etc::SourceList="$view/sources.list" -o Dir::Etc::SourceParts=/dev/null
		-o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
		-o Dir::State::Lists="$view/lists" -o Dir::State::Status="$view/status" -o Dir::Cache="$view/cache")
}
