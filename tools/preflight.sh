#!/bin/sh
# Prints the Python to build with, or says in one line what is missing and how to install it.
set -u

missing() {
    echo "admittance: $1 is missing; install it with: $2" >&2
    exit 1
}

for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$(command -v "$candidate")
        break
    fi
done
[ -n "${python:-}" ] || missing "Python 3.11 or newer" "apt-get install python3 python3-dev python3-venv"

"$python" -c 'import ensurepip, venv' 2>/dev/null || missing "Python's venv module" "apt-get install python3-venv"
"$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' ||
    missing "Python's C header Python.h" "apt-get install python3-dev"
command -v "${CC:-cc}" >/dev/null || command -v gcc >/dev/null || missing "a C compiler" "apt-get install gcc libc6-dev"

echo "$python"
