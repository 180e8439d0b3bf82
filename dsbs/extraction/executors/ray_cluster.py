"""The part of Ray that is used: connecting to a cluster or starting one, its nodes, and its actors."""

import contextlib
import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from dsbs.core.errors import ConfigError
from dsbs.extraction.settings import RaySettings

logger = logging.getLogger(__name__)

ACTORS_ON_ONE_MACHINE = 2
# Ray would take a third of the memory; what is exchanged here is small and goes at once.
OBJECT_STORE_BYTES = 100 * 2**20
# Seconds.
ANSWERS_WITHIN = 10.0
CAUSE = "The actor is dead because"
CAUSE_LENGTH = 300


@contextlib.contextmanager
def open_ray(settings: RaySettings) -> Iterator[ModuleType]:
    """Yield the package ``ray``, connected to a cluster, or to a local instance that ends with the context.

    A connection that this process has already is used, and left open.

    Raises:
        ConfigError: where Ray is not installed, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Else Ray hides the GPUs from actors that claim none, and says so at length.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if settings.address is None and "ray" not in sys.modules:
        keep_to_ourselves()
    try:
        import ray
    except ImportError:
        raise ConfigError("executor=ray needs the package ray: pip install 'dsbs[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    try:
        _connect(ray, settings)
        yield ray
    finally:
        ray.shutdown()


def keep_to_ourselves() -> None:
    """Make a local Ray listen on loopback alone and require a token of this run, since it runs whatever it gets.

    Ray reads both settings from the environment when it is imported; afterwards this has no effect. Without this token
    it would make a lasting one, in a file that everybody may read.
    """
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # on Linux too: it takes the loopback address
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        if not os.environ.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}:
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _connect(ray: ModuleType, settings: RaySettings) -> None:
    where: dict[str, Any] = {"address": settings.address}
    if settings.address is None:
        logger.info("Starting Ray on this machine.")
        where = {
            "address": "local",
            "num_cpus": settings.actors or ACTORS_ON_ONE_MACHINE,
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
    try:
        if settings.address is not None and ":" in settings.address:  # Ray would look for it for many minutes
            host, _, port = settings.address.rpartition(":")
            socket.create_connection((host, int(port)), ANSWERS_WITHIN).close()
        ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
    except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"ray.address={settings.address or 'null'}: Ray could not be reached or started ({reason}). Type ray start "
            "--head on one machine of the cluster, ray start --address=HOST:6379 on the others, and run the command on "
            "one of them with ray.address=auto; without ray.address a local Ray instance is started."
        ) from error


def list_nodes(ray: ModuleType) -> list[dict[str, Any]]:
    """Return the alive nodes in a fixed order; those without CPUs (``--num-cpus=0``) only if there are no others."""
    nodes = sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: str(node["NodeID"]))
    return [node for node in nodes if node["Resources"].get("CPU")] or nodes


def count_actors(ray: ModuleType) -> int:
    """Return the default number of actors: one per node, or two on a single node."""
    nodes = len(list_nodes(ray))
    return nodes if nodes > 1 else ACTORS_ON_ONE_MACHINE


def start_actor(ray: ModuleType, node: dict[str, Any], kind: type, *arguments: Any) -> Any:
    """Start an actor on a node, or on another one if that is gone, and return its handle."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
    # It waits for a server nearly all of the time, so it claims no CPU and starts on a busy node, too.
    return ray.remote(kind).options(num_cpus=0, scheduling_strategy=where).remote(*arguments)


def explain_loss(error: Exception) -> str:
    """Return the cause in Ray's long message about a lost actor."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    cause = next((line for line in lines if line.startswith(CAUSE)), lines[-1])
    return f"{cause.rstrip('.')}." if len(cause) <= CAUSE_LENGTH else f"{cause[:CAUSE_LENGTH]}…"
