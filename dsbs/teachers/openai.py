"""Any OpenAI-compatible endpoint: OpenAI, vLLM, Ollama, a llama.cpp server, TGI, …"""

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from dsbs.core.checks import ABOVE_0, AT_LEAST_1, NOT_NEGATIVE, SHARE, option_faults, range_faults
from dsbs.core.errors import TeacherError
from dsbs.core.logprobs import MAX_TOP
from dsbs.core.records import Request
from dsbs.core.secrets import describe_odd_key, find_secrets, looks_secret, variable_faults
from dsbs.core.terminal import log_once
from dsbs.tasks.base import Task
from dsbs.teachers.base import Ask, Teacher
from dsbs.teachers.endpoint.address import AUTHORIZATION, NO_KEY, Address, address_faults, leads_here
from dsbs.teachers.prices import Rates, find_rates

if TYPE_CHECKING:  # with what asks over HTTP, imported when a connection is opened: it takes its time
    from dsbs.teachers.endpoint.batches import BatchApi

OPENAI = "https://api.openai.com/v1"
# Where OpenAI's own client looks for an address.
ENVIRONMENT = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
APIS = ("chat", "completions")
# Bytes of a token with its log-probability in an answer, and the tokens of one without a bound.
LOGPROB_BYTES, GUESSED_TOKENS = 100, 2048
_HEADER = re.compile(r"[A-Za-z0-9-]{1,100}")


