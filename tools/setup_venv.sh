#!/bin/sh
# Make the virtual environment and install diffbook in it:  sh tools/setup_venv.sh .venv demo|dev|web
# Uses uv where it is present, else venv and pip. Needs Python 3.10 or newer. Two variables may say otherwise:
#   LOCK         the file of exact versions, requirements.lock; empty for none: what is there stays, the rest is the newest
#   TORCH_INDEX  where torch and torchvision come from, such as https://download.pytorch.org/whl/cpu
set -eu
venv=$1
kind=$2
case $kind in
    demo) what='.' ;;
    dev) what='.[dev]' ;;
    web) what='.[dev,web]' ;;
    *) echo "setup_venv.sh: the second argument is demo, dev or web, not $kind" >&2; exit 2 ;;
esac
lock=${LOCK-requirements.lock}
if [ -n "$lock" ] && [ ! -f "$lock" ]; then
    echo "setup_venv.sh: there is no file $lock (LOCK= goes without)" >&2
    exit 2
fi

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

find_python() {
    for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.10 python; do
        if command -v "$name" >/dev/null 2>&1 && new_enough "$name"; then
            command -v "$name"
            return 0
        fi
    done
    return 1
}

if [ -x "$venv/bin/python" ] && ! new_enough "$venv/bin/python"; then
    echo "The Python in $venv does not run or is older than 3.10. Remove the folder $venv and try again." >&2
    exit 1
fi

if [ ! -x "$venv/bin/python" ]; then
    if python=$(find_python); then
        echo "Making $venv with $python ($("$python" -c 'import platform; print(platform.python_version())'))"
    elif command -v uv >/dev/null 2>&1; then
        python=3.12
        echo "Making $venv; uv brings Python $python"
    else
        echo "diffbook needs Python 3.10 or newer; none was found (looked for python3, python3.10 to python3.13)." >&2
        echo "Install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2
        exit 1
    fi
    if command -v uv >/dev/null 2>&1; then
        uv venv --quiet --python "$python" "$venv"
    elif ! "$python" -m venv "$venv"; then
        rm -rf "$venv"
        echo "" >&2
        echo "$python cannot make a virtual environment: its module venv or ensurepip is missing." >&2
        echo "On Debian and Ubuntu: apt-get install python3-venv. Or install uv (https://docs.astral.sh/uv)." >&2
        exit 1
    fi
fi

pip_install() {
    if command -v uv >/dev/null 2>&1; then
        uv pip install --quiet --python "$venv/bin/python" ${lock:+-c "$lock"} "$@"
    else
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check ${lock:+-c "$lock"} "$@"
    fi
}

echo "Installing diffbook ($kind) in $venv; the first time this downloads much"
if [ -n "${TORCH_INDEX:-}" ]; then
    pip_install --no-deps --index-url "$TORCH_INDEX" torch torchvision
fi
pip_install setuptools  # builds diffbook itself, and is locked, too
pip_install --no-build-isolation -e "$what"

touch "$venv/.ready-demo"
if [ "$kind" != demo ]; then touch "$venv/.ready-dev"; fi
if [ "$kind" = web ]; then touch "$venv/.ready-web"; fi
