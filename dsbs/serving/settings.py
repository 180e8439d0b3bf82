"""Keys of ``dsbs.serve``."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsbs.core.checks import (
    AT_LEAST_1,
    FINITE_ABOVE_0,
    FINITE_NOT_NEGATIVE,
    SHARE,
    SHARE_BELOW_1,
    range_faults,
)
from dsbs.extraction.settings import Budget
from dsbs.teachers.endpoint.address import is_loopback

MODES = ("student", "defer", "shadow", "record")
REPLIES = ("label", "json", "rationale")


@dataclass
class Limits:
    """Limits of the server.

    Attributes:
        max_batch: maximum requests per batch.
        max_wait_ms: milliseconds to wait for more requests to batch; 0: none, since requests queue while a batch runs.
        queue: maximum queued requests; beyond that the response is 503 with ``Retry-After``.
        timeout_s: seconds until a queued request times out (503).
        max_request_bytes: maximum size of a request in bytes; larger ones are rejected (413).
        max_inputs: maximum inputs per request to ``/predict``.
        shutdown_s: seconds that requests in flight have at shutdown.
    """

    max_batch: int = 32
    max_wait_ms: float = 0.0
    queue: int = 256
    timeout_s: float = 30.0
    max_request_bytes: int = 1_000_000
    max_inputs: int = 256
    shutdown_s: float = 30.0

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        others = vars(self).keys() - {"max_wait_ms"}
        faults = range_faults(self, FINITE_ABOVE_0, *sorted(others), prefix="limits.")
        return faults + range_faults(self, FINITE_NOT_NEGATIVE, "max_wait_ms", prefix="limits.")


@dataclass
class Chat:
    """How chat requests are turned into inputs, and answers into replies.

    Attributes:
        template: the application's last message as a template, with ``{input}`` for the student's input; None: the
            whole message is the input.
        pattern: instead, a regular expression (RE2) whose group ``input``, or first group, is the input.
        reply: ``label``, ``json`` (an object with label and confidence), ``rationale`` (rationale, cue, label), or a
            text with ``{label}``, ``{confidence}`` and ``{rationale}``.
        cue: the words before the label with ``reply=rationale``, and in the completions that ``dsbs.traffic`` writes.
    """

    template: str | None = None
    pattern: str | None = None
    reply: str = "label"
    cue: str = "So the answer is"

    @property
    def wants_rationale(self) -> bool:
        """Whether a reply needs the student's rationale."""
        return self.reply == "rationale" or "{rationale}" in self.reply

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = []
        if self.template is not None and self.pattern is not None:
            faults.append("chat.template and chat.pattern: set only one of the two.")
        if self.template is not None and self.template.count("{input}") != 1:
            faults.append(f"chat.template={self.template}: expected {{input}} in it, exactly once.")
        if self.reply not in REPLIES and "{label}" not in self.reply:
            faults.append(f"chat.reply={self.reply}: expected {', '.join(REPLIES)}, or a text with {{label}} in it.")
        return faults


@dataclass
class Deferral:
    """How the teacher is asked, in the modes ``defer`` and ``shadow``.

    Attributes:
        policy: a ``defer.json``; None: the one that ``dsbs.defer`` wrote for the checkpoint.
        timeout_s: seconds to wait for the teacher before returning the student's answer.
        concurrency: concurrent requests to the teacher.
        attempts: attempts per request, for transient errors.
        compare: share of the student's answers for which the teacher is asked as well, to monitor agreement.
        store: file for the teacher's answers; None: ``served.sqlite`` in ``output_dir``.
        budget: limits of spending.
    """

    policy: str | None = None
    timeout_s: float = 10.0
    concurrency: int = 16
    attempts: int = 2
    compare: float = 0.0
    store: str | None = None
    budget: Budget = field(default_factory=Budget)

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        return [
            *range_faults(self, FINITE_ABOVE_0, "timeout_s", "concurrency", "attempts", prefix="deferral."),
            *(f"deferral.{fault}" for fault in self.budget.faults()),
            *range_faults(self, SHARE, "compare", prefix="deferral."),
        ]


@dataclass
class Recording:
    """How traffic is recorded, in the mode ``record``.

    Attributes:
        store: file for recorded exchanges; None: ``traffic.sqlite`` in ``output_dir``.
        share: share of requests to record.
        redact: regular expressions (RE2); matches are removed from recorded requests and answers.
        timeout_s: seconds without a byte until a request to the LLM times out.
    """

    store: str | None = None
    share: float = 1.0
    redact: list[str] = field(default_factory=list)
    timeout_s: float = 300.0

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = [] if 0 < self.share <= 1 else [f"record.share={self.share}: expected above 0 and up to 1."]
        return faults + range_faults(self, FINITE_ABOVE_0, "timeout_s", prefix="record.")


