"""The peer of train_step_bench --model 8b --lora 32: LoRA steps of Llama-3-8B's shapes in transformers and peft.

    python3 lora_step.py [--tokens N | --lengths N,N/N,N] [--scored N] [--rank N] [--layers N] [--steps N]
                         [--checkpoint full|attention|none] [--backend cudnn|flash]

Random bf16 weights, adapters on q, k, v and o in float32 as peft keeps them, fused AdamW; the loss gathers the scored
rows before the head. full: whole layers are recomputed; attention: the same, but attention's output is saved (selective
checkpointing); none: everything is kept. One document uses scaled_dot_product_attention; with --lengths the documents of
a pack share one row of tokens, attended by varlen_attn, and packs are accumulated.
"""
import argparse
import functools
import statistics
import time

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

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
config = LlamaConfig(hidden_size=4096, intermediate_size=14336, num_hidden_layers=args.layers, num_attention_heads=32,
                     num_key_value_heads=8, head_dim=128, vocab_size=128256, tie_word_embeddings=False,
                     max_position_embeddings=131072, rope_theta=5e5, rms_norm_eps=1e-5, use_cache=False)
packs = [[int(n) for n in pack.split(",")] for pack in args.lengths.split("/")] if args.lengths else [[args.tokens]]
tokens = sum(sum(pack) for pack in packs)
at = {}  # the pack at hand


def varlen(module, query, key, value, attention_mask=None, scaling=None, **_):
    from torch.nn.attention.varlen import varlen_attn
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # [T, heads, D]
    repeat = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(repeat, 1) for x in (k, v))
    bounds, longest = at["bounds"], at["longest"]
    try:
        out = varlen_attn(q, k, v, bounds, bounds, longest, longest, is_causal=True)
    except TypeError:
        out = varlen_attn(q, k, v, bounds, bounds, longest, longest, window_size=(-1, 0))
    return out[None], None


if args.lengths:
    ALL_ATTENTION_FUNCTIONS.register("varlen", varlen)
with torch.device("cuda"):
    model = LlamaForCausalLM._from_config(config, attn_implementation="varlen" if args.lengths else "sdpa",
                                          dtype=torch.bfloat16)
model = get_peft_model(model, LoraConfig(r=args.rank, lora_alpha=args.rank, lora_dropout=0.0,
                                         target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], task_type="CAUSAL_LM"))
model.train()
if args.checkpoint != "none":
    kwargs = {"use_reentrant": False}
    if args.checkpoint == "attention":
        saved = {torch.ops.aten._scaled_dot_product_cudnn_attention.default,
                 torch.ops.aten._scaled_dot_product_flash_attention.default}

        def policy(context, operation, *_, **__):
            return CheckpointPolicy.MUST_SAVE if operation in saved else CheckpointPolicy.PREFER_RECOMPUTE

        kwargs["context_fn"] = functools.partial(create_selective_checkpoint_contexts, policy)
    model.base_model.model.gradient_checkpointing_enable(kwargs)
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-5, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
decoder, head = model.base_model.model.model, model.base_model.model.lm_head

batches = []
for pack in packs:
    ids = torch.randint(0, config.vocab_size, (1, sum(pack)), device="cuda")
    ends = torch.tensor(pack).cumsum(0).tolist()
    rows = torch.cat([torch.arange(max(end - n, end - 1 - args.scored) if args.scored else end - n, end - 1)
                      for n, end in zip(pack, ends)]).cuda()
    batches.append(dict(ids=ids, rows=rows, longest=max(pack),
                        positions=torch.cat([torch.arange(n) for n in pack])[None].cuda(),
                        bounds=torch.tensor([0, *ends], dtype=torch.int32, device="cuda")))
targets = sum(len(b["rows"]) for b in batches)


def step():
    total = 0.0
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION if args.backend == "cudnn" else SDPBackend.FLASH_ATTENTION):
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


times = []
for i in range(args.steps + 1):
    torch.cuda.synchronize()
    begin = time.perf_counter()
    loss = step()
    torch.cuda.synchronize()
    if i >= 1:
        times.append(time.perf_counter() - begin)
median = statistics.median(times)
print(f"{torch.cuda.get_device_name()}, transformers and peft, {tokens} tokens in {sum(map(len, packs))} documents, "
      f"{'varlen_attn' if args.lengths else args.backend}, checkpointing {args.checkpoint}: loss {loss:.4f}, "
      f"step {1e3 * median:.1f} ms, {tokens / median:.0f} tokens/s, "
      f"peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
