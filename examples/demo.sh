#!/usr/bin/env bash
# Builds the command-line program and runs its demonstration: LongAlign on the CPU, on real documents, in minutes.
# Usage: bash examples/demo.sh [arguments of `lodestone demo`]
set -euo pipefail
here=$(pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. examples/packages.sh

install_missing_packages
say "Configuring (build/cpu)"
cmake --preset cpu
say "Building the program (a few minutes the first time)"
cmake --build --preset cpu --target lodestone_cli
program=$(pwd)/build/cpu/bin/lodestone
say "Running: $program demo $*"
cd "$here"
exec "$program" demo "$@"
