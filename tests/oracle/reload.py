"""Loads a model folder with transformers, runs it, and compares.

    python tests/oracle/reload.py FOLDER --ids 1,80,147,201 [--logits FILE.safetensors] [--like OTHER_FOLDER]

--logits: a safetensors file with "logits" [T, V] for the same ids (from any program), compared in float32.
--like: another folder that must hold the same model: equal tensors by name and value (after conversion to float32),
        equal logits, and equal tokens for a probe text where both have a tokenizer.json.
Without either it prints the best continuation of each position, so that at least loading is proven. Exits with 1 when
the largest difference of logits exceeds --tolerance times the largest logit.
"""

import argparse
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

transformers.logging.set_verbosity_warning()
transformers.logging.disable_progress_bar()


def logits_of(folder, ids):
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True,
                                                       attn_implementation="eager")
    wrong = {key: sorted(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]}
    if wrong:
        raise SystemExit(f"{folder}: {wrong}")
    with torch.no_grad():
        return model.eval()(torch.tensor([ids])).logits[0], model.state_dict()


def compare(name, ours, theirs, tolerance):
    if ours.shape != theirs.shape:
        raise SystemExit(f"{name}: shapes {tuple(ours.shape)} and {tuple(theirs.shape)}")
    difference, scale = (ours.double() - theirs.double()).abs().max().item(), theirs.double().abs().max().item()
    good = difference <= tolerance * scale
    print(f"{name}: largest difference {difference:.3e} of {scale:.3e}: {'agree' if good else 'DIFFER'}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--ids", required=True, help="tokens separated by commas")
    parser.add_argument("--logits", type=pathlib.Path)
    parser.add_argument("--like", type=pathlib.Path)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    arguments = parser.parse_args()
    ids = [int(part) for part in arguments.ids.split(",")]
    logits, state = logits_of(arguments.folder, ids)
    good = True
    if arguments.logits:
        good &= compare("logits", load_file(arguments.logits)["logits"], logits, arguments.tolerance)
    if arguments.like:
        other_logits, other_state = logits_of(arguments.like, ids)
        good &= compare("logits of the other folder", other_logits, logits, arguments.tolerance)
        unequal = [name for name in sorted(state.keys() | other_state.keys())
                   if name not in state or name not in other_state or not torch.equal(state[name], other_state[name])]
        print("tensors:", "all equal" if not unequal else f"not equal: {unequal}")
        good &= not unequal
        files = [folder / "tokenizer.json" for folder in (arguments.folder, arguments.like)]
        if all(file.exists() for file in files):
            from tokenizers import Tokenizer
            probe = "Once upon a time,  two spaces\nand a line: 12 éß日本 😀"
            mine, other = (Tokenizer.from_file(str(file)).encode(probe).ids for file in files)
            print("tokenizers:", "agree" if mine == other else "DIFFER")
            good &= mine == other
    if not arguments.logits and not arguments.like:
        print("best next token at each position:", logits.argmax(-1).tolist())
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
