"""Replays a whole run of `lodestone sft` in PyTorch, in double precision, and compares losses, norms and weights.

    lodestone prepare --model MODEL --data CHAT.jsonl --template NAME --output STORE
    lodestone sft --model MODEL --data STORE --template NAME --output RUN --packs-per-step 100000 --epochs 6 \\
        --dtype f64 --export-dtype f64 --learning-rate 1e-3 --weight-decay 0.1 --warmup-steps 2
    python tests/oracle/check_run.py MODEL STORE RUN --weight-decay 0.1

Every step must train on all examples, so that their order does not matter; batching, packing, activations, threads and
ranks may be anything. The loss is LongAlign's sequence mean. The rates are those of RUN/metrics.jsonl. Exits with 1 when
a loss or norm differs by more than 1e-9, or a tensor by more than 1e-7 of how far training moved it (by its norm); runs in
narrower arithmetic, such as those of backend cuda, are given wider tolerances. --device cuda replays on the GPU.
"""

import argparse
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from double_precision import everywhere, only_double

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def build(folder, weights):
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float64,
                                             attn_implementation="eager")
    if model.config.tie_word_embeddings and "lm_head.weight" in weights:
        weights.setdefault("model.embed_tokens.weight", weights["lm_head.weight"])
    missing = model.load_state_dict({name: value.double() for name, value in weights.items()}, strict=False)
    assert not missing.unexpected_keys and set(missing.missing_keys) <= {"lm_head.weight"}, missing
    model.tie_weights()
    return model.train()


def examples_of(file, device):
    store = load_file(file, device=device)
    parts = store["offsets"].diff().tolist()
    columns = (store[key].split(parts) for key in ("tokens", "labels", "weights"))
    return [(tokens.long(), labels.long(), weights.double(), weight.item())
            for tokens, labels, weights, weight in zip(*columns, store["example_weights"])]


def backward(model, examples):
    """Adds the gradients of the sequence mean and returns it."""
    counted = [e for e in examples if (e[1] >= 0).any() and e[2].sum() > 0]
    total = sum(e[3] for e in counted)
    value = 0.0
    for tokens, labels, weights, weight in counted:
        kept = labels >= 0
        with only_double():
            losses = functional.cross_entropy(model(tokens[None], use_cache=False).logits[0][kept], labels[kept],
                                              reduction="none")
            loss = weight / total * (weights[kept] * losses).sum() / weights[kept].sum()
            loss.backward()
        value += loss.item()
    return value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("store", type=pathlib.Path)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--loss-tolerance", type=float, default=1e-9)
    parser.add_argument("--weight-tolerance", type=float, default=1e-7)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_device(arguments.device)
    before = load_file(arguments.model / "model.safetensors", device=arguments.device)
    after = load_file(arguments.run / "model" / "model.safetensors", device=arguments.device)
    examples = examples_of(arguments.store, arguments.device)
    lines = [json.loads(line) for line in (arguments.run / "metrics.jsonl").read_text().split("\n") if line]
    steps = [line for line in lines if line["event"] == "step"]
    good = True
    with everywhere():
        model = build(arguments.model, before)
        groups = [{"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": arguments.weight_decay},
                  {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), eps=1e-8)
        for step in steps:
            if step["sequences"] != len(examples):
                raise SystemExit(f"step {step['step']} has {step['sequences']} of {len(examples)} examples")
            optimizer.zero_grad()
            loss = backward(model, examples)
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), arguments.clip).item()
            for group in optimizer.param_groups:
                group["lr"] = step["learning_rate"]
            optimizer.step()
            apart = max(abs(step["loss"] - loss) / loss, abs(step["gradient_norm"] - norm) / norm)
            good &= apart < arguments.loss_tolerance
            print(f"step {step['step']}: loss {loss:.12f}, norm {norm:.9f}, apart by {apart:.1e}")
    ours = build_names(after, model)
    worst = 0.0
    for name, value in model.named_parameters():
        start = build_names(before, model)[name].double()
        moved = (value.detach() - start).norm().item()
        worst = max(worst, (value.detach() - ours[name].double()).norm().item() / moved)
    good &= worst < arguments.weight_tolerance
    print(f"weights: the worst tensor is apart by {worst:.1e} of its movement: {'agree' if good else 'DIFFER'}")
    sys.exit(0 if good else 1)


def build_names(weights, model):
    """Tensors under the names of model.named_parameters()."""
    if model.config.tie_word_embeddings and "model.embed_tokens.weight" not in weights:
        weights = weights | {"model.embed_tokens.weight": weights["lm_head.weight"]}
    return weights


if __name__ == "__main__":
    main()
