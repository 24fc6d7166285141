#!/bin/sh
# Build the web site in _docs. nbdev would try to install Quarto by itself, with sudo: look for it first.
set -eu
if ! command -v quarto >/dev/null 2>&1; then
    cat >&2 <<'TEXT'
The site is built by Quarto, and there is no `quarto` on the PATH.
Quarto is in no package registry. Get it (1.5 or newer) from
    https://quarto.org/docs/get-started/
and run `make site` again. Everything else here works without it: the notebooks in nbs/ hold the same text and figures.
TEXT
    exit 1
fi
rm -rf _proc _docs
PYTHONPATH=. nbdev_docs
PYTHONPATH=. python -m tools.finish_site _docs
echo "The book is in _docs: open _docs/index.html"
