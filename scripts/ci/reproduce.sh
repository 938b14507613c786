#!/usr/bin/env bash
# reproduce.sh REV FOLDER [STAGE]: do a commit's result (up to STAGE) over again; the table goes to FOLDER/comment.md.
# Exits as `vit-atlas reproduce` does: 0 reproduced, 1 differs, 2 cannot be run.
set -euo pipefail

revision=$1
folder=$2
mkdir -p "$folder"

code=0
table=$(vit-atlas reproduce "$revision" ${3:+--stage "$3"}) || code=$?
printf '%s\n' "$table"
{
    echo "<!-- vit-atlas -->"
    echo "## Reproduction of $(git rev-parse --verify --quiet "$revision^{commit}" || echo "a revision that is not here")"
    echo
    echo '```'
    printf '%s\n' "${table:-It could not be run; the log says why.}"
    echo '```'
} > "$folder/comment.md"
exit "$code"
