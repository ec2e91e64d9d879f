#!/usr/bin/env bash
# Builds the reference with Doxygen (build/doxygen/html) and fails on any warning: every public entity, members of
# classes included, has its sentence.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p build/doxygen
doxygen docs/Doxyfile
[ ! -s build/doxygen/warnings.txt ] || { cat build/doxygen/warnings.txt; exit 1; }
echo "no warnings: build/doxygen/html/index.html"