@dataclass
class OpenAITeacher(Teacher):
    """Asks an OpenAI-compatible endpoint.

    Attributes:
        model: the model's name at the endpoint.
        base_url: API address, including the version: ``http://localhost:8000/v1``. None: OpenAI itself.
        api_key_env: environment variable with the API key; None if none is needed. Loopback addresses need none.
        api_key_header: the HTTP header that carries the key: ``Authorization`` (as ``Bearer KEY``), or one that takes
            the key alone, such as ``api-key`` or ``Ocp-Apim-Subscription-Key`` of gateways.
        api: ``chat`` (messages) or ``completions`` (plain text, for base models).
        temperature: None leaves it to the endpoint.
        max_tokens: maximum completion tokens; None: not sent.
        top_p: None leaves it to the endpoint.
        top_logprobs: how many of the most probable tokens to ask for at each position, with their log-probabilities,
            which are stored with the text (``objective=soft_targets``); OpenAI allows at most 20. None: none.
        stop: stop sequences; most endpoints allow four.
        extra: additional fields of the request body, such as ``{max_completion_tokens: 300}`` or ``{reasoning_effort:
            low}``. A null leaves a field out; the number of a sample is added to a ``seed``.
        prompt_price: dollars per million prompt tokens; None: from ``genai-prices``, if it knows the model.
        completion_price: dollars per million completion tokens; None: likewise.
        batch_discount: discount of batches (``executor=batch``), if ``genai-prices`` does not know it.
        timeout: seconds until a request times out and is retried.
    """

    has_batches: ClassVar[bool] = True  # an endpoint without reports that when it is used

    kind: str = "openai"
    base_url: str | None = None
    api_key_env: str | None = "OPENAI_API_KEY"
    api_key_header: str = AUTHORIZATION
    api: str = "chat"
    temperature: float | None = 0.0
    max_tokens: int | None = 512
    top_p: float | None = None
    top_logprobs: int | None = None
    stop: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    prompt_price: float | None = None
    completion_price: float | None = None
    batch_discount: float = 0.5
    timeout: float = 120.0

    @property
    def most_written(self) -> int | None:
        """Maximum tokens of a completion, reasoning included, or None where the endpoint decides."""
        bounds = (self.extra.get(key) for key in ("max_tokens", "max_completion_tokens"))
        own = [bound for bound in bounds if isinstance(bound, int) and not isinstance(bound, bool)]
        return min(own) if own else self.max_tokens

    @property
    def greedy(self) -> str | None:
        if "temperature" in self.extra:
            return "teacher.extra.temperature=0" if self.extra["temperature"] == 0 else None
        return super().greedy

    @property
    def gives_logprobs(self) -> bool:
        return self.top_logprobs is not None

    def rates(self) -> Rates | None:
        """Return dollars per prompt token and per completion token: those set, else list prices; or None."""
        if self.prompt_price is not None and self.completion_price is not None:
            return self.prompt_price / 1e6, self.completion_price / 1e6
        return find_rates(self.model or "", self.base_url or OPENAI)

    def batch_rates(self) -> tuple[Rates | None, bool]:
        """Return list prices of batches and True, or else the other rates less ``batch_discount``, and False."""
        rates = self.rates()
        if self.prompt_price is None and (found := find_rates(self.model or "", self.base_url or OPENAI, batch=True)):
            return found, True
        return rates and (rates[0] * (1 - self.batch_discount), rates[1] * (1 - self.batch_discount)), False

    def faults(self) -> list[str]:
        faults = super().faults()
        if not self.model:
            faults.append("teacher.model: not set. Type teacher.model=NAME, as the endpoint calls it.")
        elif self.model != self.model.strip():
            faults.append(f"teacher.model={self.model!r}: expected no spaces around the name.")
        faults += option_faults(self, "teacher.", api=APIS)
        faults += address_faults(OPENAI if self.base_url is None else self.base_url)
        faults += variable_faults("teacher.api_key_env", self.api_key_env)
        if not _HEADER.fullmatch(self.api_key_header) or looks_secret(self.api_key_header):
            faults.append(
                "teacher.api_key_header: expected the name of a header, such as api-key; the key belongs in the "
                "variable that teacher.api_key_env=NAME names."
            )
        faults += range_faults(self, NOT_NEGATIVE, "temperature", "prompt_price", "completion_price", prefix="teacher.")
        faults += range_faults(self, AT_LEAST_1, "max_tokens", prefix="teacher.")
        faults += range_faults(self, ABOVE_0, "timeout", prefix="teacher.")
        faults += range_faults(self, SHARE, "batch_discount", prefix="teacher.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            faults.append(f"teacher.top_p={self.top_p}: expected above 0 and up to 1.")
        if self.top_logprobs is not None and not 1 <= self.top_logprobs <= MAX_TOP:
            faults.append(f"teacher.top_logprobs={self.top_logprobs}: expected from 1 to {MAX_TOP}, or null.")
        if (self.prompt_price is None) != (self.completion_price is None):
            faults.append("teacher.prompt_price and teacher.completion_price: set both or neither.")
        reserved = {"model", "messages", "prompt", "stream", "n"} & self.extra.keys()
        if reserved:
            faults.append(f"teacher.extra: {', '.join(sorted(reserved))} cannot be set there.")
        if keys := find_secrets(self.extra):
            faults.append(
                f"teacher.extra: {', '.join(keys)} looks like a key, and settings are saved to disk. Put it into an "
                "environment variable, and name that with teacher.api_key_env=NAME."
            )
        return faults

    def identity(self) -> dict[str, object]:
        """Return the model and the sampling settings; the address does not count."""
        keys = ("model", "api", "temperature", "max_tokens", "top_p", "stop", "extra")
        identity = {"kind": "openai"} | {key: getattr(self, key) for key in keys}
        return identity if self.top_logprobs is None else identity | {"top_logprobs": self.top_logprobs}

    def find_key(self) -> str:
        """Return the API key for the endpoint; ``none`` where it needs none.

        Raises:
            TeacherError: naming the variable to set.
        """
        key = os.environ.get(self.api_key_env, "").strip() if self.api_key_env else ""
        if not key and self.api_key_env and not leads_here(self.base_url or OPENAI):
            raise TeacherError(
                f"teacher.api_key_env={self.api_key_env}: this environment variable has no key for "
                f"{self.base_url or OPENAI}. Type export {self.api_key_env}=…, name another one with "
                "teacher.api_key_env=NAME, or type teacher.api_key_env=null if the endpoint needs no key.",
                fatal=True,
            )
        if odd := describe_odd_key(key, self.api_key_header.lower() == AUTHORIZATION.lower()):
            raise TeacherError(
                f"teacher.api_key_env={self.api_key_env}: this environment variable is no valid key: it has "
                f"{odd}. Set it again: export {self.api_key_env}=…",
                fatal=True,
            )
        return key or NO_KEY

    def announce(self) -> None:
        """Log to which host the key goes, unless to OpenAI or this machine: somebody else's config may name it.

        Raises:
            TeacherError: where no address is set, but the environment names one for OpenAI's own client.
        """
        if self.base_url is None:
            for name in ENVIRONMENT:
                named = os.environ.get(name, "").strip().rstrip("/")
                if named not in ("", OPENAI):
                    raise TeacherError(
                        f"{name} is set, but addresses are not read from the environment. Type "
                        f'teacher.base_url="${name}", or teacher.base_url={OPENAI} for OpenAI itself.',
                        fatal=True,
                    )
        address = self.base_url or OPENAI
        host = urlsplit(address).netloc
        if self.find_key() != NO_KEY and host != urlsplit(OPENAI).netloc and not leads_here(address):
            log_once(f"The key in the environment variable {self.api_key_env} goes to {host} (teacher.base_url).")

    def body(self, request: Request) -> dict[str, Any]:
        """Return the body of the HTTP request."""
        body: dict[str, Any] = {"model": self.model}
        if self.api == "chat":
            body["messages"] = request.messages()
        else:
            body["prompt"] = request.text()
        for name in ("temperature", "max_tokens", "top_p"):
            if getattr(self, name) is not None:
                body[name] = getattr(self, name)
        if request.answer_format == "json":
            body["response_format"] = {"type": "json_schema", "json_schema": answer_schema(request.choices)}
        if self.top_logprobs is not None:
            chat = {"logprobs": True, "top_logprobs": self.top_logprobs}
            body |= chat if self.api == "chat" else {"logprobs": self.top_logprobs}
        if self.stop:
            body["stop"] = list(self.stop)
        body |= self.extra
        body = {name: value for name, value in body.items() if value is not None}
        if isinstance(seed := self.extra.get("seed"), int) and request.sample:
            body["seed"] = seed + request.sample  # or samples that are asked for one at a time would be the same
        return body

    @asynccontextmanager
    async def connect(self, task: Task) -> AsyncIterator[Ask]:
        """Yield an ``Endpoint`` with an open connection pool; nothing is sent yet.

        Raises:
            TeacherError: where the API key is missing.
        """
        from dsbs.teachers.endpoint.client import Endpoint
        from dsbs.teachers.endpoint.http import Connection

        self.announce()
        async with Connection(self.where, self.find_key()) as connection:
            yield Endpoint(connection, self.route, self.body)

    @asynccontextmanager
    async def connect_batches(self) -> AsyncIterator["BatchApi"]:
        """Yield the ``BatchApi`` with an open connection pool; nothing is sent yet."""
        from dsbs.teachers.endpoint.batches import BatchApi
        from dsbs.teachers.endpoint.http import Connection

        self.announce()
        async with Connection(self.where, self.find_key()) as connection:
            tokens = (self.most_written or GUESSED_TOKENS) * (self.top_logprobs + 1) if self.top_logprobs else 0
            yield BatchApi(connection, self.route, self.body, tokens * LOGPROB_BYTES)

    @property
    def where(self) -> Address:
        """The endpoint, for connections and messages."""
        return Address(self.base_url or OPENAI, self.model or "", self.api_key_env, self.timeout, self.api_key_header)

    @property
    def route(self) -> str:
        """The route of requests, below ``base_url``."""
        return "/chat/completions" if self.api == "chat" else "/completions"


def answer_schema(choices: tuple[str, ...] | None) -> dict[str, Any]:
    """Return the JSON schema of an answer; the rationale comes first, so that the model reasons before it answers."""
    answer: dict[str, Any] = {"type": "string"}
    if choices:
        answer["enum"] = list(dict.fromkeys(choices))
    properties = {"rationale": {"type": "string"}, "answer": answer}
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"name": "annotation", "strict": True, "schema": schema}
