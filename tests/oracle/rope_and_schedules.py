"""Numbers that position/ and optim/ are tested against: RoPE tables and learning-rate schedules of transformers.

Run once, by hand, with torch and transformers installed (made with torch 2.11, transformers 5.23):

    python tests/oracle/rope_and_schedules.py

It writes tests/data/rope/*.json and tests/data/schedules/*.json. The tests read only these files.
"""

import json
import math
import pathlib

import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.optimization import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
)

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"


def config(head_dim, max_positions, parameters, **extra):
    return LlamaConfig(
        hidden_size=4 * head_dim,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=head_dim,
        num_hidden_layers=1,
        intermediate_size=8,
        vocab_size=8,
        max_position_embeddings=max_positions,
        rope_parameters=parameters,
        **extra,
    )


def plain(base, head_dim, partial=1.0):
    """The default table, as LlamaRotaryEmbedding and its partial-rotary siblings compute it in float32."""
    dim = int(head_dim * partial)
    return 1.0 / (base ** (torch.arange(0, dim, 2, dtype=torch.int64).float() / dim)), 1.0


def rope_case(name, head_dim, max_positions, kind, base, lengths=(None,), **settings):
    rows = []
    for length in lengths:
        if kind == "default":
            frequencies, scaling = plain(base, head_dim, settings.get("partial_rotary_factor", 1.0))
        else:
            parameters = {"rope_type": kind, "rope_theta": base, **settings}
            frequencies, scaling = ROPE_INIT_FUNCTIONS[kind](
                config(head_dim, max_positions, parameters), torch.device("cpu"), seq_len=length
            )
        rows.append(
            {
                "length": length or 0,
                "inverse_frequencies": [float(f"{value:.9g}") for value in frequencies.tolist()],
                "attention_scaling": float(scaling),
            }
        )
    return {
        "name": name,
        "kind": kind,
        "base": base,
        "dimensions": int(head_dim * settings.get("partial_rotary_factor", 1.0)),
        "max_positions": max_positions,
        "settings": settings,
        "rows": rows,
    }


def rope():
    yarn = {"factor": 4.0, "original_max_position_embeddings": 4096}
    llama3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    cases = [
        rope_case("llama-2", 128, 4096, "default", 10000.0),
        rope_case("longalign-7b", 128, 65536, "default", 2000000.0),
        rope_case("partial-half", 128, 8192, "default", 10000.0, partial_rotary_factor=0.5),
        rope_case("small-head", 16, 512, "default", 10000.0),
        rope_case("linear-2", 64, 4096, "linear", 10000.0, factor=2.0),
        rope_case("linear-8.5", 128, 4096, "linear", 500000.0, factor=8.5),
        rope_case("linear-partial", 64, 4096, "linear", 10000.0, factor=4.0, partial_rotary_factor=0.5),
        rope_case("dynamic-2", 128, 2048, "dynamic", 10000.0, (None, 100, 2048, 2049, 8192, 65536), factor=2.0),
        rope_case("dynamic-4-small", 16, 512, "dynamic", 10000.0, (511, 513, 3000), factor=4.0),
        rope_case("yarn-default", 128, 16384, "yarn", 10000.0, **yarn),
        rope_case("yarn-qwen", 128, 131072, "yarn", 1000000.0, factor=4.0, original_max_position_embeddings=32768),
        rope_case("yarn-no-truncate", 128, 16384, "yarn", 10000.0, truncate=False, **yarn),
        rope_case("yarn-betas", 64, 16384, "yarn", 150000.0, beta_fast=16.0, beta_slow=2.0, **yarn),
        rope_case("yarn-attention-factor", 64, 16384, "yarn", 10000.0, attention_factor=1.25, **yarn),
        rope_case("yarn-mscale", 64, 163840, "yarn", 10000.0, factor=40.0, original_max_position_embeddings=4096,
                  mscale=1.0, mscale_all_dim=0.707),
        rope_case("yarn-mscale-equal", 64, 163840, "yarn", 10000.0, factor=40.0,
                  original_max_position_embeddings=4096, mscale=1.0, mscale_all_dim=1.0),
        rope_case("yarn-partial", 128, 16384, "yarn", 10000.0, partial_rotary_factor=0.5, **yarn),
        rope_case("yarn-tiny-head", 16, 2048, "yarn", 10000.0, factor=4.0, original_max_position_embeddings=512),
        rope_case("llama-3.1", 128, 131072, "llama3", 500000.0, factor=8.0, **llama3),
        rope_case("llama-3.2-1b", 64, 131072, "llama3", 500000.0, factor=32.0, **llama3),
        rope_case("llama3-small", 32, 4096, "llama3", 10000.0, factor=4.0, low_freq_factor=1.5, high_freq_factor=6.0,
                  original_max_position_embeddings=1024),
    ]
    # Cosine and sine in double from the float32 frequencies, where float32 products of large ids would have no digit.
    frequencies, _ = plain(2000000.0, 8)
    table = [
        {
            "position": position,
            "cosine": [math.cos(position * f) for f in frequencies.double().tolist()],
            "sine": [math.sin(position * f) for f in frequencies.double().tolist()],
        }
        for position in (0, 1, 17, 4095, 65535, 999999, 1048577, 2000000011)
    ]
    return {"cases": cases, "table": {"base": 2000000.0, "dimensions": 8, "rows": table}}


def schedules():
    makers = {
        "constant": lambda o, w, n: get_constant_schedule_with_warmup(o, w),
        "linear": get_linear_schedule_with_warmup,
        "cosine": get_cosine_schedule_with_warmup,
    }
    cases = []
    for kind, make in makers.items():
        for warmup, points in ((0, 10), (3, 10), (59, 1956), (55, 1832), (7, 7), (0, 1)):
            optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
            scheduler = make(optimiser, warmup, points)
            wanted = sorted({i for i in (0, 1, 2, 3, 4, 5, 7, 9, 10, 54, 55, 58, 59, 60, 500, 1000, 1831, 1955)
                             if i <= points} | {points})
            values = []
            for i in range(points + 1):
                if i in wanted:
                    values.append([i, scheduler.get_last_lr()[0]])
                optimiser.step()
                scheduler.step()
            cases.append({"kind": kind, "warmup": warmup, "points": points, "values": values})
    return {"cases": cases}


def write(name, content):
    path = DATA / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=None, separators=(",", ":")) + "\n")
    print(path.relative_to(DATA.parent), path.stat().st_size, "bytes")


if __name__ == "__main__":
    write("rope/frequencies.json", rope())
    write("schedules/schedules.json", schedules())
