#!/bin/sh
# Makes .venv from uv.lock. The only thing needed beforehand is Python 3.11 or newer with pip.
set -eu

uv_version=0.13.9
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
	echo "Python 3.11 or newer is needed. Name one: make setup PYTHON=python3.13" >&2
	exit 1
fi

if [ ! -x .venv/bin/python ] && ! "$python" -m venv .venv >/dev/null 2>&1; then
	rm -rf .venv
	echo "$python cannot make a virtual environment: its venv or pip is missing." >&2
	echo "Install it (Debian: apt-get install python3-venv), then repeat." >&2
	exit 1
fi

if [ "$(.venv/bin/uv --version 2>/dev/null | cut -d ' ' -f 2)" != "$uv_version" ]; then
	.venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
fi

.venv/bin/uv sync --quiet --frozen --all-packages
