"""Whether somebody who may write to the repository has accepted this run's baselines by a label.

Writes ``accepted`` and ``number`` to the step's outputs. What it knows comes from GitHub, and
nothing from the pull request's code.
"""

import json
import os
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

MAY_WRITE = ("admin", "maintain", "write")


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
    if label not in [each["name"] for each in pull["labels"]]:
        return f"#{number} has no label {label}"
    who = None
    for event in pages(f"issues/{number}/events"):
        if event["event"] == "labeled" and event["label"]["name"] == label:
            who = event["actor"]["login"]
    if who is None:
        return f"nobody is known to have put {label} on #{number}"
    rights = api(f"collaborators/{quote(who, safe='')}/permission")["permission"]
    if rights not in MAY_WRITE:
        return f"{who} put {label} on #{number} and may not write to the repository"
    print(f"{who} accepts the baselines of #{number}")
    return ""


answer = "accepted=false\n"
for pull in pages("pulls", state="open", head=os.environ["HEAD"]):
    if why := accepted(pull):
        print(why)
    else:
        answer = f"accepted=true\nnumber={int(pull['number'])}\n"
with open(os.environ["GITHUB_OUTPUT"], "a", encoding="utf-8") as file:
    file.write(answer)
