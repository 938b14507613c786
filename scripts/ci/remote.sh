#!/usr/bin/env bash
# remote.sh pull: the data of this commit, whatever results the DVC remote has of it, and models of other settings.
# remote.sh push: the results, so that others `dvc pull --run-cache` them and their `dvc repro` trains nothing.
#   DVC_REMOTE_URL  (optional) the remote, where .dvc/config names none: s3://bucket/path, ssh://host/path, a folder
# Credentials come by the environment; docs/how-to/remotes.md says which.
set -euo pipefail

# Variables that nobody set reach a job as empty ones, and an empty address is no address.
for name in AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_DEFAULT_REGION AWS_ENDPOINT_URL; do
    [ -n "${!name:-}" ] || unset "$name"
done
if [ -n "${DVC_REMOTE_URL:-}" ]; then
    dvc remote add --quiet --local --force --default ci "$DVC_REMOTE_URL"
fi
if [ -z "$(dvc remote list)" ]; then
    echo "error: no DVC remote: set DVC_REMOTE_URL, or commit one with 'dvc remote add --default NAME URL'" >&2
    exit 1
fi

case "${1:-}" in
pull)
    # Results that were never pushed are made anew; the data must be there.
    dvc pull --run-cache --allow-missing
    git ls-files -z -- '*.dvc' | xargs --null --no-run-if-empty dvc pull
    ;;
push)
    dvc push --run-cache
    ;;
*)
    echo "usage: remote.sh pull|push" >&2
    exit 2
    ;;
esac
