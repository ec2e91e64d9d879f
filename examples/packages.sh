# shellcheck shell=bash
# The packages that Lodestone needs, and how they come onto a Debian or Ubuntu machine. Sourced by examples/demo.sh and
# tests/run.sh; it does nothing but define functions.

say() { printf '\n== %s\n' "$*"; }
fail() { printf '\nlodestone: %s\n' "$*" >&2; exit 1; }

# Prints the Debian names of what is missing. Programs are looked for on PATH and headers by asking the compiler, so it
# does not matter how they were installed.
missing_packages() {
  local program
  for program in g++ cmake ninja; do
    command -v "$program" >/dev/null || printf '%s\n' "${program/ninja/ninja-build}"
  done
  local probe='
    #if !__has_include(<Eigen/Core>)
      libeigen3-dev
    #endif
    #if !__has_include(<range/v3/view/transform.hpp>)
      librange-v3-dev
    #endif
    #if !__has_include(<boost/test/unit_test.hpp>)
      libboost-test-dev
    #endif
    #if !__has_include(<nlohmann/json.hpp>)
      nlohmann-json3-dev
    #endif
    #if !__has_include(<CLI/CLI.hpp>)
      libcli11-dev
    #endif
    #if !__has_include(<toml++/toml.h>)
      libtomlplusplus-dev
    #endif
    #if !__has_include(<pcre2.h>)
      libpcre2-dev
    #endif
    #if !__has_include(<utf8proc.h>)
      libutf8proc-dev
    #endif
    #if !__has_include(<curl/curl.h>)
      libcurl4-openssl-dev
    #endif'
  if command -v g++ >/dev/null; then
    printf '%s\n' "$probe" | g++ -std=c++20 -I/usr/include/eigen3 -E -P -x c++ - | tr -d ' '
  else
    printf '%s\n' "$probe" | grep -o '[a-z0-9-]*-dev'
  fi
}

# libcurl is for models behind HTTP endpoints alone: without it all else builds and is tested.
optional_package=libcurl4-openssl-dev

# Installs what is missing, or ends the script with one line that says what to do.
install_missing_packages() {
  local missing needed
  missing=$(missing_packages | tr '\n' ' ')
  missing=${missing% }
  needed=$(tr ' ' '\n' <<<"$missing" | grep -v "^$optional_package\$" | tr '\n' ' ' || true)
  needed=${needed% }
  if [ -n "$missing" ]; then
    local remedy="missing packages: $missing (on Debian or Ubuntu: apt-get install $missing)" reason="" root=()
    if ! command -v apt-get >/dev/null; then
      reason="this machine has no apt-get"
    elif [ "$(id -u)" -ne 0 ]; then
      command -v sudo >/dev/null && root=(sudo) || reason="installing needs root, and there is no sudo"
    fi
    if [ -z "$reason" ]; then
      say "Installing $missing"
      # The package lists may be empty (containers) or old; a failing update is no failure when the install works.
      "${root[@]}" apt-get update -q || true
      # shellcheck disable=SC2086  # a list of words
      add_packages $missing || { [ "$needed" != "$missing" ] && { [ -z "$needed" ] || add_packages $needed; }; } ||
        fail "$remedy; installing them failed (no network, or no permission?)"
    elif [ -n "$needed" ]; then
      fail "$remedy; $reason"
    fi
    missing=$(missing_packages | grep -v "^$optional_package\$" | tr '\n' ' ' || true)
    [ -z "${missing% }" ] || fail "still missing after the installation: $missing"
    [ -z "$(missing_packages)" ] || say "Going on without $optional_package: models behind HTTP endpoints are left out"
  fi
  require_version cmake 3.25 "$(cmake --version | grep -o '[0-9][0-9.]*' | head -n 1)"
  require_version g++ 12 "$(g++ -dumpfullversion)"
}

add_packages() {  # packages; `root` is the caller's
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

require_version() {  # program, least version, version
  [ "$(printf '%s\n%s\n' "$2" "$3" | sort -V | head -n 1)" = "$2" ] ||
    fail "$1 $3 is too old: $2 or newer is needed (Debian 12 and Ubuntu 24.04 have it)"
}
