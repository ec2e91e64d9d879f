"""Makes a tiny random model of each family and the numbers that every implementation must give for it.

    python tests/oracle/model_cases.py [--out tests/data/models] [--only NAME ...]

Each folder holds config.json, model.safetensors and oracle.safetensors. The weights are stored in the type that the
family is published in; the numbers come from the same weights in double precision throughout (double_precision.py).
oracle.safetensors holds, for a stream of T tokens made of documents end to end (each sees only itself, its positions
start at 0):
    ids        I64 [T]     tokens                      lengths    I64 [documents]
    labels     I64 [T]     label of row t, -100: none  log_probs  F64 [T]  log p(label), 0 where there is none
    logits     F64 [T, V]                              loss       F64 [1]  mean of -log_probs over the labels
    grad.NAME  F64         d loss / d tensor NAME of model.safetensors
"""

import argparse
import json
import pathlib
import shutil
import warnings

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

import chatglm
from double_precision import everywhere, only_double, origin

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
warnings.filterwarnings("ignore")


def llama(**changes):
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "intermediate_size": 44,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 83,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2,
        "torch_dtype": "float32", "use_cache": True} | changes


def small(**changes):
    return llama(hidden_size=24, num_attention_heads=3, num_key_value_heads=1, head_dim=8, intermediate_size=32,
                 vocab_size=67) | changes


def mistral(**changes):
    return {key: value for key, value in small(**changes).items() if key not in ("attention_bias", "mlp_bias")} | {
        "architectures": ["MistralForCausalLM"], "model_type": "mistral", "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8}


def qwen2(**changes):
    return mistral(rope_theta=1000000.0, rms_norm_eps=1e-6, use_sliding_window=False, sliding_window=32768,
                   max_window_layers=2, hidden_size=24) | {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "num_attention_heads": 3,
        "num_key_value_heads": 1} | changes


def chatglm_config(**changes):
    return {
        "_name_or_path": "THUDM/chatglm3-6b", "model_type": "chatglm", "architectures": ["ChatGLMModel"],
        "add_bias_linear": False, "add_qkv_bias": True, "apply_query_key_layer_scaling": True,
        "apply_residual_connection_post_layernorm": False, "attention_dropout": 0.0, "attention_softmax_in_fp32": True,
        "bias_dropout_fusion": True, "ffn_hidden_size": 36, "fp32_residual_connection": False, "hidden_dropout": 0.0,
        "hidden_size": 24, "kv_channels": 8, "layernorm_epsilon": 1e-05, "multi_query_attention": True,
        "multi_query_group_num": 2, "num_attention_heads": 4, "num_layers": 2, "original_rope": True,
        "padded_vocab_size": 72, "post_layer_norm": True, "rmsnorm": True, "seq_length": 64, "use_cache": True,
        "torch_dtype": "float16", "tie_word_embeddings": False, "eos_token_id": 2, "pad_token_id": 0} | changes


# name: config.json as published folders of the family spell it, document lengths, and departures:
#   spelling="new": written by transformers 5 (rope_parameters, dtype) instead; store: type of model.safetensors;
#   surplus: tables that old exporters saved beside the weights, to be ignored.
CASES = {
    "llama": dict(config=llama(hidden_size=24, num_attention_heads=3, num_key_value_heads=3, rope_scaling=None),
                  lengths=[15, 9], surplus=True),
    "llama-tied": dict(config=llama(tie_word_embeddings=True), lengths=[24], spelling="new"),
    "llama-biases": dict(config=small(attention_bias=True, mlp_bias=True), lengths=[13, 1, 9]),
    "llama-linear": dict(config=small(rope_scaling={"type": "linear", "factor": 4.0}), lengths=[14, 8]),
    "llama-dynamic": dict(config=small(max_position_embeddings=12, head_dim=16, num_attention_heads=2,
                                       rope_scaling={"type": "dynamic", "factor": 2.0}), lengths=[20, 7, 15]),
    "llama-yarn": dict(config=small(head_dim=16, num_attention_heads=2, max_position_embeddings=128,
                                    rope_scaling={"rope_type": "yarn", "factor": 4.0,
                                                  "original_max_position_embeddings": 32, "beta_fast": 4.0}),
                       lengths=[17, 7], spelling="new"),
    "llama3": dict(config=small(head_dim=16, num_attention_heads=2, max_position_embeddings=512,
                                rope_theta=500.0, eos_token_id=[2, 8],
                                rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                              "high_freq_factor": 4.0, "original_max_position_embeddings": 64}),
                   lengths=[16, 8]),
    "smollm2": dict(config=small(tie_word_embeddings=True, rope_theta=100000.0, num_hidden_layers=3,
                                 rope_interleaved=False, torch_dtype="bfloat16"), lengths=[12, 10],
                    store=torch.bfloat16),
    "mistral": dict(config=mistral(sliding_window=None, rope_theta=1000000.0), lengths=[15, 9]),
    "mistral-window": dict(config=mistral(sliding_window=8), lengths=[21, 5, 8]),
    "qwen2": dict(config=qwen2(), lengths=[15, 9]),
    "qwen2-window": dict(config=qwen2(use_sliding_window=True, sliding_window=6, max_window_layers=1,
                                      tie_word_embeddings=True), lengths=[18, 6], spelling="new"),
    "qwen3": dict(config=qwen2(architectures=["Qwen3ForCausalLM"], model_type="qwen3", head_dim=12,
                               attention_bias=False, tie_word_embeddings=True), lengths=[15, 9]),
    "glm": dict(config=mistral(rms_norm_eps=1.5625e-07) | {
        "architectures": ["GlmForCausalLM"], "model_type": "glm", "attention_bias": True, "pad_token_id": 0,
        "partial_rotary_factor": 0.5, "eos_token_id": [2, 3, 4], "torch_dtype": "bfloat16"}, lengths=[15, 9],
        store=torch.bfloat16),
    "chatglm3": dict(config=chatglm_config(), lengths=[15, 9], store=torch.float16, surplus=True),
    "glm4-remote": dict(config=chatglm_config(_name_or_path="THUDM/glm-4-9b", rope_ratio=500, kv_channels=12,
                                              num_attention_heads=2, multi_query_group_num=1,
                                              layernorm_epsilon=1.5625e-07, torch_dtype="bfloat16",
                                              eos_token_id=[2, 3, 4]),
                        lengths=[15, 9], store=torch.bfloat16),
}


