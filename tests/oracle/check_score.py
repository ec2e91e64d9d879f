"""Compares the lines of `lodestone score` with transformers in float32.

    lodestone score --model FOLDER --data TEXTS.jsonl > ours.jsonl
    python tests/oracle/check_score.py FOLDER TEXTS.jsonl ours.jsonl [--tolerance 1e-5]

TEXTS.jsonl holds {"text": ...} lines; a line is scored with the BOS of the tokenizer's post-processor and no EOS.
Exits with 1 when a count differs, or a sum or mean differs by more than the tolerance, relatively.
"""

import argparse
import json
import pathlib
import sys

import torch
import transformers
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import AutoModelForCausalLM

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def lines_of(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("texts", type=pathlib.Path)
    parser.add_argument("ours", type=pathlib.Path)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    arguments = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(arguments.folder / "tokenizer.json"))
    model = AutoModelForCausalLM.from_pretrained(arguments.folder, dtype=torch.float32, attn_implementation="eager")
    model.eval()
    texts, ours = lines_of(arguments.texts), lines_of(arguments.ours)
    if len(texts) != len(ours):
        raise SystemExit(f"{len(texts)} texts but {len(ours)} lines of scores")
    worst, bad = 0.0, 0
    for number, (line, row) in enumerate(zip(texts, ours), start=1):
        ids = torch.tensor(tokenizer.encode(line["text"]).ids)
        targets = len(ids) - 1
        if row["targets"] != targets:
            print(f"line {number}: {row['targets']} targets, transformers has {targets}")
            bad += 1
            continue
        if targets == 0:
            continue
        with torch.no_grad():
            logits = model(ids[None]).logits[0].double()
        expected = functional.cross_entropy(logits[:-1], ids[1:], reduction="sum").item()
        error = max(abs(row["nll_sum"] - expected) / expected, abs(row["nll_mean"] * targets - expected) / expected)
        worst = max(worst, error)
        if not error <= arguments.tolerance:
            print(f"line {number}: nll_sum {row['nll_sum']}, transformers {expected}: {error:.2e} relative")
            bad += 1
    print(f"{len(texts)} lines, largest relative difference {worst:.2e}, {bad} beyond {arguments.tolerance:g}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
