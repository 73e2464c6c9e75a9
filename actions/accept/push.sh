# Checks the proposals in $PROPOSALS against $REPOSITORY, commits them and pushes to $BRANCH.
# Somebody may have pushed meanwhile: git then refuses, for this is one commit upon the measured one.
set -euo pipefail
nowhere=$(mktemp -d) # Python imports nothing from there.
cd "$nowhere"
export GIT_AUTHOR_NAME=${GIT_AUTHOR_NAME:-github-actions[bot]}
export GIT_AUTHOR_EMAIL=${GIT_AUTHOR_EMAIL:-41898282+github-actions[bot]@users.noreply.github.com}
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
options=(--commit)
if [ "$CHANGED_SETTINGS" = true ]; then
  options+=(--changed-settings)
fi
iaside accept "$PROPOSALS" --root "$REPOSITORY/$FOLDER" "${options[@]}"
git -C "$REPOSITORY" push origin "HEAD:refs/heads/$BRANCH"
