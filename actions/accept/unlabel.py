"""Takes the label off the pull request: it accepts what was proposed once, not what comes next."""

import os
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

path = f"issues/{int(os.environ['NUMBER'])}/labels/{quote(os.environ['LABEL'], safe='')}"
url = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/{path}"
headers = {
    "Accept": "application/vnd.github+json",
    "Authorization": f"Bearer {os.environ['TOKEN']}",
}
try:
    urlopen(Request(url, headers=headers, method="DELETE"), timeout=60).close()
except HTTPError as error:
    if error.code != 404:  # Somebody was faster.
        raise
