"""gpt-oss experts as they stand on the hub: MXFP4, blocks of 32 four-bit floats with one shared power of two.

A matrix of shape (expert, in, out) becomes NAME_blocks (expert, out, in/32, 16), two values to a byte, the earlier one
in the low half, and NAME_scales (expert, out, in/32), a biased exponent. Values are of E2M1: OCP Microscaling Formats
(MX) Specification v1.0, section 5.3.
"""

import json
from pathlib import Path

VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
BIAS = 127


def quantise_experts(folder: Path) -> None:
    """Rewrites model.safetensors of `folder` in place and says so in config.json."""
    import torch
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    kept = {}
    for name, weight in load_file(file).items():
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            kept[name] = weight
            continue
        rows = weight.float().transpose(1, 2).reshape(weight.shape[0], weight.shape[2], -1, 32)
        largest = rows.abs().amax(-1).clamp_min(1e-12)
        exponent = torch.floor(torch.log2(largest)) - 2
        scaled = rows / torch.exp2(exponent).unsqueeze(-1)
        code = (scaled.abs().unsqueeze(-1) - torch.tensor(VALUES)).abs().argmin(-1).to(torch.uint8)
        code |= (scaled < 0).to(torch.uint8) << 3
        kept[f"{name}_blocks"] = (code[..., 0::2] | (code[..., 1::2] << 4)).contiguous()
        kept[f"{name}_scales"] = (exponent + BIAS).to(torch.uint8).contiguous()
    save_file(kept, file, metadata={"format": "pt"})
    path = folder / "config.json"
    quantised = {
        "quant_method": "mxfp4",
        "modules_to_not_convert": [
            "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head",
        ],
    }  # fmt: skip
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": quantised}, indent=2))
