"""Serve a trained student over HTTP, in batches, with OpenAI's chat endpoint.

    dsbs serve checkpoint=outputs/train/triage/t5_scratch/step_by_step/1.0/0-1a2b3c4d
    dsbs serve checkpoint=RUN host=0.0.0.0 port=8080 token_env=DSBS_TOKEN
    dsbs serve checkpoint=RUN/exports/ctranslate2-int8

RUN is the folder of a finished run, its checkpoint or an export of it. SIGHUP reloads it, and the threshold of
mode=defer, without downtime; copies (replicas=4) are restarted for that.
"""

import contextlib
import errno
import logging
import math
import os
import signal
import socket
import threading
from dataclasses import replace
from typing import Any

from dsbs.cli.checkpoints import open_checkpoint
from dsbs.cli.command import command
from dsbs.core.errors import ConfigError, DsbsError, RunError
from dsbs.deferral.policy import Policy
from dsbs.serving.settings import ServeConfig
from dsbs.students.answering import CONFIDENT
from dsbs.teachers.openai import OPENAI

logger = logging.getLogger("dsbs.serve")  # messages of `__main__` are not shown
# Seconds; longer than clients keep idle connections, since a request on a connection being closed is lost.
KEEP_ALIVE = 75


@command("serve")
def main(config: ServeConfig) -> None:
    """Serve until the process is stopped; SIGHUP reloads the checkpoint."""
    if config.mode == "record" and getattr(config.teacher, "model", "") is None:
        config.teacher.model = "any"  # the application names the model
    parts = [part.faults() for part in (config.teacher, config.prompt) if part is not None]
    if faults := config.faults() + [fault for part in parts for fault in part]:
        raise ConfigError.from_faults(faults)
    serve(config)


def load_student(config: ServeConfig) -> Any:
    """Load the student of the checkpoint and warm it up.

    Raises:
        DsbsError: it cannot be loaded.
    """
    from dsbs.core.records import Example
    from dsbs.serving.service import Student

    checkpoint = open_checkpoint(config.checkpoint)
    # A calibration's temperature may make answers matter that are negligible without it.
    predictor = checkpoint.load(config.limits.max_batch, negligible=CONFIDENT if config.mode == "student" else 0.0)
    name = config.name or f"{checkpoint.task.name}-{checkpoint.objective.name}"
    choices = checkpoint.remembered.choices or (["yes", "no"] if checkpoint.remembered.own_choices else [])
    predictor.predict([Example("0", "warm-up", choices=tuple(choices) or None)])
    return Student(predictor, checkpoint.remembered, checkpoint.task, checkpoint.objective, name)


def serve(config: ServeConfig) -> None:
    """Load the student and serve until the process is stopped.

    Raises:
        DsbsError: the student cannot be loaded, a package is missing, or the port is taken.
    """
    try:
        import uvicorn  # noqa: F401 - found missing before the student is loaded

        from dsbs.serving.metrics import Metrics
        from dsbs.serving.service import Service
    except ModuleNotFoundError as error:
        raise ConfigError(f"dsbs.serve needs the package {error.name}: pip install 'dsbs[serve]'") from None
    if config.mode == "record":
        run(config, bind(config), build_proxy(config), f"recording requests to {config.teacher.base_url or OPENAI}")
        return
    if config.replicas is not None:
        from dsbs.serve import build_copy  # not `__main__`'s: it is sent to other processes by name
        from dsbs.serving.cluster import deploy, stay

        token = read_token(config)  # read here: other machines do not have this environment
        deploy(config, lambda copy: build_copy(copy, token))
        stay(config)
        return
    if config.threads:
        os.environ["OMP_NUM_THREADS"] = str(config.threads)
    listener = bind(config)  # a port that is taken is reported before the student is loaded
    service, metrics = Service(load_student(config)), Metrics()
    referee = build_referee(config, service, metrics)
    reload_on_hangup(config, service, referee)
    app = build_app(config, service, metrics, read_token(config), referee)
    run(config, listener, app, f"serving {service.student.name}")


def read_token(config: ServeConfig) -> str | None:
    """Return the token that clients must send, or None."""
    return os.environ[config.token_env].strip() if config.token_env else None  # secrets from files end in a newline


def build_app(config: ServeConfig, service: Any, metrics: Any, token: str | None = None, referee: Any = None) -> Any:
    """Return the ASGI app of a loaded student.

    Raises:
        ConfigError: replies need rationales that the student does not write.
    """
    from dsbs.serving.answering import Answerer
    from dsbs.serving.app import App

    if config.chat.wants_rationale:
        service.check_rationale()
    return App(Answerer(service, config.limits, metrics, referee), config, token).build()


