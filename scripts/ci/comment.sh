#!/usr/bin/env bash
# comment.sh BASE FOLDER: what changed since the commit that this branch left BASE at, as FOLDER/comment.md and
# FOLDER/pictures/. Publishers put the address of the pictures in the place of "](pictures/".
set -euo pipefail

base=$(git merge-base "$1" HEAD)
folder=$2
longest=300 # lines of a table; a comment may have 65,536 characters

rm -rf "$folder"
mkdir -p "$folder/pictures"

changes=$(dvc metrics diff --md "$base")
lines=$(printf '%s\n' "$changes" | wc -l)
if [ "$lines" -le 2 ]; then # the head alone
    changes="No number changed."
elif [ "$lines" -gt "$longest" ]; then
    changes="$(printf '%s\n' "$changes" | head -n "$longest")

... and $((lines - longest)) more: \`dvc metrics diff ${base:0:12}\`"
fi

# Better, worse, or no difference seen: paired by photo, where both results' tables are to be had.
refused=$(mktemp)
verdicts=$(vit-atlas compare "$base" --markdown --page --folder "$folder/maps" 2> "$refused") ||
    verdicts="No verdict: $(tail -n 1 "$refused")"
rm -f "$refused"

{
    echo "<!-- vit-atlas -->"
    echo "## Atlas of ${HEAD_SHA:-$(git rev-parse HEAD)}"
    echo
    printf '%s\n' "$verdicts"
    echo
    if [ -e "$folder/maps/index.html" ]; then
        echo "Both maps of every changed photo: \`maps/index.html\` in what this job keeps."
        echo
    fi
    echo "<details><summary>All numbers against ${base:0:12}</summary>"
    echo
    printf '%s\n' "$changes"
    echo
    echo "</details>"
    echo
    echo "To have this result: \`dvc pull --run-cache && dvc repro\`, then commit \`dvc.lock\` and \`metrics/\`."
} > "$folder/comment.md"

number=0
for picture in plots/attention/*.png; do
    [ -e "$picture" ] || continue
    number=$((number + 1))
    # Photos may have any name, one that is markdown or HTML too.
    name=$(basename "$picture" .png | tr -c 'A-Za-z0-9_\n-' '_')
    name="$(printf '%02d' "$number")-${name:0:60}.png"
    cp "$picture" "$folder/pictures/$name"
    printf '\n![%s](pictures/%s)\n' "${name%.png}" "$name" >> "$folder/comment.md"
done
