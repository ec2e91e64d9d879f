"""The peer of preference_step_bench: LOGO steps of Llama-3-8B's shapes with adapters in transformers and peft.

    python3 preference_step.py [--prompt N] [--answer N] [--rejected N] [--rank N] [--layers N] [--steps N]
                               [--rows together|apart|both] [--checkpoint full|attention|none] [--backend cudnn|flash]

As lora_step.py, but a step is one preference group as trainers hold it: a row of prompt and answer for the chosen
answer and each rejected one, all of one length, so that nothing is padded. together: one batch of all rows; apart: a
forward pass for each row, then one backward pass for all. Only the rows that predict answer tokens go through the head.
Tokens/s count the prompt once, as preference_step_bench does. Position ids are contiguous: attention costs the same.
"""
import argparse

import torch
import torch.nn.functional as F
from torch.nn.attention import sdpa_kernel

from steps import BACKENDS, adapters_8b, peak_gib, timed

parser = argparse.ArgumentParser()
parser.add_argument("--prompt", type=int, default=8192)
parser.add_argument("--answer", type=int, default=256)
parser.add_argument("--rejected", type=int, default=2)
parser.add_argument("--rank", type=int, default=32)
parser.add_argument("--layers", type=int, default=32)
parser.add_argument("--steps", type=int, default=4)
parser.add_argument("--rows", default="both")
parser.add_argument("--checkpoint", default="full")
parser.add_argument("--backend", default="cudnn")
args = parser.parse_args()

BETA, GAMMA, SFT = 10.0, 3.0, 0.1
torch.manual_seed(1)
decoder, head, trained, optimizer = adapters_8b(args.layers, args.rank, "sdpa", args.checkpoint)
vocabulary = head.weight.shape[0]
answers = 1 + args.rejected
prompt = torch.randint(0, vocabulary, (1, args.prompt), device="cuda").expand(answers, -1)
ids = torch.cat([prompt, torch.randint(0, vocabulary, (answers, args.answer), device="cuda")], 1)


def rewards(rows):
    """The mean log-probability of each row's answer tokens."""
    hidden = decoder(input_ids=rows).last_hidden_state[:, args.prompt - 1:-1]
    logits = head(hidden).float()
    return -F.cross_entropy(logits.flatten(0, 1), rows[:, args.prompt:].flatten(), reduction="none").view(
        len(rows), -1).mean(1)


def step(together):
    with sdpa_kernel(BACKENDS[args.backend]):
        r = rewards(ids) if together else torch.cat([rewards(row[None]) for row in ids])
        loss = -F.logsigmoid(BETA * (r[0] - r[1:].mean()) - GAMMA) - SFT * r[0]
        loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0, foreach=True)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item()


tokens = args.prompt + answers * args.answer
for rows in ["together", "apart"] if args.rows == "both" else [args.rows]:
    torch.cuda.reset_peak_memory_stats()
    what = (f"{torch.cuda.get_device_name()}, transformers and peft, prompt of {args.prompt} and {answers} answers of "
            f"{args.answer}, rows {rows}, {args.backend}, checkpointing {args.checkpoint}")
    try:
        median, loss = timed(lambda: step(rows == "together"), args.steps, 1)
    except torch.OutOfMemoryError:
        median = None
    if median is None:  # here, since an exception that is being handled holds the tensors of its frames
        print(f"{what}: out of memory")
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        continue
    print(f"{what}: loss {loss:.4f}, step {1e3 * median:.1f} ms, "
          f"{tokens / median:.0f} tokens/s of prompts and answers, peak {peak_gib():.1f} GiB")
