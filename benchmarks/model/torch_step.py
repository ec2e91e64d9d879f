"""A training step of PyTorch on the CPU, to set beside ours: forward, backward, AdamW on one pack of documents.

    python benchmarks/model/torch_step.py MODEL_FOLDER [--lengths 4096] [--threads 2] [--repeats 5]

The model is transformers' own in float32; its attention is scaled_dot_product_attention called once per document, which
is the fastest exact form for a pack that PyTorch offers on a CPU (no mask is built, nothing is computed across
documents). Every token but the last of each document is a target. Prints one line of JSON with the median of the
repeats. With several lists of lengths (--lengths 4096 1024,1024,1024,1024 ...) it prints a line for each.
"""

import argparse
import json
import statistics
import time

import torch
import transformers
from torch.nn import functional
from transformers import AttentionInterface, AutoModelForCausalLM

transformers.logging.disable_progress_bar()

LENGTHS = []  # of the documents of the pack that is being run


def per_document(module, query, key, value, attention_mask, scaling, dropout=0.0, **unused):
    """query [1, H, T, D], key and value [1, K, T, D]; a document attends causally to itself."""
    parts = zip(*(x.split(LENGTHS, dim=2) for x in (query, key, value)))
    out = [functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=True)
           for q, k, v in parts]
    return torch.cat(out, dim=2).transpose(1, 2).contiguous(), None


def measure(folder, lengths, threads, repeats):
    LENGTHS[:] = lengths
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="per_document")
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), fused=True)
    total = sum(lengths)
    ids = torch.randint(3, model.config.vocab_size, (1, total))
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    labels = ids[0].roll(-1)
    labels[torch.tensor(lengths).cumsum(0) - 1] = -100
    times = []
    for _ in range(repeats + 2):  # the first two warm up caches and the allocator
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
        functional.cross_entropy(logits, labels, ignore_index=-100).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        times.append(time.perf_counter() - start)
    seconds = statistics.median(times[2:])
    return {"framework": f"torch {torch.__version__}", "lengths": lengths, "tokens": total, "threads": threads,
            "seconds": seconds, "tokens_per_second": total / seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--lengths", nargs="+", default=["4096"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    AttentionInterface.register("per_document", per_document)
    for text in arguments.lengths:
        lengths = [int(n) for n in text.split(",")]
        print(json.dumps(measure(arguments.folder, lengths, arguments.threads, arguments.repeats)), flush=True)


if __name__ == "__main__":
    main()
