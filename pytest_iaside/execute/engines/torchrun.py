"""torchrun: the processes of a distributed job share the work; that of rank 0 hands it out."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from pytest_iaside.errors import SettingsError, one_line
from pytest_iaside.execute.engines.connected import ConnectedEngine, serve

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
PATIENCE = timedelta(minutes=10)
"""How long the ranks wait for each other at the start."""


class TorchrunEngine(ConnectedEngine):
    """The other ranks, which ``serve_rank`` here until it is closed, and this one beside them."""

    def __init__(self, *, threads: int = 1) -> None:
        super().__init__("torchrun", remote=True, threads=threads)
        self._size = world_size()
        with _group() as group:
            dist.broadcast_object_list([(self.address, self.secret)], src=0, group=group)
        # This rank takes its share, too, while it waits for the others'.
        own = (self.address, self.secret, _own_gpu())
        threading.Thread(target=serve, args=own, name="rank 0 works", daemon=True).start()

    @property
    def workers(self) -> int:
        return self._size


def serve_rank() -> None:
    """Be a worker of rank 0 until it has what it needs."""
    told: list[Any] = [None]
    with _group() as group:
        dist.broadcast_object_list(told, src=0, group=group)
    address, secret = told[0]
    serve(address, secret, _own_gpu())


def world_size() -> int:
    """Of how many processes this one is, as torchrun or who set the process group up says."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    asked = all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))
    return int(os.environ["WORLD_SIZE"]) if asked and dist.is_available() else 1


def rank() -> int:
    """Which of them this one is."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank()
    return int(os.environ.get("RANK", "0")) if world_size() > 1 else 0


def _own_gpu() -> int | None:
    place = int(os.environ.get("LOCAL_RANK", rank()))
    return place if place < torch.cuda.device_count() else None


@contextmanager
def _group() -> Iterator[Any]:
    """A group of all ranks that speaks on CPUs, whatever the job itself speaks on."""
    began = not dist.is_initialized()
    group = None
    try:
        if began:
            dist.init_process_group("gloo", timeout=PATIENCE)
        else:
            group = dist.new_group(backend="gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:  # Timeouts among them.
        told = ", ".join(f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ)
        raise SettingsError(
            f"the ranks of this job did not find each other within {PATIENCE} "
            f"({one_line(error)}; {told}): every rank has to reach the same gate. Start all of "
            "them with torchrun, or unset these variables where this process is the only one"
        ) from error
    try:
        yield group
    finally:
        if began:
            dist.destroy_process_group()
        else:
            dist.destroy_process_group(group)
