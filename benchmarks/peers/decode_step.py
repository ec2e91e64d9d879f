"""The peer of decode_bench: generate() of transformers with a static cache, Llama-3-8B's shapes, random bf16 weights.

    python3 decode_step.py [--context N]... [--tokens N] [--layers N] [--eager] [--compiled]

Prints milliseconds a token between two tokens of one greedy call, after the first ones. By itself generate() compiles
the decoding step of a static cache on a GPU; --eager turns that off, and without either option both are timed. The
cache is as long as the context and the new tokens; without compilation the prompt enters in chunks.
"""
import argparse
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM, StoppingCriteria, StoppingCriteriaList

parser = argparse.ArgumentParser()
parser.add_argument("--context", type=int, action="append")
parser.add_argument("--tokens", type=int, default=40)
parser.add_argument("--layers", type=int, default=32)
parser.add_argument("--chunk", type=int, default=2048)
parser.add_argument("--eager", action="store_true")
parser.add_argument("--compiled", action="store_true")
args = parser.parse_args()

config = LlamaConfig(hidden_size=4096, intermediate_size=14336, num_hidden_layers=args.layers, num_attention_heads=32,
                     num_key_value_heads=8, head_dim=128, vocab_size=128256, tie_word_embeddings=False,
                     max_position_embeddings=131072, rope_theta=5e5, rms_norm_eps=1e-5)
with torch.device("cuda"):
    model = LlamaForCausalLM._from_config(config, attn_implementation="sdpa", dtype=torch.bfloat16).eval()


class Clock(StoppingCriteria):
    """Notes when each token is there."""

    def __init__(self):
        self.times = []

    def __call__(self, ids, scores, **_):
        torch.cuda.synchronize()
        self.times.append(time.perf_counter())
        return torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)


for context in args.context or [1024, 8192, 32768]:
    ids = torch.randint(0, 128256, (1, context), device="cuda")
    for disable in [True, False] if args.eager == args.compiled else [args.eager]:
        clock = Clock()
        skipped = 3 if disable else 12
        begin = time.perf_counter()
        try:
            with torch.no_grad():
                model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False,
                               max_new_tokens=args.tokens + skipped, cache_implementation="static",
                               disable_compile=disable, prefill_chunk_size=args.chunk if disable else None,
                               eos_token_id=None, pad_token_id=0,
                               stopping_criteria=StoppingCriteriaList([clock]))
        except (RuntimeError, torch.OutOfMemoryError) as error:
            print(f"context {context}, {'eager' if disable else 'compiled'}: {str(error).splitlines()[0][:200]}")
            torch.cuda.empty_cache()
            continue
        steps = sorted(b - a for a, b in zip(clock.times[skipped - 1:], clock.times[skipped:]))
        print(f"{torch.cuda.get_device_name()}, transformers, context {context}, "
              f"{'eager' if disable else 'compiled'}: a token {1e3 * steps[len(steps) // 2]:.3f} ms, fastest "
              f"{1e3 * steps[0]:.3f} ms, in all {time.perf_counter() - begin:.1f} s, first token after "
              f"{clock.times[0] - begin:.1f} s", flush=True)
