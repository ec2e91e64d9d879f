"""What TRL makes of preference records: prompts that are not named, and the ids of prompt and answers.

    python tests/oracle/preference_prompts.py TRL > tests/data/preference/trl.jsonl

TRL is the unpacked folder `trl` of version 0.19.1 (see preference_losses.py). Its functions are taken from its files as
they stand: maybe_extract_prompt, extract_prompt and is_conversational of data_utils.py, tokenize_row of DPOTrainer.
Each line holds a record and, under "trl", its prompt, chosen and rejected. Lines with "ids" hold the ids of the three
with GPT-2's tokenizer. Needs the package tokenizers.
"""
import ast
import json
import pathlib
import random
import sys
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer

folder = pathlib.Path(sys.argv[1])


def functions(file, names):
    """The functions of those names in `file`, wherever they stand in it, without their decorators."""
    scope = {"Sequence": Sequence, "Any": Any}
    for node in ast.walk(ast.parse((folder / file).read_text())):
        if isinstance(node, ast.FunctionDef) and node.name in names:
            node.decorator_list = []
            exec(compile(ast.Module([node], []), file, "exec"), scope)
    return scope


data = functions("data_utils.py", {"is_conversational", "extract_prompt", "maybe_extract_prompt"})
tokenize_row = functions("trainer/dpo_trainer.py", {"tokenize_row"})["tokenize_row"]

random.seed(11)
words = ["sky", "blue", "the", "sea", "café", "naïve", "日本", "日曜", "é", "è", "😀", "😁", "\n\n", "Human:",
         "Assistant:", "a", "b"]


def text(count):
    return "".join(random.choice(words) + random.choice([" ", " ", "", "  "]) for _ in range(count))


def turns(count, first="user"):
    order = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    return [{"role": order[i % 2], "content": text(random.randint(1, 2)).strip() + "!"} for i in range(count)]


records = []
for _ in range(120):  # texts with a common beginning, sometimes one the beginning of the other
    shared = text(random.randint(0, 4))
    chosen, rejected = shared + text(random.randint(0, 3)), shared + text(random.randint(0, 3))
    if chosen.strip() and rejected.strip() and chosen != rejected:
        records.append({"chosen": chosen, "rejected": rejected})
for _ in range(60):  # conversations
    shared = turns(random.choice([0, 1, 1, 1, 2, 3, 3, 4]))
    first = "user" if len(shared) % 2 == 0 else "assistant"
    rests = [turns(random.choice([1, 1, 2, 3]), first) for _ in range(2)]
    record = {"chosen": shared + rests[0], "rejected": shared + rests[1]}
    if random.random() < 0.3:
        record["prompt"] = (shared + [{"content": "question"}])[0]["content"]
    records.append(record)
for _ in range(20):  # the prompt is named
    prompt = turns(random.choice([1, 3]))
    records.append({"prompt": prompt, "chosen": turns(1, "assistant"), "rejected": turns(1, "assistant")})
    records.append({"prompt": text(3) or "x", "chosen": text(2) + "+", "rejected": text(2) + "-"})

gpt2 = Tokenizer.from_file("tests/data/tokenizer/gpt2/tokenizer.json")


class tokenizer:
    """What tokenize_row asks of a tokenizer of transformers."""

    bos_token_id = eos_token_id = 50256

    def __call__(self, text, add_special_tokens):
        return {"input_ids": gpt2.encode(text, add_special_tokens=add_special_tokens).ids}


for record in records:
    result = dict(data["maybe_extract_prompt"](record))
    line = {"record": record, "trl": {key: result[key] for key in ("prompt", "chosen", "rejected")}}
    if isinstance(result["prompt"], str) and isinstance(result["chosen"], str) and len(result["prompt"]) % 3 == 0:
        line["ids"] = tokenize_row(result, tokenizer(), None, None, False)
    print(json.dumps(line, ensure_ascii=False))