@dataclass
class ServeConfig:
    """Keys of ``dsbs.serve``.

    Attributes:
        checkpoint: a run's folder, its checkpoint, or an export; none with ``mode=record``.
        mode: ``student`` answers alone; ``defer`` sends low-confidence inputs to the teacher; ``shadow`` returns the
            teacher's answers and compares the student's; ``record`` is a recording proxy in front of the
            teacher's endpoint, without a student.
        teacher, prompt: who is asked in the other modes, and how; as in ``dsbs.extract``.
        host: the address to listen on; any other than loopback needs ``token_env``.
        port: the port to listen on; 0: any free port.
        token_env: name of the environment variable with the token that clients send (``Authorization: Bearer ...``).
        name: the model's name in ``/v1/models``; None: task and student.
        threads: CPU threads; None: all cores.
        replicas: copies of the student as a Ray Serve deployment (``dsbs[ray-serve]``), on the machines of a cluster
            if ``RAY_ADDRESS`` names one; None: one, in this process.
        log_requests: log a line per request, never its content.
        output_dir: root folder of all outputs.
    """

    checkpoint: str = ""
    mode: str = "student"
    teacher: Any = None
    prompt: Any = None
    host: str = "127.0.0.1"
    port: int = 8000
    token_env: str | None = None
    name: str | None = None
    threads: int | None = None
    replicas: int | None = None
    log_requests: bool = False
    limits: Limits = field(default_factory=Limits)
    chat: Chat = field(default_factory=Chat)
    deferral: Deferral = field(default_factory=Deferral)
    record: Recording = field(default_factory=Recording)
    output_dir: str = "outputs"

    @property
    def traffic_path(self) -> Path:
        """The file for recorded exchanges."""
        return Path(self.record.store or f"{self.output_dir}/traffic.sqlite")

    @property
    def answers_path(self) -> Path:
        """The file for the teacher's answers."""
        return Path(self.deferral.store or f"{self.output_dir}/served.sqlite")

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = self.limits.faults() + self.chat.faults() + self.deferral.faults() + self.record.faults()
        if not self.checkpoint and self.mode != "record":
            faults.append("checkpoint is not given: add checkpoint=RUN_OR_EXPORT to the command.")
        if self.mode not in MODES:
            faults.append(f"mode={self.mode}: expected one of {', '.join(MODES)}.")
        elif self.mode == "record":
            if not hasattr(self.teacher, "base_url"):
                faults.append("mode=record: which LLM is behind the proxy? Type teacher=openai teacher.base_url=...")
        elif self.mode != "student":
            if self.teacher is None:
                faults.append(f"mode={self.mode} needs a teacher: teacher=openai teacher.model=...")
            elif self.teacher.by_id:
                faults.append(f"teacher={self.teacher.name}: it replays recorded answers and cannot answer new inputs.")
            if self.prompt is None:
                faults.append(f"mode={self.mode} needs the extraction's prompt, named like the task: prompt=table")
        elif self.teacher is not None:
            faults.append("teacher: only used with mode=defer or mode=shadow.")
        if not 0 <= self.port < 65536:
            faults.append(f"port={self.port}: expected from 0 to 65535.")
        faults += range_faults(self, AT_LEAST_1, "threads", null="all cores")
        faults += range_faults(self, AT_LEAST_1, "replicas", null="one in this process")
        if self.replicas is not None and self.mode != "student":
            faults.append(
                f"replicas={self.replicas}: goes with mode=student; what the teacher is asked is kept in one file, so "
                f"mode={self.mode} runs in one process."
            )
        if self.token_env is None and not is_loopback(self.host):
            faults.append(
                f"host={self.host}: anyone who can reach this address could use the student. Put a token into an "
                "environment variable and name it: token_env=DSBS_TOKEN"
            )
        if self.token_env is not None:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", self.token_env):
                faults.append("token_env: expected the name of an environment variable, not the token itself.")
            elif not os.environ.get(self.token_env, "").strip():
                faults.append(f"token_env={self.token_env}: this environment variable is not set, or empty.")
        return faults


@dataclass
class TrafficConfig:
    """Keys of ``dsbs.traffic``.

    Attributes:
        store: the file that ``dsbs.serve mode=record`` wrote.
        data: a folder to write train.jsonl and test.jsonl to, for ``dsbs.extract``; None: only show figures.
        rationales: a folder of ``dsbs.extract`` on ``data/unexplained``, whose rationales are added to recorded
            answers that have none; None: none are added.
        test_share: share of the inputs, the latest ones, for the test split.
        checkpoint: a run's folder, its checkpoint, or an export of it: its student answers the recorded inputs that it
            was not trained on, and is compared with the LLM's recorded answers. Nothing is requested.
        trust_run: read the run's training data wherever the run says; type it if the run is yours.
        chat: how to find the input in the last user message, as for ``dsbs.serve``.
    """

    store: str = "outputs/traffic.sqlite"
    data: str | None = None
    checkpoint: str | None = None
    trust_run: bool = False
    rationales: str | None = None
    test_share: float = 0.1
    chat: Chat = field(default_factory=Chat)

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = self.chat.faults()
        faults += range_faults(self, SHARE_BELOW_1, "test_share")
        if self.data == "":
            faults.append("data=: expected a folder, such as data=outputs/traffic.")
        if self.rationales is not None and self.data is None:
            faults.append(f"rationales={self.rationales}: needs data=FOLDER, where the answers with them are written.")
        return faults
