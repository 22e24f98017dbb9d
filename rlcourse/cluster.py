"""Work spread over a Ray cluster, one task a core: for evidence and for grading (the extra ``cluster``)."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rlcourse.errors import CourseError

__all__ = ["spread"]


def spread(
    work: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    address: str,
    *,
    variables: Sequence[str] = (),
    lost: Callable[..., Any] | None = None,
) -> Iterator[Any]:
    """What ``work(*task)`` returns, in the order in which tasks are done.

    Args:
        work: a function that other processes can be sent.
        tasks: its arguments.
        address: of the cluster, or ``local`` for one of its own on this machine.
        variables: of the environment, which the workers are to have too.
        lost: what to put in the place of a result whose worker died four times, from the task's arguments.

    Raises:
        CourseError: no Ray, or no cluster at the address; or what ``work`` raised.
    """
    try:
        import ray
    except ImportError as error:
        raise CourseError(
            'cluster: needs Ray; install it with pip install "rlcourse[cluster]"'
        ) from error
    here = {name: os.environ[name] for name in variables if name in os.environ}
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if host:  # Ray itself would wait for minutes, and then end the process
            socket.create_connection((host, int(port)), timeout=10).close()
        if not ray.is_initialized():
            ray.init(address, runtime_env={"env_vars": here}, log_to_driver=False)
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CourseError(f"cluster = {address!r}: cannot be reached ({reason})") from error
    remote = ray.remote(num_cpus=1, max_retries=3)(work)
    running = {remote.remote(*task): task for task in tasks}
    while running:
        [done, *_], _ = ray.wait(list(running))
        task = running.pop(done)
        try:
            yield ray.get(done)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.WorkerCrashedError:
            if lost is None:
                raise
            yield lost(*task)
