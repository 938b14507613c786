#!/usr/bin/env bash
# publish-gitlab.sh FOLDER: FOLDER/comment.md as the note on this pipeline's merge request; our own note is edited.
#   CI_API_V4_URL, CI_PROJECT_ID, CI_MERGE_REQUEST_IID  as GitLab sets them
#   GITLAB_TOKEN                                        a project access token with scope api
set -euo pipefail

folder=$1
project="$CI_API_V4_URL/projects/$CI_PROJECT_ID"
notes="$project/merge_requests/$CI_MERGE_REQUEST_IID/notes"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(umask 077 && printf 'PRIVATE-TOKEN: %s\n' "$GITLAB_TOKEN" > "$work/token") # a file: arguments are for all to see

call() {
    curl --fail-with-body --silent --show-error --header "@$work/token" "$@"
}

cp "$folder/comment.md" "$work/comment.md"
for picture in "$folder"/pictures/*.png; do
    [ -e "$picture" ] || continue
    address=$(call --form "file=@$picture" "$project/uploads" | python3 -c 'import json, sys; print(json.load(sys.stdin)["url"])')
    sed -i "s#](pictures/$(basename "$picture"))#]($address)#" "$work/comment.md"
done

ours='import json, sys; print(*[n["id"] for n in json.load(sys.stdin) if n["body"].startswith("<!-- vit-atlas -->")][:1])'
note=$(call "$notes?per_page=100&sort=desc" | python3 -c "$ours")
if [ -n "$note" ]; then
    call --request PUT --data-urlencode "body@$work/comment.md" --output /dev/null "$notes/$note"
else
    call --request POST --data-urlencode "body@$work/comment.md" --output /dev/null "$notes"
fi