def build_copy(config: ServeConfig, token: str | None) -> Any:
    """Load the student and return the ASGI app; for Ray's processes, which may be on other machines."""
    from dsbs.serving.metrics import Metrics
    from dsbs.serving.service import Service

    if config.threads:
        os.environ["OMP_NUM_THREADS"] = str(config.threads)
    return build_app(config, Service(load_student(config)), Metrics(), token)


def build_proxy(config: ServeConfig) -> Any:
    """Return the ASGI app of the recording proxy to the teacher's endpoint."""
    from dsbs.serving.proxy import Proxy
    from dsbs.serving.traffic import TrafficStore

    token = read_token(config)
    # Clients that send this server's token do not have the LLM's key, so the proxy sends it; others send their own.
    key = os.environ.get(config.teacher.api_key_env or "", "").strip() if token is not None else None
    store = TrafficStore(config.traffic_path, config.record.redact)
    return Proxy(config.teacher.where, store, config, token, key).build()


def run(config: ServeConfig, listener: socket.socket, app: Any, what: str) -> None:
    """Serve an app until the process is asked to stop.

    Args:
        what: what it serves, for the log.

    Raises:
        DsbsError: the address is taken, or the app cannot start.
    """
    import uvicorn

    from dsbs.serving.startup import Startup

    try:
        listener.listen(1024)
    except OSError as error:
        raise _no_address(config, error) from None
    startup = Startup(app)
    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    logger.info("%s at %s (OpenAI's base_url: %s/v1); Ctrl-C stops it", what, address, address)
    settings = uvicorn.Config(
        startup,
        log_config=None,  # its lines are ours, by the command's handlers
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=math.ceil(config.limits.shutdown_s),
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
    )
    server = uvicorn.Server(settings)
    try:
        with contextlib.suppress(KeyboardInterrupt):  # raised by the server at its end after SIGINT or SIGTERM
            server.run(sockets=[listener])
    except SystemExit:
        if startup.failure is not None:
            raise startup.failure from None
        raise
    ended = "were cut off by a second signal" if server.force_exit else "were answered"
    logger.info("stopped; requests in flight %s", ended)


def find_policy(config: ServeConfig) -> Policy:
    """Return the policy of deferral; one that defers nothing where ``mode=shadow`` has none.

    Raises:
        DataError: it is missing or broken.
    """
    return open_checkpoint(config.checkpoint).policy(config.deferral.policy, optional=config.mode == "shadow")


def build_referee(config: ServeConfig, service: Any, metrics: Any) -> Any:
    """Return the referee of the student's answers, or None with ``mode=student``.

    Raises:
        DsbsError: the policy is missing or broken.
    """
    from dsbs.serving.referee import Referee
    from dsbs.serving.traffic import TrafficStore

    if config.mode == "student":
        return None
    policy = find_policy(config)
    service.replace(replace(service.student, measured=policy.calibration.measures))
    return Referee(
        policy,
        config.teacher,
        service.student.task,
        config.prompt,
        config.mode,
        config.deferral,
        config.answers_path,
        metrics,
        TrafficStore(config.traffic_path),
    )


def bind(config: ServeConfig) -> socket.socket:
    """Return a socket with the server's address, which does not listen yet.

    Raises:
        RunError: the address is taken, or not of this machine.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
    except (OSError, TypeError) as error:  # the latter: a host that is no name
        listener.close()
        raise _no_address(config, error) from None
    return listener


def _no_address(config: ServeConfig, error: OSError | TypeError) -> RunError:
    reason = getattr(error, "strerror", None) or error
    advice = "Another port: port=8001, or port=0 for any that is free."
    if isinstance(error, TypeError | socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        advice = "Name an address of this machine, such as host=127.0.0.1."
    return RunError(f"host={config.host} port={config.port}: cannot listen ({reason}). {advice}")


def reload_on_hangup(config: ServeConfig, service: Any, referee: Any) -> None:
    """Reload the checkpoint and its policy on SIGHUP, in the background; both stay in use if that fails."""

    def load() -> None:
        try:
            student, policy = load_student(config), None if referee is None else find_policy(config)
            if policy is not None:
                student = replace(student, measured=policy.calibration.measures)
                referee.replace(policy, student.task)
            service.replace(student)
            logger.info("reloaded %s", config.checkpoint)
        except DsbsError as error:
            logger.error("the checkpoint could not be reloaded, the previous student stays in use: %s", error)

    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda number, frame: threading.Thread(target=load, daemon=True).start())


if __name__ == "__main__":
    main()
