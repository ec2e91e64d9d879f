"""Lodestone's tokenizer against Hugging Face's `tokenizers`, per core, on the same text in one run.

    python benchmarks/text/tokenizer_bench.py build/cpu/bin/benchmarks/tokenizer_bench FOLDER [TEXT...]

FOLDER holds a tokenizer.json. Without TEXT: the speeches of examples/data, and Chinese clauses in random order. Both
programs run on one core, take the best of five, and count CPU time; the ids must be equal.
"""
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tokenizers

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def default_texts(folder):
    english = "\n".join(p.read_text(encoding="utf-8", errors="replace")
                        for p in sorted((ROOT / "examples/data/state_union").glob("*.txt"))[:10])
    sys.path.insert(0, str(ROOT / "tests" / "oracle"))
    from tokenizer_cases import CHINESE
    clauses = [c for c in CHINESE.replace("\n", "").replace("。", "，").split("，") if c]
    r = random.Random(1)
    chinese = "".join(r.choice(clauses) + r.choice("，，。") for _ in range(8000))
    files = []
    for name, text in (("english.txt", english), ("chinese.txt", chinese)):
        files.append(str(pathlib.Path(folder) / name))
        pathlib.Path(files[-1]).write_text(text, encoding="utf-8")
    return files


def best_of_five(call):
    best = 1e9
    for _ in range(5):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


def main():
    program, folder = sys.argv[1:3]
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as scratch:
        texts = sys.argv[3:] or default_texts(scratch)
        ours = json.loads(subprocess.run([program, folder, *texts], capture_output=True, text=True, check=True).stdout)
        file = pathlib.Path(folder)
        start = time.process_time()
        peer = tokenizers.Tokenizer.from_file(str(file / "tokenizer.json" if file.is_dir() else file))
        print(f"load: {ours['load_seconds']:.2f} s, tokenizers {time.process_time() - start:.2f} s")
        for mine in ours["texts"]:
            text = open(mine["file"], encoding="utf-8", newline="").read()
            ids = peer.encode(text, add_special_tokens=False).ids
            assert len(ids) == mine["ids"], f"{mine['file']}: {mine['ids']} ids, tokenizers {len(ids)}"
            encode = mine["bytes"] / 1e6 / best_of_five(lambda: peer.encode(text, add_special_tokens=False))
            decode = mine["bytes"] / 1e6 / best_of_five(lambda: peer.decode(ids, skip_special_tokens=False))
            print(f"{pathlib.Path(mine['file']).name}: {mine['bytes']} bytes, {mine['ids']} ids; "
                  f"encode {mine['encode_mb_per_s']:.1f} MB/s, tokenizers {encode:.2f}, ratio {mine['encode_mb_per_s'] / encode:.1f}; "
                  f"decode {mine['decode_mb_per_s']:.1f} MB/s, tokenizers {decode:.2f}, ratio {mine['decode_mb_per_s'] / decode:.1f}")


if __name__ == "__main__":
    main()
