"""GGUF files: weights, sizes and tokenizer of a causal student for llama.cpp; https://github.com/ggml-org/ggml."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np

from dsbs.core.errors import StudentError
from dsbs.inference.exports.base import name_tokens

if TYPE_CHECKING:
    from dsbs.students.model import StudentModel

# `model_type` -> llama.cpp's architecture.
ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "gpt2": gguf.MODEL_ARCH.GPT2,
}
TYPES = {
    "float32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "bf16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "q5_1": (gguf.GGMLQuantizationType.Q5_1, gguf.LlamaFileType.MOSTLY_Q5_1),
    "q4_0": (gguf.GGMLQuantizationType.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0),
}
_SUFFIXES = (".weight", ".bias")


def write_gguf(student: "StudentModel", path: Path, quantization: str) -> None:
    """Write a causal student as a GGUF file.

    Args:
        quantization: a key of ``TYPES``; norms are not quantized, and odd widths become float16.

    Raises:
        StudentError: for an architecture, positions or a tokenizer that are not supported.
    """
    config = student.config
    check(config)
    architecture = ARCHITECTURES[config.model_type]
    tokenizer = json.loads(student.tokenizer.backend_tokenizer.to_str())
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    try:
        kind, file_type = TYPES[quantization]
        writer.add_name("student")
        writer.add_file_type(file_type)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        add_sizes(writer, config)
        add_tokenizer(writer, student, tokenizer)
        for name, values in tensors(student.model, config, architecture):
            add_tensor(writer, name, values, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def check(config: Any) -> None:
    """Check that llama.cpp supports a student's architecture and positions.

    Raises:
        StudentError: where it does not.
    """
    kind = config.model_type
    if kind not in ARCHITECTURES:
        raise StudentError(f"format=gguf takes {', '.join(ARCHITECTURES)}; this student is a {kind}.")
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type", "default") != "default":
        raise StudentError(f"format=gguf: positions of the type {rope['rope_type']!r} are not converted.")
    window = getattr(config, "sliding_window", None)
    if window and getattr(config, "use_sliding_window", True) and window < config.max_position_embeddings:
        raise StudentError(f"format=gguf: a sliding window ({window} tokens) is not converted.")


def add_sizes(writer: gguf.GGUFWriter, config: Any) -> None:
    """Write context length, layers, widths, heads and further hyperparameters of a config."""
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    if config.model_type == "gpt2":
        writer.add_feed_forward_length(config.n_inner or 4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(width)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))


def add_tokenizer(writer: gguf.GGUFWriter, student: "StudentModel", tokenizer: dict[str, Any]) -> None:
    """Write the tokenizer, with the task prefixes as control tokens.

    Raises:
        StudentError: where it is not a byte-level BPE, or its pre-tokenizer is not supported.
    """
    model = tokenizer["model"]
    splitting = name_splitting(tokenizer)
    if model["type"] != "BPE" or splitting is None:
        raise StudentError(
            "format=gguf: only byte-level BPE tokenizers (GPT-2's, Llama 3's, Qwen's, SmolLM's) are converted; this "
            f"one is {model['type']} with another way to cut texts into words."
        )
    names = name_tokens(student.tokenizer.get_vocab(), len(student.embedding_tables()[1]))
    added = {one["content"]: one["special"] for one in tokenizer["added_tokens"]}
    known = student.tokenizer.get_vocab()

    def kind(name: str) -> int:
        if name not in known:
            return int(gguf.TokenType.UNUSED)
        if name in added:
            return int(gguf.TokenType.CONTROL if added[name] else gguf.TokenType.USER_DEFINED)
        return int(gguf.TokenType.NORMAL)

    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splitting)
    writer.add_token_list(names)
    writer.add_token_types([kind(name) for name in names])
    writer.add_token_merges([one if isinstance(one, str) else " ".join(one) for one in model["merges"]])
    writer.add_eos_token_id(student.encode_targets([""])[0][-1])
    writer.add_pad_token_id(student.pad_id)
    bos = student.tokenizer.bos_token_id
    if bos is not None:
        writer.add_bos_token_id(bos)
    writer.add_add_bos_token(bos is not None and student.tokenizer("a")["input_ids"][0] == bos)
    writer.add_add_eos_token(False)  # an input goes on with its target
    writer.add_add_space_prefix(False)


def name_splitting(tokenizer: dict[str, Any]) -> str | None:
    """Return llama.cpp's name of a tokenizer's pre-tokenizer, or None where it is not supported.

    >>> name_splitting({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}})
    'gpt-2'
    """
    step = tokenizer.get("pre_tokenizer") or {}
    steps = step["pretokenizers"] if step.get("type") == "Sequence" else [step]
    if tokenizer.get("normalizer") not in (None, {"type": "NFC"}) or steps[-1].get("type") != "ByteLevel":
        return None
    if steps[-1].get("add_prefix_space"):
        return None
    kinds = [one["type"] for one in steps]
    if kinds == ["ByteLevel"]:
        return "gpt-2" if steps[0].get("use_regex", True) else None
    if kinds == ["Digits", "ByteLevel"]:
        return "smollm" if steps[0].get("individual_digits") and steps[1].get("use_regex", True) else None
    if kinds == ["Split", "ByteLevel"] and not steps[1].get("use_regex", True):
        pattern = str(steps[0].get("pattern", {}).get("Regex", ""))
        if pattern.startswith("(?i:'s|'t|'re|'ve|'m|'ll|'d)|"):
            return "llama-bpe" if r"|\p{N}{1,3}|" in pattern else "qwen2" if r"|\p{N}|" in pattern else None
    return None


def tensors(model: Any, config: Any, architecture: gguf.MODEL_ARCH) -> Iterator[tuple[str, np.ndarray]]:
    """Yield llama.cpp's names and the float32 values of the weights.

    Raises:
        StudentError: for a weight that has no name there.
    """
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    for name, weight in model.state_dict().items():
        if name.endswith((".attn.bias", ".attn.masked_bias", ".inv_freq")) or (tied and name == "lm_head.weight"):
            continue
        found = names.get_name(name, _SUFFIXES)
        if found is None:
            raise StudentError(f"format=gguf: llama.cpp has no place for the weight {name}.")
        values = weight.detach().float().cpu().numpy()
        if config.model_type == "gpt2" and values.ndim == 2 and ".h." in name:
            values = values.T  # GPT-2 multiplies from the other side
        if architecture is gguf.MODEL_ARCH.LLAMA and ".q_proj." in name:
            values = interleave(values, config.num_attention_heads)
        if architecture is gguf.MODEL_ARCH.LLAMA and ".k_proj." in name:
            values = interleave(values, config.num_key_value_heads)
        yield found, np.ascontiguousarray(values)


def interleave(values: np.ndarray, heads: int) -> np.ndarray:
    """Return rows of queries or keys in llama.cpp's order: it rotates adjacent pairs, transformers halves of a head.

    >>> interleave(np.arange(8), 2).tolist()
    [0, 2, 1, 3, 4, 6, 5, 7]
    """
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


def add_tensor(writer: gguf.GGUFWriter, name: str, values: np.ndarray, kind: gguf.GGMLQuantizationType) -> None:
    """Write one weight: matrices quantized, or in float16 where their width does not allow it; the rest in float32."""
    if values.ndim < 2 or name == "position_embd.weight":
        kind = gguf.GGMLQuantizationType.F32
    elif values.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
        kind = gguf.GGMLQuantizationType.F16
    packed = gguf.quants.quantize(values, kind)
    plain = kind in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16)
    writer.add_tensor(name, packed, raw_dtype=None if plain else kind)
