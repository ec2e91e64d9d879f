"""Prints tests/data/eval/cut.jsonl: prompts cut in the middle as LongBench's pred.py does, with the tokenizers library.

python tests/oracle/truncation_cases.py > tests/data/eval/cut.jsonl

Each line: the tokenizer's file, the prompt, the limit, how many tokens the prompt has, and the cut prompt.
"""
import json

from tokenizers import Tokenizer

FILES = ["tests/data/tokenizer/gpt2/tokenizer.json", "tests/data/models/stories260k/tokenizer.json"]
PROMPTS = [
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park with her dog.",
    "日本語のテキスト、漢字とかな。Once upon a time 😀😀 naïve café e\u0301.",
    "short",
    "",
]

for file in FILES:
    tokenizer = Tokenizer.from_file(file)
    for prompt in PROMPTS:
        ids = tokenizer.encode(prompt).ids
        for limit in (2, 3, 4, 7, 10, 13, 16, 21):
            cut = prompt
            if len(ids) > limit:
                half = int(limit / 2)
                cut = tokenizer.decode(ids[:half], skip_special_tokens=True)
                cut += tokenizer.decode(ids[-half:], skip_special_tokens=True)
            print(json.dumps({"tokenizer": file, "prompt": prompt, "limit": limit, "tokens": len(ids), "cut": cut},
                             ensure_ascii=False))
