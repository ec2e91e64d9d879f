"""The peer of train_step_bench: full fine-tuning steps of Llama-3.2-1B's shapes with random weights in transformers.

    python3 full_step.py [--tokens N | --lengths N,N,...] [--layers N] [--steps N] [--backend cudnn|flash]

bf16 weights with float master weights (a copy that torch's fused AdamW updates and that is written back), gradients in
bf16 as autograd makes them, whole-layer checkpointing, the loss in chunks of 4,096 rows that recompute their logits. One
document uses scaled_dot_product_attention; with --lengths documents share one row of tokens, attended by varlen_attn.
"""
import argparse

import torch
import torch.nn.functional as F
from torch.nn.attention import sdpa_kernel
from torch.utils.checkpoint import checkpoint
from transformers import LlamaConfig, LlamaForCausalLM

from steps import BACKENDS, peak_gib, register_varlen, timed

parser = argparse.ArgumentParser()
parser.add_argument("--tokens", type=int, default=32768)
parser.add_argument("--layers", type=int, default=16)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--lengths", default="")
parser.add_argument("--backend", default="cudnn")
args = parser.parse_args()

torch.manual_seed(1)
config = LlamaConfig(hidden_size=2048, intermediate_size=8192, num_hidden_layers=args.layers, num_attention_heads=32,
                     num_key_value_heads=8, head_dim=64, vocab_size=128256, tie_word_embeddings=True,
                     max_position_embeddings=131072, rope_theta=5e5, rms_norm_eps=1e-5, use_cache=False)
lengths = [int(n) for n in args.lengths.split(",")] if args.lengths else [args.tokens]
args.tokens = sum(lengths)
bounds = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32, device="cuda")
if args.lengths:
    register_varlen({"bounds": bounds, "longest": max(lengths)})
with torch.device("cuda"):
    model = LlamaForCausalLM._from_config(config, attn_implementation="varlen" if args.lengths else "sdpa",
                                          dtype=torch.bfloat16)
model.train()
model.gradient_checkpointing_enable({"use_reentrant": False})
parameters = list(model.parameters())
masters = [p.detach().float() for p in parameters]
for m in masters:
    m.requires_grad_()
optimizer = torch.optim.AdamW(masters, lr=1e-5, betas=(0.9, 0.95), weight_decay=0.0, fused=True)

ids = torch.randint(0, config.vocab_size, (1, args.tokens), device="cuda")
positions = torch.cat([torch.arange(n) for n in lengths])[None].cuda()
labels = torch.full((args.tokens,), -100, device="cuda")
labels[:-1] = ids[0, 1:]
for end in bounds[1:].tolist():
    labels[end - 1] = -100
targets = int((labels >= 0).sum())


def chunk_loss(hidden, target):
    return F.cross_entropy(model.lm_head(hidden).float(), target, reduction="sum", ignore_index=-100)


def step():
    with sdpa_kernel(BACKENDS[args.backend]):
        hidden = model.model(input_ids=ids, position_ids=positions).last_hidden_state[0]
        loss = sum(checkpoint(chunk_loss, hidden[i:i + 4096], labels[i:i + 4096], use_reentrant=False)
                   for i in range(0, args.tokens, 4096)) / targets
        loss.backward()
    for m, p in zip(masters, parameters):
        m.grad, p.grad = p.grad.float(), None
    torch.nn.utils.clip_grad_norm_(masters, 1.0, foreach=True)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        torch._foreach_copy_(parameters, masters)
    return loss.item()


median, loss = timed(step, args.steps, 2)
print(f"{torch.cuda.get_device_name()}, transformers, {args.tokens} tokens in {len(lengths)} documents, "
      f"{'varlen_attn' if args.lengths else args.backend}: loss {loss:.4f}, step {1e3 * median:.1f} ms, "
      f"{args.tokens / median:.0f} tokens/s, peak {peak_gib():.1f} GiB")
