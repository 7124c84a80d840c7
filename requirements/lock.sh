#!/bin/sh
# Pin every package in constraints.txt again, then write the hashes of what `make` installs.
# torch has other files on PyTorch's index than on PyPI, so neither torch nor the packages for GPUs
# that only PyPI's files need are in the hashed lists; constraints.txt pins them.
set -eu
cd "$(dirname "$0")/.."

compile() {
    uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
        --no-emit-index-url --no-emit-find-links "$@" pyproject.toml
}

names() {
    sed -n -E 's/^([a-z0-9-]+)==.*/\1/p' "$@" | sort -u
}

compile --all-extras --custom-compile-command "make lock" --upgrade --output-file constraints.txt
unhashed=$(names constraints.txt | grep -E '^(torch|triton|nvidia-.*|cuda-.*)$')
for list in make train docs ray; do
    skipped=$unhashed extra=
    if [ "$list" != make ]; then
        skipped="$skipped $(names requirements/make.txt)"
        extra="--extra $list"
    fi
    cp constraints.txt "requirements/$list.txt" # uv keeps the versions of the file that it replaces
    # shellcheck disable=SC2046,SC2086
    compile --generate-hashes --no-header --extra dev --extra local $extra \
        $(printf -- '--no-emit-package %s ' $skipped) --output-file "requirements/$list.txt"
done
