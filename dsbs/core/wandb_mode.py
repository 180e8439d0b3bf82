"""Whether W&B is online, offline or off: by a setting, the environment, and the keys of this machine."""

import contextlib
import logging
import netrc
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

logger = logging.getLogger(__name__)

MODES = ("auto", "online", "offline", "disabled")
OLDER = ("dryrun", "run", "shared")  # W&B's other names
# Where W&B's hosted service answers; a netrc entry for any of them is a key for all of them.
HOSTED = ("api.wandb.ai", "api.forge.coreweave.com", "forge.coreweave.com")


def find_key() -> str | None:
    """Return the W&B key of this machine (``WANDB_API_KEY``, else netrc), or None. It is passed to W&B alone."""
    if key := os.environ.get("WANDB_API_KEY", "").strip():  # secrets from files often end in a newline
        return key
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "")).netloc
    hosts = (host,) if host and host not in HOSTED else HOSTED
    candidates = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    for path in candidates:
        try:
            entries = netrc.netrc(Path(path).expanduser())
        except (OSError, RuntimeError, netrc.NetrcParseError):
            continue
        for name in hosts:
            # `hosts` holds the named machines alone: netrc's `default` entry is a password for somewhere else.
            if name in entries.hosts and entries.hosts[name][2]:
                return entries.hosts[name][2]
    return None


def choose_mode(mode: str) -> str:
    """Return ``online``, ``offline`` or ``disabled`` for a setting, the environment and the keys of this machine."""
    wish = mode
    if mode == "auto":
        off = os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes", "on")  # as in Hugging Face's Trainer
        wish = os.environ.get("WANDB_MODE", "disabled" if off else "auto").lower()
    if wish in ("disabled", "offline"):
        return wish
    if wish not in (*MODES, *OLDER):
        logger.warning("W&B: WANDB_MODE=%s: expected online, offline or disabled; it is ignored.", wish)
    if wish == "dryrun":  # W&B's older name
        return "offline"
    if find_key() or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return "online"
    if wish == "online":
        logger.warning(
            "W&B: no key found, so this run is recorded offline. Type `wandb login` once, or set WANDB_API_KEY; "
            "tracking.mode=offline silences this, tracking.mode=disabled records nothing."
        )
    return "offline"


def set_environment(directory: Path) -> None:
    """Set the environment variables that W&B reads, so that it writes below ``directory``; those already set stay."""
    folder = directory / "wandb"
    if os.environ.get("WANDB_MODE", MODES[-1]).lower() not in (*MODES[1:], *OLDER):  # W&B refuses to start with it
        del os.environ["WANDB_MODE"]
    defaults = {
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",  # reports about W&B's own errors to its makers
        # Tables and pictures wait here on their way; by default that is the user's home.
        "WANDB_DATA_DIR": str(folder / "data"),
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_ARTIFACT_DIR": str(folder / "artifacts"),
    }
    for variable, value in defaults.items():
        os.environ.setdefault(variable, value)


@contextlib.contextmanager
def with_key() -> Iterator[None]:
    """Let W&B find the key of this machine without asking at the terminal; only while it is needed."""
    key, variable = find_key(), "WANDB_API_KEY"
    missing = key is not None and not os.environ.get(variable, "").strip()
    if missing:
        os.environ[variable] = str(key)
    try:
        yield
    finally:
        if missing:
            os.environ.pop(variable, None)