def randomize(model, generator):
    """Values at which nothing is trivial: norms off 1, biases off 0, activations and scores of order 1."""
    with torch.no_grad():
        for name, value in sorted(model.named_parameters()):
            noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            if value.dim() == 1:
                value.copy_((1.0 if "norm" in name else 0.0) + 0.2 * noise)
            else:
                value.copy_(noise * (0.5 if "embed" in name else 1.2 / value.shape[1] ** 0.5))


def old_tables(config, store):
    """inv_freq as exporters of 2023 saved it."""
    if config["model_type"] == "chatglm":
        turned = config["kv_channels"] // 2
        table = 10000.0 ** (-torch.arange(0, turned, 2) / turned)
        return {"transformer.rotary_pos_emb.inv_freq": table.to(store)}
    dim = config["hidden_size"] // config["num_attention_heads"]
    table = config["rope_theta"] ** (-torch.arange(0, dim, 2) / dim)
    names = [f"model.layers.{i}.self_attn.rotary_emb.inv_freq" for i in range(config["num_hidden_layers"])]
    return {name: table.clone() for name in names}


def make_folder(folder, case, generator):
    config, store = case["config"], case.get("store", torch.float32)
    folder.mkdir(parents=True, exist_ok=True)
    if config["model_type"] == "chatglm":
        model = chatglm.ChatGLM(config)
    else:
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    if case.get("spelling") == "new":
        model.config.architectures = config["architectures"]
        model.config.save_pretrained(folder)
    else:
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    randomize(model, generator)
    weights = {name: value.detach().to(store).contiguous() for name, value in model.named_parameters()}
    if case.get("surplus"):
        weights |= old_tables(config, store)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def load_double(folder, attention="eager"):
    """The folder as a double-precision module: ids [T] -> logits [T, V]; a fresh one for every document, because
    dynamic NTK remembers the longest sequence it has seen."""
    raw = json.loads((folder / "config.json").read_text())
    weights = {name: value.double() for name, value in load_file(folder / "model.safetensors").items()
               if not name.endswith("inv_freq")}
    if raw["model_type"] == "chatglm":
        model = chatglm.ChatGLM(raw)
        model.load_state_dict(weights)
        return model, model
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float64,
                                             attn_implementation=attention)
    missing = model.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys and set(missing.missing_keys) <= {"lm_head.weight"}, missing
    model.tie_weights()
    assert model.model.rotary_emb.inv_freq.dtype == torch.float64
    return model, lambda ids: model(input_ids=ids[None], use_cache=False).logits[0]


