"""The peer of host_decode_bench: greedy decoding in transformers on the CPU, taking turns with our program in one run.

    python3 host_decode.py HOST_DECODE_BENCH MODEL_FOLDER [--threads 1] [--tokens 200] [--rounds 15] [--sequences 1]

float32, the same prompts and the same number of new tokens on both sides (no end token is chosen before), equal threads.
transformers generates with a dynamic and with a static cache; the faster counts. Prints one line of JSON: microseconds a
pass of each by the clock and on a processor, the medians of the rounds, and the ratios of our rate to that of the faster
peer. On a machine with other work only the processor's time compares.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import time

import torch
import transformers
from transformers import AutoModelForCausalLM

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("folder")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--tokens", type=int, default=200)
parser.add_argument("--rounds", type=int, default=15)
parser.add_argument("--sequences", type=int, default=1)
args = parser.parse_args()

torch.set_num_threads(args.threads)
model = AutoModelForCausalLM.from_pretrained(args.folder, dtype=torch.float32).eval()
ids = torch.tensor([[1, 2 + i, 80, 147, 201, 282, 215, 286] for i in range(args.sequences)])
ours = subprocess.Popen([args.program, args.folder, str(args.threads), str(args.sequences), str(args.tokens), "-"],
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def own_cpu():
    return sum(int((task / "schedstat").read_text().split()[0]) * 1e-9
               for task in pathlib.Path(f"/proc/{ours.pid}/task").iterdir())


def own():
    cpu = own_cpu()
    ours.stdin.write("\n")
    ours.stdin.flush()
    return float(ours.stdout.readline()), own_cpu() - cpu


def peer(cache):
    start, cpu = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        result = model.generate(ids, do_sample=False, max_new_tokens=args.tokens, min_new_tokens=args.tokens,
                                attention_mask=torch.ones_like(ids), cache_implementation=cache,
                                disable_compile=True)
    assert result.shape[1] == ids.shape[1] + args.tokens
    return time.perf_counter() - start, time.process_time() - cpu


runs = {"lodestone": own, "dynamic": lambda: peer("dynamic"), "static": lambda: peer("static")}
times = {name: [] for name in runs}
for run in runs.values():
    run()
for _ in range(args.rounds):
    for name, run in runs.items():
        times[name].append(run())
ours.stdin.close()
ours.wait()
line = {"model": args.folder.rstrip("/").split("/")[-1], "threads": args.threads, "sequences": args.sequences,
        "tokens": args.tokens}
for k, clock in enumerate(("clock", "processor")):
    medians = {name: statistics.median(value[k] for value in values) for name, values in times.items()}
    line |= {f"{name}_{clock}_us": round(value / args.tokens * 1e6, 1) for name, value in medians.items()}
    line[f"{clock}_ratio"] = round(min(medians["dynamic"], medians["static"]) / medians["lodestone"], 2)
print(json.dumps(line))
