#!/usr/bin/env bash
# publish-github.sh FOLDER NUMBER: FOLDER/comment.md as our one comment on pull request NUMBER, edited from then on.
#   GITHUB_SERVER_URL, GITHUB_REPOSITORY  as GitHub Actions sets them
#   GH_TOKEN                              may write contents (pictures) and pull requests (the comment)
#
# A comment cannot carry files, so the pictures go to a branch of their own, atlas-pictures/NUMBER: one commit without
# a parent, replaced every time, so the repository does not grow. It can be deleted when the pull request is closed.
set -euo pipefail

folder=$1
number=$2
[[ $number =~ ^[0-9]+$ ]] || { echo "error: '$number' is no pull request's number" >&2; exit 1; }
repository="$GITHUB_SERVER_URL/$GITHUB_REPOSITORY"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp "$folder/comment.md" "$work/comment.md"
if compgen -G "$folder/pictures/*.png" > /dev/null; then
    git init --quiet "$work/pictures"
    cp "$folder"/pictures/*.png "$work/pictures"
    git -C "$work/pictures" add --all
    git -C "$work/pictures" -c user.name=vit-atlas -c user.email=vit-atlas@users.noreply.github.com \
        commit --quiet --message "Pictures of pull request $number"
    git -C "$work/pictures" -c credential.helper= -c credential.helper='!gh auth git-credential' \
        push --quiet --force "$repository.git" "HEAD:refs/heads/atlas-pictures/$number"
    # The commit in the address makes browsers and proxies fetch the new pictures.
    commit=$(git -C "$work/pictures" rev-parse HEAD)
    sed -i -E "s#\]\(pictures/([A-Za-z0-9_.-]+)\)#]($repository/blob/$commit/\1?raw=true)#" "$work/comment.md"
fi

# `gh pr comment --edit-last` would overwrite the comment of another workflow: ours is known by its first line.
comments="repos/$GITHUB_REPOSITORY/issues/$number/comments"
ours=$(gh api --paginate "$comments" --jq '.[] | select(.body | startswith("<!-- vit-atlas -->")) | .id' | tail -n 1)
if [ -n "$ours" ]; then
    gh api --silent --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$ours" --field "body=@$work/comment.md"
else
    gh pr comment "$number" --repo "$GITHUB_REPOSITORY" --body-file "$work/comment.md"
fi
