"""One reader of tests/fuzzing.py, fed by atheris for so many seconds.

    python tests/soak/coverage_guided.py "baseline YAML" 30

prints how many files were read, and how each ended; exits with another status than 0 where one
ended otherwise. What is larger than the memory or slower than the time that is allowed ends it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))

with atheris.instrument_imports(include=["pytest_iaside"], enable_loader_override=False):
    from fuzzing import PIECES, READERS, try_reading

SLOWEST = 20  # seconds
MEGABYTES = 2000  # more than it has at the start


def main() -> None:
    name, seconds = sys.argv[1], int(sys.argv[2])
    reader, outcomes = READERS[name], Counter[str]()

    def one(content: bytes) -> None:
        outcomes[try_reading(reader, content)] += 1
        told.write_text(json.dumps(outcomes))

    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        told = Path(os.environ["IASIDE_FUZZED"])
        for number, seed in enumerate(reader.seeds()):
            (corpus / f"seed{number}").write_bytes(seed)
        words = Path(folder) / "words"
        lines = ("".join(f"\\x{byte:02x}" for byte in piece) for piece in PIECES if piece)
        words.write_text("".join(f'"{line}"\n' for line in lines if len(line) < 1000))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + MEGABYTES * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        options = [f"-max_total_time={seconds}", f"-timeout={SLOWEST}", f"-dict={words}"]
        options += ["-rss_limit_mb=0", "-max_len=65536", "-print_final_stats=0", "-verbosity=0"]
        options.append(f"-artifact_prefix={folder}/")
        atheris.Setup([sys.argv[0], *options, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
