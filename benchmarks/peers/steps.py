"""What the peers of training steps share: a clock, attention over a pack's documents, the 8B model with adapters."""
import functools
import statistics
import time

import torch
from torch.nn.attention import SDPBackend
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

BACKENDS = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}


def timed(step, steps, skipped):
    """The median seconds of `steps` calls after `skipped` others, and what the last one returned."""
    times = []
    for i in range(steps + skipped):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        result = step()
        torch.cuda.synchronize()
        if i >= skipped:
            times.append(time.perf_counter() - begin)
    return statistics.median(times), result


def peak_gib():
    return torch.cuda.max_memory_allocated() / 2**30


def register_varlen(pack):
    """Attention "varlen": the documents of pack["bounds"], the longest of pack["longest"] tokens, see themselves."""
    def varlen(module, query, key, value, attention_mask=None, scaling=None, **_):
        from torch.nn.attention.varlen import varlen_attn
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # [T, heads, D]
        repeat = q.shape[1] // k.shape[1]
        k, v = (x.repeat_interleave(repeat, 1) for x in (k, v))
        bounds, longest = pack["bounds"], pack["longest"]
        try:
            out = varlen_attn(q, k, v, bounds, bounds, longest, longest, is_causal=True)
        except TypeError:
            out = varlen_attn(q, k, v, bounds, bounds, longest, longest, window_size=(-1, 0))
        return out[None], None

    ALL_ATTENTION_FUNCTIONS.register("varlen", varlen)


def checkpointing(kind):
    """Arguments of gradient_checkpointing_enable: layers as a whole, or with "attention" all but attention's output."""
    arguments = {"use_reentrant": False}
    if kind == "attention":
        from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts
        saved = {torch.ops.aten._scaled_dot_product_cudnn_attention.default,
                 torch.ops.aten._scaled_dot_product_flash_attention.default}

        def policy(context, operation, *_, **__):
            return CheckpointPolicy.MUST_SAVE if operation in saved else CheckpointPolicy.PREFER_RECOMPUTE

        arguments["context_fn"] = functools.partial(create_selective_checkpoint_contexts, policy)
    return arguments


def adapters_8b(layers, rank, attention, checkpoint):
    """Llama-3-8B's shapes with random bf16 weights and adapters on q, k, v and o in float32, as peft keeps them.

    Returns decoder, head, the trained parameters and fused AdamW over them. `checkpoint`: full, attention or none.
    """
    from peft import LoraConfig, get_peft_model
    config = LlamaConfig(hidden_size=4096, intermediate_size=14336, num_hidden_layers=layers, num_attention_heads=32,
                         num_key_value_heads=8, head_dim=128, vocab_size=128256, tie_word_embeddings=False,
                         max_position_embeddings=131072, rope_theta=5e5, rms_norm_eps=1e-5, use_cache=False)
    with torch.device("cuda"):
        model = LlamaForCausalLM._from_config(config, attn_implementation=attention, dtype=torch.bfloat16)
    model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0,
                                             target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
                                             task_type="CAUSAL_LM"))
    model.train()
    if checkpoint != "none":
        model.base_model.model.gradient_checkpointing_enable(checkpointing(checkpoint))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    return model.base_model.model.model, model.base_model.model.lm_head, trained, optimizer
