"""The app as a Ray Serve deployment: several copies of the student, on one machine or a cluster."""

import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from dsbs.core.errors import ConfigError, RunError
from dsbs.serving.settings import ServeConfig

logger = logging.getLogger(__name__)
NAME = "dsbs"
DEPLOYMENT = "student"
NO_RELOAD = "SIGHUP: copies (replicas=...) do not reload their checkpoint; stop the server and start it again"


def deploy(config: ServeConfig, build: Callable[[ServeConfig], Any]) -> None:
    """Start the copies, and return once they answer requests.

    If ``RAY_ADDRESS`` names a cluster, the copies are spread over its machines, which need the checkpoint at the same
    path; otherwise Ray starts on this machine.

    Args:
        build: config -> ASGI app; called in each copy.

    Raises:
        ConfigError: Ray Serve is not installed.
        RunError: the copies fail to start.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        from ray import serve
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"replicas={config.replicas} needs Ray Serve ({error.name} is missing): pip install 'dsbs[ray-serve]'"
        ) from None
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    serve.start(http_options={"host": config.host, "port": config.port})
    limits = config.limits

    def app() -> Any:  # Ray takes a function for a builder, and any other callable for the app itself
        return build(config)

    copies = serve.deployment(
        name=DEPLOYMENT,
        num_replicas=config.replicas,
        max_ongoing_requests=limits.queue + limits.max_batch,
        graceful_shutdown_timeout_s=limits.shutdown_s,
        health_check_period_s=2.0,
        ray_actor_options={"num_cpus": 0 if config.threads is None else config.threads},
    )(serve.ingress(app)())
    try:
        serve.run(copies.bind(), name=NAME, route_prefix="/")
    except RuntimeError as error:
        serve.shutdown()
        raise RunError(f"replicas={config.replicas}: they did not start ({str(error).splitlines()[0]}).") from None


def stay(config: ServeConfig) -> None:
    """Wait for SIGINT or SIGTERM, then stop the copies after requests in flight; SIGHUP only logs a warning."""
    import ray
    from ray import serve

    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda *_: logger.warning(NO_RELOAD))
    logger.info("%d copies answer at http://%s:%d; Ctrl-C stops them", config.replicas, config.host, config.port)
    asked.wait()
    serve.shutdown()
    ray.shutdown()
    logger.info("stopped; requests in flight were answered")
