"""``slurm:20``: workers as jobs of Slurm, by submitit; they connect to this process."""

from __future__ import annotations

import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_iaside.checks import library
from pytest_iaside.errors import SettingsError, one_line
from pytest_iaside.execute.engines.base import WorkersLost
from pytest_iaside.execute.engines.connected import ConnectedEngine, WorkerDied, serve

RESTARTS = 3
HOURS = 4.0
"""How long a job may last, where nothing else is said."""
GOODBYE = 5.0
"""Seconds that jobs have to end."""


class SlurmEngine(ConnectedEngine):
    """``count`` jobs, each a worker with ``threads`` CPUs and ``gpus``.

    ``folder``, which all machines see, takes the jobs' logs. ``cluster`` is "slurm", or "local"
    for processes of this machine; ``others`` are given to submitit as they are
    (``slurm_partition`` …).
    """

    def __init__(
        self,
        count: int,
        *,
        threads: int = 1,
        gpus: int = 0,
        hours: float = HOURS,
        folder: str | None = None,
        cluster: str | None = None,
        **others: Any,
    ) -> None:
        submitit = library(
            "submitit",
            "for executor='slurm:…'",
            error=SettingsError,
            package="submitit",
            install="'pytest-iaside[slurm]'",
        )
        super().__init__(f"slurm:{count}", remote=True, threads=threads)
        self._count, self._left = count, count * (1 + RESTARTS)
        # Only this user may read it: the jobs' files hold the secret.
        logs = Path(folder) if folder else Path(tempfile.mkdtemp(prefix="iaside-slurm-", dir="."))
        logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder, self._own_folder = logs, folder is None
        try:
            self._executor = submitit.AutoExecutor(folder=logs, cluster=cluster)
            self._executor.update_parameters(
                name="iaside",
                cpus_per_task=threads,
                gpus_per_node=gpus,
                timeout_min=int(60 * hours),
                **others,
            )
        except Exception as error:  # No Slurm, a parameter that it does not know.
            self.close()
            raise SettingsError(
                f"executor='slurm:{count}' cannot be used ({one_line(error)}); expected a machine "
                "where sbatch runs, and options that submitit takes"
            ) from error
        self._jobs: list[Any] = []
        self.mend()
        threading.Thread(target=self._watch, name="jobs live", daemon=True).start()

    @property
    def workers(self) -> int:
        return self._count

    def mend(self) -> None:
        self._jobs = [job for job in self._jobs if not job.done()]
        missing = min(self._count - len(self._jobs), self._left)
        if missing <= 0:
            if not self._jobs:
                raise WorkersLost(f"all jobs of Slurm ended; see their logs in {self.folder}")
            return
        self._left -= missing
        with self._executor.batch():
            self._jobs += [
                self._executor.submit(serve, self.address, self.secret) for _ in range(missing)
            ]

    def _watch(self) -> None:
        while not self._closed:
            time.sleep(2)
            jobs = list(self._jobs)
            if not self._closed and jobs and all(job.done() for job in jobs):
                self.fail(WorkerDied(f"all jobs of Slurm ended; see their logs in {self.folder}"))

    def close(self) -> None:
        super().close()
        jobs = getattr(self, "_jobs", [])
        for job in jobs:
            with suppress(Exception):
                job.cancel()
        until = time.monotonic() + GOODBYE
        while time.monotonic() < until and not all(job.done(force_check=True) for job in jobs):
            time.sleep(0.05)
        if self._own_folder:
            import shutil

            shutil.rmtree(self.folder, ignore_errors=True)


def opened(rest: str, options: dict[str, Any]) -> SlurmEngine:
    """The engine of ``slurm:rest``, rest how many jobs."""
    if not rest.isdigit() or not int(rest):
        raise SettingsError(
            f"executor='slurm:{rest}' does not say how many jobs; expected slurm:20, with options "
            "after it: slurm:20?gpus=1&slurm_partition=short"
        )
    return SlurmEngine(int(rest), **options)
