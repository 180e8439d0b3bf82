"""Settings of ``accelerate launch`` and its config file, which arrive as environment variables; some are rejected."""

import os


def launch_faults(bf16: bool, optim: str) -> list[str]:
    """Return a sentence for each fault of how the training was launched."""
    return _precision_faults(bf16) + _sharding_faults(optim)


def _precision_faults(bf16: bool) -> list[str]:
    """Return the faults of the precision that accelerate was configured with."""
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION") or "no"
    if asked == "no" or (asked == "bf16" and bf16):
        return []
    wanted = "add training.bf16=true, or use" if asked == "bf16" else "it is not supported; use"
    return [
        f"ACCELERATE_MIXED_PRECISION={asked} is set, by `accelerate launch` or its config file, against the "
        f"settings: {wanted} accelerate launch --mixed_precision no"
    ]


def _sharding_faults(optim: str) -> list[str]:
    """Return the faults of the sharding that accelerate was configured with."""
    faults = []
    if _is_set("ACCELERATE_USE_DEEPSPEED"):
        faults.append(
            "ACCELERATE_USE_DEEPSPEED is set, by `accelerate launch` or its config file: a student is sharded across "
            "processes; only FSDP is supported: accelerate launch --use_fsdp --fsdp_version 2"
        )
    if not wants_fsdp():
        return faults
    if os.environ.get("FSDP_VERSION", "1") != "2":
        faults.append("FSDP 1 is not supported: accelerate launch --use_fsdp --fsdp_version 2")
    if _is_set("FSDP_OFFLOAD_PARAMS"):
        faults.append("FSDP_OFFLOAD_PARAMS=true is not supported: accelerate launch --fsdp_offload_params false")
    if _is_set("FSDP_ACTIVATION_CHECKPOINTING"):
        faults.append(
            "FSDP_ACTIVATION_CHECKPOINTING=true: accelerate's implementation redraws dropout masks. Use "
            "training.gradient_checkpointing=true and accelerate launch --fsdp_activation_checkpointing false"
        )
    if optim not in ("adamw_torch", "adamw_torch_fused"):
        faults.append(f"training.optim={optim}: FSDP only supports adamw_torch and adamw_torch_fused.")
    return faults


def wants_fsdp() -> bool:
    """Return whether `accelerate launch` asks for FSDP."""
    return _is_set("ACCELERATE_USE_FSDP")


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true", "yes")
