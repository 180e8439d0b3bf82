"""What W&B has recorded offline, read back from its ``.wandb`` files: LevelDB's log format around protocol buffers."""

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK, HEADER = 32768, 7
MAGIC = b":W&B"
LAST_PARTS = (1, 4)  # a record that is whole, and the last part of one that is not


@dataclass
class Recorded:
    """A run as a file has it."""

    run_id: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    artifacts: dict[str, str] = field(default_factory=dict)

    def logged(self, key: str) -> list[Any]:
        """Return what was logged under a key."""
        return [row[key] for row in self.history if key in row]


def read_recorded(path: Path) -> Recorded:
    """Return what a ``.wandb`` file holds, once W&B's own process has written all of it."""
    deadline = time.monotonic() + 30
    while not any(record.WhichOneof("record_type") == "exit" for record in _records(path)):
        assert time.monotonic() < deadline, f"{path}: the run has no end"
        time.sleep(0.05)
    found = Recorded()
    for record in _records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found.run_id, found.name, found.group = run.run_id, run.display_name, run.run_group
            found.job_type, found.tags = run.job_type, list(run.tags)
            _update(found.config, run.config.update)
        elif kind == "config":
            _update(found.config, record.config.update)
        elif kind == "summary":
            _update(found.summary, record.summary.update)
        elif kind == "history":
            _update(row := {}, record.history.item)
            found.history.append(row)
        elif kind == "artifact":
            found.artifacts[record.artifact.name] = record.artifact.type
    return found


def _records(path: Path) -> Iterator[Any]:
    from wandb.proto import wandb_internal_pb2

    data = path.read_bytes()
    assert data[:4] == MAGIC
    place, parts = HEADER, b""
    while place < len(data):
        left = BLOCK - place % BLOCK
        if left < HEADER:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + HEADER])
        place += HEADER
        parts += data[place : place + length]
        place += length
        if kind in LAST_PARTS:
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def _update(values: dict[str, Any], items: Any) -> None:
    for item in items:
        *above, last = list(item.nested_key) or [item.key]
        node = values
        for key in above:
            node = node.setdefault(key, {})
        node[last] = json.loads(item.value_json)
