"""TFLOP/s of PyTorch's FlashAttention-2 on the shapes of benchmarks/cuda/flash_mma_bench.cu.

    python3 attention.py [repetitions]

Packs go through torch.nn.attention.varlen.varlen_attn, dense causal attention through scaled_dot_product_attention with
the flash backend forced. Grouped heads: the kernel takes fewer kv heads than heads where this PyTorch lets it; where it
does not, keys and values are expanded outside the timed region, which favours the peer. Medians between events.
"""
import statistics
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.varlen import varlen_attn

PACK = [16384, 512, 12288, 1024, 9000, 516, 7168, 1500, 5000, 2048, 4096, 2500, 3500]
REPETITIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 9


def median_seconds(work):
    times = []
    for i in range(REPETITIONS + 2):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        end.synchronize()
        if i >= 2:
            times.append(begin.elapsed_time(end) * 1e-3)
    return statistics.median(times)


def report(name, heads, kv_heads, size, pairs, attend, q, k, v, note=""):
    out = attend(q, k, v)
    gradient = torch.randn_like(out)
    forward = median_seconds(lambda: attend(q, k, v))
    backward = median_seconds(lambda: torch.autograd.grad(out, (q, k, v), gradient, retain_graph=True))
    operations = 4.0 * size * heads * pairs
    print(f"{name}, {heads}/{kv_heads} heads of {size}{note}\n"
          f"  forward {forward * 1e3:8.3f} ms {operations / forward * 1e-12:6.1f} TFLOP/s\n"
          f"  backward {backward * 1e3:7.3f} ms {2.5 * operations / backward * 1e-12:6.1f} TFLOP/s", flush=True)


def tensors(shape, kv_shape):
    return [torch.randn(s, device="cuda", dtype=torch.bfloat16, requires_grad=True)
            for s in (shape, kv_shape, kv_shape)]


def pack(heads, kv_heads, size):
    tokens, longest = sum(PACK), max(PACK)
    ends = torch.tensor([0] + PACK).cumsum(0).to("cuda", torch.int32)
    pairs = sum(n * (n + 1) // 2 for n in PACK)

    def attend(q, k, v):
        return varlen_attn(q, k, v, ends, ends, longest, longest, window_size=(-1, 0))

    q, k, v = tensors((tokens, heads, size), (tokens, kv_heads, size))
    note = ""
    if heads != kv_heads:
        try:
            attend(q, k, v)
        except Exception as failure:
            note = f" (expanded: {type(failure).__name__})"
            k, v = (x.detach().repeat_interleave(heads // kv_heads, 1).requires_grad_() for x in (k, v))
    report("pack of 64k tokens, varlen_attn", heads, kv_heads, size, pairs, attend, q, k, v, note)


def dense(heads, kv_heads, size, tokens=32768):
    def attend(q, k, v):
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1])

    # The layout of a fused projection: [batch, tokens, heads, size] seen as [batch, heads, tokens, size].
    q, k, v = (x.detach().transpose(1, 2).requires_grad_()
               for x in tensors((1, tokens, heads, size), (1, tokens, kv_heads, size)))
    report("dense causal 32k, flash SDPA", heads, kv_heads, size, tokens * (tokens + 1) // 2, attend, q, k, v)


if __name__ == "__main__":
    print(torch.cuda.get_device_name(), "PyTorch", torch.__version__)
    pack(32, 32, 128)
    pack(32, 8, 128)
    dense(32, 8, 128)
    pack(32, 32, 64)
    dense(32, 8, 64)
