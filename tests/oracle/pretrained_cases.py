"""Numbers of transformers for two small pretrained models: scores, greedy continuations, gradients.

    python tests/oracle/pretrained_cases.py NAME MODEL_FOLDER [--data tests/data/score]

Reads DATA/texts.jsonl (one {"text": ...} a line) and writes
  DATA/NAME.scores.jsonl      per text: ids (BOS of the post-processor, no EOS), targets, nll_sum and nll_mean in
                              float64, and the same sums as plain float32 transformers gives them
  DATA/NAME.generated.jsonl   per prompt: ids of the prompt, ids that greedy search in float32 adds (200, or up to and
                              with EOS), and the gap between the two best logits at each step: where it is near
                              rounding, two right programs may part
  DATA/NAME.gradients.safetensors  for the first 64 tokens of a text, in float64: ids, log_probs, loss (mean over 63
                              targets), and per tensor: norm.X, and 64 elements value.X at flat positions index.X
The tokens are those of tokenizer.json as the tokenizers library reads it. (AutoTokenizer of transformers 5 replaces the
file's rules by its own LlamaTokenizer where tokenizer_config.json names that class, and so drops a leading space.)
"""

import argparse
import json
import math
import pathlib

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from double_precision import everywhere, only_double, origin

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

PROMPTS = ["Once upon a time, there was a little girl named", "Tom and his dog went to the", "The President said",
           "Once upon a time, there was a little girl named Lily."]


def nll(logits, ids):
    return functional.cross_entropy(logits[:-1], ids[1:], reduction="none")


def load(folder, dtype):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    return model.eval()


def load_double(folder):
    """Called within everywhere(): built there so that the rotary tables are double as well."""
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float64,
                                             attn_implementation="eager")
    model.load_state_dict(load(folder, torch.float32).state_dict())
    assert model.model.rotary_emb.inv_freq.dtype == torch.float64
    return model.eval()


def score(folder, tokenizer, texts):
    single = load(folder, torch.float32)
    rows = []
    for text in texts:
        ids = torch.tensor(tokenizer.encode(text).ids)
        with torch.no_grad():
            rows.append({"ids": ids.tolist(), "targets": len(ids) - 1,
                         "nll_sum_float32": nll(single(ids[None]).logits[0], ids).double().sum().item()})
    with everywhere():
        double = load_double(folder)
        for text, row in zip(texts, rows):
            ids = torch.tensor(tokenizer.encode(text).ids)
            with torch.no_grad(), only_double():
                row["nll_sum"] = nll(double(ids[None], use_cache=False).logits[0], ids).sum().item()
            row["nll_mean"] = row["nll_sum"] / row["targets"]
    worst = max(abs(row["nll_sum_float32"] - row["nll_sum"]) / row["nll_sum"] for row in rows)
    targets = sum(row["targets"] for row in rows)
    print(f"{len(rows)} texts, {targets} targets; float32 is off by at most {worst:.2e} relative")
    assert worst < 1e-5 and all(math.isfinite(row["nll_sum"]) for row in rows)
    return rows


def generate(folder, tokenizer):
    model = load(folder, torch.float32)
    rows = []
    for prompt in PROMPTS:
        ids = tokenizer.encode(prompt).ids
        result = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=200, output_logits=True,
                                return_dict_in_generate=True, attention_mask=torch.ones(1, len(ids), dtype=torch.long))
        new = result.sequences[0, len(ids):].tolist()
        best = [step[0].topk(2).values.tolist() for step in result.logits]
        rows.append({"prompt": prompt, "prompt_ids": ids, "ids": new, "text": tokenizer.decode(ids + new),
                     "gaps": [round(a - b, 6) for a, b in best]})
        print(f"{prompt!r}: {len(new)} tokens, smallest gap {min(rows[-1]['gaps']):.2e}: {rows[-1]['text'][:70]!r}")
    return rows


def gradients(folder, tokenizer, text):
    ids = torch.tensor(tokenizer.encode(text).ids[:64])
    assert len(ids) == 64
    with everywhere():
        model = load_double(folder)
        with only_double():
            log_probs = -nll(model(ids[None], use_cache=False).logits[0], ids)
            loss = -log_probs.mean()
            loss.backward()
        tensors = {"ids": ids, "log_probs": log_probs.detach(), "loss": loss.detach()[None]}
        for name, value in model.named_parameters():
            flat = value.grad.flatten()
            where = torch.linspace(0, len(flat) - 1, 64, dtype=torch.float64).long()
            tensors |= {f"norm.{name}": flat.norm()[None], f"index.{name}": where, f"value.{name}": flat[where]}
    print(f"loss of 63 targets {loss.item():.9f}")
    return tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("tests/data/score"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(arguments.folder / "tokenizer.json"))
    lines = (arguments.data / "texts.jsonl").read_text(encoding="utf-8").split("\n")
    texts = [json.loads(line)["text"] for line in lines if line]

    def write(kind, rows):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (arguments.data / f"{arguments.name}.{kind}.jsonl").write_text(content, encoding="utf-8")

    write("scores", score(arguments.folder, tokenizer, texts))
    write("generated", generate(arguments.folder, tokenizer))
    file = arguments.data / f"{arguments.name}.gradients.safetensors"
    tensors = gradients(arguments.folder, tokenizer, " ".join(texts[:3]))
    save_file(tensors, file, metadata=origin("tests/oracle/pretrained_cases.py"))
    file.chmod(0o644)


if __name__ == "__main__":
    main()
