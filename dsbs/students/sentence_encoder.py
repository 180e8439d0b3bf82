"""A frozen pretrained encoder of texts as unit vectors."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dsbs.core.errors import DataError
from dsbs.core.files import write_json
from dsbs.core.progress import Meter
from dsbs.core.untrusted import Fields, read_json_file
from dsbs.students.decoding import best_device
from dsbs.students.embedding_cache import EmbeddingCache
from dsbs.students.lost import count_lost
from dsbs.students.model import find_unknown, grow_vocabulary

SETTINGS = "embedding.json"  # beside the encoder's own files
BATCH = 64


class SentenceEncoder:
    """Sentence embeddings as a transformer of scikit-learn; nothing in it is fitted.

    Args:
        cache: a folder where embeddings are kept, or None.
    """

    def __init__(
        self, network: Any, tokenizer: Any, pooling: str, max_input_tokens: int, cache: Path | None = None
    ) -> None:
        grow_vocabulary(network, tokenizer)
        self.network = network.to(best_device()).eval()
        tokenizer.padding_side = "right"  # the first state is that of the text
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.max_input_tokens = max_input_tokens
        self.cache = None if cache is None else EmbeddingCache(cache / f"embeddings-{self._fingerprint()}.sqlite")

    @property
    def parameters(self) -> int:
        """The number of parameters of the encoder."""
        return sum(weight.numel() for weight in self.network.parameters())

    def fit(self, texts: Sequence[str], labels: Any = None) -> "SentenceEncoder":
        """Do nothing: the encoder is frozen."""
        return self

    def fit_transform(self, texts: Sequence[str], labels: Any = None) -> NDArray[np.float32]:
        """Return the embeddings of texts [N, d], unit vectors."""
        return self.transform(texts)

    def transform(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the embeddings of texts [N, d], unit vectors; known ones come from the cache."""
        known = self.cache.get(texts) if self.cache else {}
        new = list(dict.fromkeys(text for text in texts if text not in known))
        read = self._embed(new)
        if self.cache and read:
            self.cache.put(read)
        known |= read
        return np.stack([known[text] for text in texts])

    def drop_cache(self) -> None:
        """Use the cache no more, so that measured times are those of answering."""
        self.cache = None

    @torch.inference_mode()
    def _embed(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return the vectors of texts, read in batches of about equal length, the longest first."""
        order = sorted(texts, key=lambda text: -len(text))
        found: dict[str, NDArray[np.float32]] = {}
        with Meter("embedding", len(order)) as meter:
            for start in range(0, len(order), BATCH):
                part = order[start : start + BATCH]
                inputs = self.tokenizer(
                    part, truncation=True, max_length=self.max_input_tokens, padding=True, return_tensors="pt"
                ).to(self.network.device)
                states = self.network(**inputs).last_hidden_state  # [B, S, d]
                mask = inputs["attention_mask"].unsqueeze(-1)
                pooled = (states * mask).sum(1) / mask.sum(1) if self.pooling == "mean" else states[:, 0]
                found.update(zip(part, F.normalize(pooled.float()).cpu().numpy(), strict=True))
                meter.update(len(found))
        return found

    def lost(self, texts: Sequence[str]) -> dict[str, int]:
        """Return counts of truncated texts and unknown tokens; see ``dsbs.students.lost.count_lost``."""
        rows = self.tokenizer(list(texts), truncation=True, max_length=self.max_input_tokens + 1)["input_ids"]
        return count_lost(rows, self.max_input_tokens, find_unknown(self.tokenizer))

    def save(self, folder: Path) -> None:
        """Write weights, tokenizer, pooling and length to a folder."""
        self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        write_json(folder / SETTINGS, self._settings())

    @classmethod
    def load(cls, folder: Path) -> "SentenceEncoder":
        """Load an encoder that ``save`` wrote; the folder is untrusted.

        Raises:
            StudentError: where it is missing or broken.
        """
        from transformers import AutoModel

        from dsbs.students.loading import check_tokenizer, explaining, open_model, quietly

        check_tokenizer(folder)
        with explaining(f"{folder}: the encoder cannot be read"):
            fields = Fields(read_json_file(folder / SETTINGS))
            pooling, most = fields.text("pooling"), fields.count("max_input_tokens")
            if not pooling or not most:
                raise DataError(f"{SETTINGS} lacks pooling or max_input_tokens")
            with open_model(str(folder)) as opened, quietly():
                return cls(opened.network(AutoModel), opened.tokenizer(), pooling, most)

    def _settings(self) -> dict[str, Any]:
        return {"pooling": self.pooling, "max_input_tokens": self.max_input_tokens}

    def _fingerprint(self) -> str:
        """Return a hash over all that decides a vector."""
        fast = getattr(self.tokenizer, "backend_tokenizer", None)
        words = fast.to_str() if fast else sorted(self.tokenizer.get_vocab().items())
        digest = hashlib.sha256(json.dumps([self._settings(), words]).encode())
        for name, weight in sorted(self.network.state_dict().items()):
            digest.update(name.encode())
            digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]
