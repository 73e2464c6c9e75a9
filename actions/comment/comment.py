"""Posts what a gate found as one comment on its pull request, and keeps that one up to date.

Its text comes from a run of the pull request's own code, so from anybody. It is never executed, and
shown without links, images, mentions and HTML. Which pull request it belongs to is asked of GitHub.
"""

import json
import os
import re
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

MARKER = "<!-- spectral-robustness -->"
AUTHOR = os.environ.get("AUTHOR") or "github-actions[bot]"
# The only entities that the plugin writes. GitHub looks for mentions, issues and addresses in what
# is rendered, where an entity is its character again.
ENTITIES = r"&(?!(?:amp|#124|#96|#60|#62|#8203|#64);)"
MOST = 64_000  # bytes; GitHub refuses comments of more than 65,536 characters


def api(method, path, body=None, **query):
    url = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/{path}"
    headers = {
        "Accept": "application/vnd.github+json",
        "Authorization": f"Bearer {os.environ['TOKEN']}",
    }
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"{url}?{urlencode(query)}", data, headers, method=method)
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)


def pages(path, **query):
    page = 1
    while found := api("GET", path, per_page=100, page=page, **query):
        yield from found
        page += 1


def fence(found):
    """A line that may begin a block of code, without what the block is to be shown as."""
    indent, marks, shown_as = found.groups()
    code = marks[0] == "`" and "`" in shown_as  # Within a line.
    return found[0] if code or shown_as.strip() in ("", "sh") else f"{indent}{marks}"


def untrusted(path):
    """The text of a file that anybody may have written, as nothing but formatted text."""
    if path.is_symlink() or not path.is_file():
        raise SystemExit(f"{path.name} is not a plain file")
    with path.open("rb") as file:
        text = file.read(MOST).decode("utf-8", "replace")
    text = "".join(c for c in text if c.isprintable() or c == "\n")
    text = re.sub(ENTITIES, "&amp;", text)
    text = re.sub(r"<(?!/?code>)", "&lt;", text)  # the only HTML that the plugin writes
    text = text.replace("&#64;", "@").replace("@", "@\u200b")
    text = text.replace("](", "]\\(").replace("]:", "]\\:")
    # A number of an issue would leave a trace there; a fence of `mermaid` would be a drawing.
    text = re.sub(r"(?i)(#(?=[\\\d])|GH-(?=\d))(?<!&#)", "\\1\u200b", text)
    text = re.sub(r"(?m)^([ >\d.*+-]*)(`{3,}|~{3,})([^\n]*)$", fence, text)
    return re.sub(r"(?i)(:(?=\\*/\\*/)|www(?=\\*\.))", "\\1\u200b", text)


commit = os.environ["COMMIT"]
# Who wrote it stands first: what follows could hide a line below it.
text = (
    f"{MARKER}\n[A run]({os.environ['RUN']}) of {commit[:12]} wrote this, and so the code of "
    "this pull request; its artifacts hold the whole report.\n\n"
    f"{untrusted(Path(os.environ['COMMENT']))[:MOST]}"
)
for pull in pages("pulls", state="open", head=os.environ["HEAD"]):
    if pull["head"]["sha"] != commit:
        print(f"#{pull['number']} is at another commit by now")
        continue
    comments = f"issues/{pull['number']}/comments"
    own = (
        comment["id"]
        for comment in pages(comments)
        if comment["user"]["login"] == AUTHOR and comment["body"].startswith(MARKER)
    )
    if (found := next(own, None)) is None:
        api("POST", comments, {"body": text})
    else:
        api("PATCH", f"issues/comments/{found}", {"body": text})
    print(f"commented on #{pull['number']}")
