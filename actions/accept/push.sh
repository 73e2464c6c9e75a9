# Checks the proposals in $PROPOSALS against $REPOSITORY, commits them and pushes to $BRANCH.
# Somebody may have pushed meanwhile: git then refuses, for this is one commit upon the measured one.
set -euo pipefail
top=$(cd "$REPOSITORY" && pwd -P)
case "$(cd "$REPOSITORY/$FOLDER" && pwd -P)/" in
  "$top"/*) ;;
  *)
    echo "the folder $FOLDER of the pull request is a link that leads out of it" >&2
    exit 1
    ;;
esac
# A folder of the pull request may look like a repository, whose settings would run commands: git
# is told which one it is, and takes hooks from nowhere.
export GIT_DIR=$top/.git GIT_WORK_TREE=$top
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=core.hooksPath GIT_CONFIG_VALUE_0=/dev/null
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
git push origin "HEAD:refs/heads/$BRANCH"