def run_documents(folder, ids, lengths, labels):
    """Logits of every document by itself, the loss over all, and its gradients by tensor name."""
    logits, grads, total, count = [], {}, 0.0, int((labels >= 0).sum())
    for part, target in zip(ids.split(lengths), labels.split(lengths)):
        model, forward = load_double(folder)
        model.train()
        with only_double():
            out = forward(part)
            loss = functional.cross_entropy(out, target, ignore_index=-100, reduction="sum") / count
            loss.backward()
        total += loss.item()
        logits.append(out.detach())
        for name, value in model.named_parameters():
            grads[name] = grads.get(name, 0) + (value.grad if value.grad is not None else torch.zeros_like(value))
    return torch.cat(logits), total, grads


def check_folder(name, folder, case, ids, lengths, logits):
    """What can be checked here: float32 from_pretrained, the sdpa path, the native twin of ChatGLM."""
    parts = list(ids.split(lengths))
    if case["config"]["model_type"] == "chatglm":
        config, state = chatglm.glm_twin(case["config"], load_double(folder)[0].state_dict())
        with everywhere():
            twin = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), dtype=torch.float64,
                                                    attn_implementation="eager")
            twin.load_state_dict(state)
            with torch.no_grad():
                other = torch.cat([twin(input_ids=part[None], use_cache=False).logits[0] for part in parts])
        assert (other - logits).abs().max() < 1e-12, f"{name}: GlmForCausalLM differs by {(other - logits).abs().max()}"
        return
    with everywhere(), torch.no_grad():
        other = torch.cat([load_double(folder, attention="sdpa")[1](part) for part in parts])
    assert (other - logits).abs().max() < 1e-12, f"{name}: sdpa differs by {(other - logits).abs().max()}"
    with torch.no_grad():
        single = torch.cat([AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(part[None]).logits[0]
                            for part in parts])
    assert (single - logits).abs().max() < 1e-3, f"{name}: float32 differs by {(single - logits).abs().max()}"


def make_case(name, case, out):
    generator = torch.Generator().manual_seed(1000 + list(CASES).index(name))
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    with everywhere():
        make_folder(folder, case, generator)
    config, lengths = case["config"], case["lengths"]
    vocabulary = config.get("vocab_size") or config["padded_vocab_size"]
    ids = torch.randint(3, vocabulary, (sum(lengths),), generator=generator)
    labels = torch.full_like(ids, -100)
    start = 0
    for length in lengths:
        scored = torch.rand(length - 1, generator=generator) < 0.75  # about a quarter of the rows carries no label
        labels[start:start + length - 1] = torch.where(scored, ids[start + 1:start + length], -100)
        start += length
    with everywhere():
        logits, loss, grads = run_documents(folder, ids, lengths, labels)
    check_folder(name, folder, case, ids, lengths, logits)
    log_probs = functional.log_softmax(logits, -1).gather(1, labels.clamp(min=0)[:, None])[:, 0] * (labels >= 0)
    assert abs(-log_probs.sum().item() / int((labels >= 0).sum()) - loss) < 1e-12
    tensors = {"ids": ids, "lengths": torch.tensor(lengths), "labels": labels, "log_probs": log_probs,
               "logits": logits, "loss": torch.tensor([loss], dtype=torch.float64)}
    tensors |= {f"grad.{key}": value.contiguous() for key, value in grads.items()}
    save_file(tensors, folder / "oracle.safetensors", metadata=origin("tests/oracle/model_cases.py"))
    for file in folder.iterdir():
        file.chmod(0o644)
    smallest = min(value.abs().max().item() for value in grads.values())
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{name}: loss {loss:.6f}, smallest gradient tensor reaches {smallest:.2e}, {size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/data/models"))
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.only:
        make_case(name, CASES[name], arguments.out)


if __name__ == "__main__":
    main()
