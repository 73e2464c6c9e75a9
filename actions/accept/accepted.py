"""Whether somebody who may write to the repository has accepted this run's baselines by a label.

Writes ``accepted`` and ``number`` to the step's outputs. What it knows comes from GitHub, and
nothing from the pull request's code.

A label accepts what was there when it was put on, not what is pushed later. When a commit was
pushed GitHub does not say; but the first run of a workflow for it began a moment later. Such a run
must lie between the last time that the branch went back, if it ever did, and the label.
"""

import json
import os
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

MAY_WRITE = ("admin", "maintain", "write")
WENT_BACK = ("head_ref_force_pushed", "head_ref_deleted", "head_ref_restored")


def api(path, **query):
    url = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/{path}"
    headers = {
        "Accept": "application/vnd.github+json",
        "Authorization": f"Bearer {os.environ['TOKEN']}",
    }
    with urlopen(Request(f"{url}?{urlencode(query)}", headers=headers), timeout=60) as answer:
        return json.load(answer)


def pages(path, **query):
    page = 1
    while found := api(path, per_page=100, page=page, **query):
        yield from found
        page += 1


def runs():
    """When the runs for this commit on this branch of the repository began."""
    branch, page = os.environ["HEAD"].partition(":")[2], 1
    query = {"head_sha": os.environ["COMMIT"], "branch": branch, "event": "pull_request"}
    while found := api("actions/runs", per_page=100, page=page, **query)["workflow_runs"]:
        for run in found:
            # A fork may have a branch of this name, and the commit before it is pushed here.
            own = (run["head_repository"] or {}).get("full_name")
            if own == os.environ["GITHUB_REPOSITORY"] and run["head_branch"] == branch:
                yield run["created_at"]
        page += 1


def may_write(who):
    try:
        rights = api(f"collaborators/{quote(who, safe='')}/permission")["permission"]
    except HTTPError as error:
        if error.code != 404:  # Nobody that GitHub knows here, such as an app.
            raise
        return False
    return rights in MAY_WRITE


def accepted(pull):
    """The reason why ``pull`` is not accepted; empty where it is."""
    label, number = os.environ["LABEL"], pull["number"]
    if pull["head"]["sha"] != os.environ["COMMIT"]:
        return f"#{number} is at another commit by now"
    repository = pull["head"]["repo"]
    if repository is None or repository["full_name"] != os.environ["GITHUB_REPOSITORY"]:
        return (
            f"#{number} comes from a fork, where nothing can be pushed: whoever opened it "
            "downloads the artifact and runs `iaside accept` there"
        )
    if pull["head"]["ref"] == repository["default_branch"]:
        return f"#{number} is of the default branch, to which nothing is pushed"
    if label not in [each["name"] for each in pull["labels"]]:
        return f"#{number} has no label {label}"
    who, labelled, back = None, "", ""
    for event in pages(f"issues/{number}/events"):
        if event["event"] == "labeled" and event["label"]["name"] == label:
            who, labelled = (event["actor"] or {}).get("login"), event["created_at"]
        elif event["event"] in WENT_BACK:
            back = max(back, event["created_at"])
    if who is None:
        return f"nobody is known to have put {label} on #{number}"
    if not may_write(who):
        return f"{who} put {label} on #{number} and may not write to the repository"
    if not any(back < began < labelled for began in runs()):
        return (
            f"{who} put {label} on #{number} before a workflow had run for this commit, so "
            "perhaps before it was pushed; look at it, take the label off, and put it on again"
        )
    print(f"{who} accepts the baselines of #{number}")
    return ""


answer = "accepted=false\n"
for pull in pages("pulls", state="open", head=os.environ["HEAD"]):
    if why := accepted(pull):
        print(f"::notice::{why}")
    else:
        answer = f"accepted=true\nnumber={int(pull['number'])}\n"
with open(os.environ["GITHUB_OUTPUT"], "a", encoding="utf-8") as file:
    file.write(answer)
