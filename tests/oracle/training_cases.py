"""A whole training run in double precision: five AdamW steps on a tiny model, as PyTorch does them.

    python tests/oracle/training_cases.py [--models tests/data/models] [--only NAME ...]

Writes MODELS/NAME/training.safetensors for a run that starts from MODELS/NAME/model.safetensors. Step s trains on one
pack of documents (each sees only itself) with the loss
    L = sum_i w_i (sum_t a_t l_t / sum_t a_t) / sum_i w_i         l_t = -log p(label_t)
over the documents i that have a label; gradients clipped to a global norm of 1 by torch.nn.utils.clip_grad_norm_
(factor 1 / (norm + 1e-6) where that is below 1); torch.optim.AdamW with beta 0.9, 0.95, epsilon 1e-8, decay 0.1 on
tensors of two dimensions and none on vectors; rates of transformers' cosine schedule, 2 of 5 steps of warm-up, peak
1e-3, of which step s uses entry s + 1 of 6 (the schedule of transformers starts with a step at rate 0, which would
train nothing). Tensors:
    learning_rates, losses, gradient_norms  F64 [5]    the norms before clipping
    s.ids, s.labels I64 [T], s.lengths I64 [documents], s.label_weights F64 [T], s.sequence_weights F64 [documents]
    final.NAME  F64   the parameters after five steps
"""

import argparse
import pathlib

import torch
from safetensors.torch import save_file
from torch.nn import functional
from transformers import get_cosine_schedule_with_warmup

from double_precision import everywhere, only_double, origin
from model_cases import CASES, load_double

STEPS = 5
NAMES = ["llama-tied", "qwen2"]


def make_step(step, vocabulary, generator):
    """Two documents; the third step adds one without labels, the last two weigh labels and documents unequally."""
    lengths = [9 + 2 * step, 13 - step] + ([4] if step == 2 else [])
    ids = torch.randint(3, vocabulary, (sum(lengths),), generator=generator)
    labels = torch.full_like(ids, -100)
    start = 0
    for i, length in enumerate(lengths):
        scored = torch.rand(length - 1, generator=generator) < (0.8 if i < 2 else 0.0)
        labels[start:start + length - 1] = torch.where(scored, ids[start + 1:start + length], -100)
        start += length
    label_weights, sequence_weights = torch.ones(len(ids)), torch.ones(len(lengths))
    if step >= 3:
        label_weights = torch.randint(8, 33, (len(ids),), generator=generator) / 16  # exact in float32
        sequence_weights = 0.5 + torch.rand(len(lengths), generator=generator)
    return {"ids": ids, "labels": labels, "lengths": torch.tensor(lengths), "label_weights": label_weights,
            "sequence_weights": sequence_weights}


def loss_of(forward, data):
    total, weight = 0.0, 0.0
    lengths = data["lengths"].tolist()
    parts = zip(*(data[key].split(lengths) for key in ("ids", "labels", "label_weights")), data["sequence_weights"])
    for ids, labels, a, w in parts:
        kept = labels >= 0
        if not kept.any():
            continue
        losses = functional.cross_entropy(forward(ids)[kept], labels[kept], reduction="none")
        total = total + w * (a[kept] * losses).sum() / a[kept].sum()
        weight = weight + w
    return total / weight


def train(name, folder):
    generator = torch.Generator().manual_seed(7 + NAMES.index(name))
    model, forward = load_double(folder)
    model.train()
    matrices = [value for value in model.parameters() if value.dim() >= 2]
    vectors = [value for value in model.parameters() if value.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
                                  lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    schedule = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=2, num_training_steps=STEPS + 1)
    tensors, rates, losses, norms = {}, [], [], []
    for step in range(STEPS):
        schedule.step()
        data = make_step(step, CASES[name]["config"]["vocab_size"], generator)
        with only_double():
            optimizer.zero_grad()
            loss = loss_of(forward, data)
            loss.backward()
            norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
            rates.append(optimizer.param_groups[0]["lr"])
            assert rates[-1] == optimizer.param_groups[1]["lr"]
        optimizer.step()
        losses.append(loss.item())
        tensors |= {f"{step}.{key}": value for key, value in data.items()}
    for key, values in (("learning_rates", rates), ("losses", losses), ("gradient_norms", norms)):
        tensors[key] = torch.tensor(values)
    for key, value in model.named_parameters():
        assert value.dtype == torch.float64
        tensors[f"final.{key}"] = value.detach().contiguous()
    print(name, "losses", losses, "norms", norms, "rates", rates)
    return tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=pathlib.Path, default=pathlib.Path("tests/data/models"))
    parser.add_argument("--only", nargs="*", choices=NAMES, default=NAMES)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.only:
        file = arguments.models / name / "training.safetensors"
        with everywhere():
            tensors = train(name, arguments.models / name)
        save_file(tensors, file, metadata=origin("tests/oracle/training_cases.py"))
        file.chmod(0o644)


if __name__ == "__main__":
    main()
