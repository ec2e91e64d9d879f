"""The peer of train_step_bench --model 8b --lora 32: LoRA steps of Llama-3-8B's shapes in transformers and peft.

    python3 lora_step.py [--tokens N | --lengths N,N/N,N] [--scored N] [--rank N] [--layers N] [--steps N]
                         [--checkpoint full|attention|none] [--backend cudnn|flash]

Random bf16 weights, adapters on q, k, v and o in float32 as peft keeps them, fused AdamW; the loss gathers the scored
rows before the head. full: whole layers are recomputed; attention: the same, but attention's output is saved (selective
checkpointing); none: everything is kept. One document uses scaled_dot_product_attention; with --lengths the documents of
a pack share one row of tokens, attended by varlen_attn, and packs are accumulated.
"""
import argparse

import torch
import torch.nn.functional as F
from torch.nn.attention import sdpa_kernel

from steps import BACKENDS, adapters_8b, peak_gib, register_varlen, timed

parser = argparse.ArgumentParser()
parser.add_argument("--tokens", type=int, default=32768)
parser.add_argument("--scored", type=int, default=512)
parser.add_argument("--rank", type=int, default=32)
parser.add_argument("--layers", type=int, default=32)
parser.add_argument("--steps", type=int, default=4)
parser.add_argument("--lengths", default="")
parser.add_argument("--checkpoint", default="full")
parser.add_argument("--backend", default="cudnn")
args = parser.parse_args()

torch.manual_seed(1)
packs = [[int(n) for n in pack.split(",")] for pack in args.lengths.split("/")] if args.lengths else [[args.tokens]]
tokens = sum(sum(pack) for pack in packs)
at = {}  # the pack at hand
if args.lengths:
    register_varlen(at)
decoder, head, trained, optimizer = adapters_8b(args.layers, args.rank, "varlen" if args.lengths else "sdpa",
                                                args.checkpoint)

batches = []
for pack in packs:
    ids = torch.randint(0, 128256, (1, sum(pack)), device="cuda")
    ends = torch.tensor(pack).cumsum(0).tolist()
    rows = torch.cat([torch.arange(max(end - n, end - 1 - args.scored) if args.scored else end - n, end - 1)
                      for n, end in zip(pack, ends)]).cuda()
    batches.append(dict(ids=ids, rows=rows, longest=max(pack),
                        positions=torch.cat([torch.arange(n) for n in pack])[None].cuda(),
                        bounds=torch.tensor([0, *ends], dtype=torch.int32, device="cuda")))
targets = sum(len(b["rows"]) for b in batches)


def step():
    total = 0.0
    with sdpa_kernel(BACKENDS[args.backend]):
        for batch in batches:
            at.update(batch)
            hidden = decoder(input_ids=batch["ids"], position_ids=batch["positions"]).last_hidden_state[0]
            logits = head(hidden[batch["rows"]]).float()
            loss = F.cross_entropy(logits, batch["ids"][0, batch["rows"] + 1], reduction="sum") / targets
            loss.backward()
            total += loss.item()
    torch.nn.utils.clip_grad_norm_(trained, 1.0, foreach=True)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


median, loss = timed(step, args.steps, 1)
print(f"{torch.cuda.get_device_name()}, transformers and peft, {tokens} tokens in {sum(map(len, packs))} documents, "
      f"{'varlen_attn' if args.lengths else args.backend}, checkpointing {args.checkpoint}: loss {loss:.4f}, "
      f"step {1e3 * median:.1f} ms, {tokens / median:.0f} tokens/s, "
      f"peak {peak_gib():.1f} GiB")
