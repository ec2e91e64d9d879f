"""The architecture of ChatGLM3-6B and GLM-4-9B (remote-code layout) in plain PyTorch, for small models.

Written from the published description: RMSNorm before each block; one fused query_key_value projection with a bias,
rows ordered queries, keys, values; keys and values in multi_query_group_num groups; rotation of the first half of each
head in interleaved pairs (0,1), (2,3), ... with inverse frequencies (10000 rope_ratio)^(-2i/(D/2)); output projection
without bias; SwiGLU whose fused dense_h_to_4h holds the gate rows, then the up rows; untied output layer.
"""

import math

import torch
from torch import nn
from torch.nn import functional


def rotate(x, positions, base):
    """x [T, heads, D]; the first half of D turns, the rest passes."""
    turned = x.shape[-1] // 2
    frequency = base ** (-torch.arange(0, turned, 2, dtype=x.dtype) / turned)
    angle = positions.to(x.dtype)[:, None, None] * frequency
    even, odd = x[..., 0:turned:2], x[..., 1:turned:2]
    pairs = torch.stack((even * angle.cos() - odd * angle.sin(), odd * angle.cos() + even * angle.sin()), dim=-1)
    return torch.cat((pairs.flatten(-2), x[..., turned:]), dim=-1)


class Norm(nn.Module):
    def __init__(self, size, epsilon):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads, self.groups = config["num_attention_heads"], config["multi_query_group_num"]
        self.dim = config["kv_channels"]
        self.base = 10000.0 * config.get("rope_ratio", 1)
        rows = (self.heads + 2 * self.groups) * self.dim
        self.query_key_value = nn.Linear(config["hidden_size"], rows, bias=config["add_qkv_bias"])
        self.dense = nn.Linear(self.heads * self.dim, config["hidden_size"], bias=config["add_bias_linear"])

    def forward(self, x):
        length = x.shape[0]
        widths = [self.heads * self.dim, self.groups * self.dim, self.groups * self.dim]
        q, k, v = (part.view(length, -1, self.dim) for part in self.query_key_value(x).split(widths, dim=-1))
        positions = torch.arange(length)
        q, k = rotate(q, positions, self.base), rotate(k, positions, self.base)
        share = self.heads // self.groups
        k, v = k.repeat_interleave(share, dim=1), v.repeat_interleave(share, dim=1)
        scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(self.dim)
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        return self.dense(torch.einsum("hqk,khd->qhd", scores.masked_fill(future, -math.inf).softmax(-1), v).flatten(1))


class Mlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, inner, bias = config["hidden_size"], config["ffn_hidden_size"], config["add_bias_linear"]
        self.dense_h_to_4h = nn.Linear(hidden, 2 * inner, bias=bias)
        self.dense_4h_to_h = nn.Linear(inner, hidden, bias=bias)

    def forward(self, x):
        gate, up = self.dense_h_to_4h(x).chunk(2, dim=-1)
        return self.dense_4h_to_h(functional.silu(gate) * up)


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.input_layernorm = Norm(config["hidden_size"], config["layernorm_epsilon"])
        self.self_attention = Attention(config)
        self.post_attention_layernorm = Norm(config["hidden_size"], config["layernorm_epsilon"])
        self.mlp = Mlp(config)

    def forward(self, x):
        x = x + self.self_attention(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class ChatGLM(nn.Module):
    """config: the dictionary of config.json. forward(ids [T]) gives logits [T, padded_vocab_size]."""

    def __init__(self, config):
        super().__init__()
        hidden, vocabulary = config["hidden_size"], config["padded_vocab_size"]
        self.transformer = nn.Module()
        self.transformer.embedding = nn.Module()
        self.transformer.embedding.word_embeddings = nn.Embedding(vocabulary, hidden)
        self.transformer.encoder = nn.Module()
        self.transformer.encoder.layers = nn.ModuleList(Layer(config) for _ in range(config["num_layers"]))
        self.transformer.encoder.final_layernorm = Norm(hidden, config["layernorm_epsilon"])
        self.transformer.output_layer = nn.Linear(hidden, vocabulary, bias=False)

    def forward(self, ids):
        x = self.transformer.embedding.word_embeddings(ids)
        for layer in self.transformer.encoder.layers:
            x = layer(x)
        return self.transformer.output_layer(self.transformer.encoder.final_layernorm(x))


def glm_twin(config, state):
    """The same model as GlmForCausalLM's configuration and tensors, to check one implementation by the other."""
    twin_config = {
        "model_type": "glm",
        "architectures": ["GlmForCausalLM"],
        "hidden_size": config["hidden_size"],
        "intermediate_size": config["ffn_hidden_size"],
        "num_hidden_layers": config["num_layers"],
        "num_attention_heads": config["num_attention_heads"],
        "num_key_value_heads": config["multi_query_group_num"],
        "head_dim": config["kv_channels"],
        "vocab_size": config["padded_vocab_size"],
        "max_position_embeddings": config["seq_length"],
        "rms_norm_eps": config["layernorm_epsilon"],
        "attention_bias": config["add_qkv_bias"],
        "tie_word_embeddings": False,
        "partial_rotary_factor": 0.5,
        "rope_theta": 10000.0 * config.get("rope_ratio", 1),
        "pad_token_id": None,
        "eos_token_id": 2,
    }
    q = config["num_attention_heads"] * config["kv_channels"]
    kv = config["multi_query_group_num"] * config["kv_channels"]
    twin = {
        "model.embed_tokens.weight": state["transformer.embedding.word_embeddings.weight"],
        "model.norm.weight": state["transformer.encoder.final_layernorm.weight"],
        "lm_head.weight": state["transformer.output_layer.weight"],
    }
    for i in range(config["num_layers"]):
        ours, theirs = f"transformer.encoder.layers.{i}.", f"model.layers.{i}."
        for kind in ("weight", "bias"):
            parts = state[f"{ours}self_attention.query_key_value.{kind}"].split([q, kv, kv])
            for name, part in zip(("q_proj", "k_proj", "v_proj"), parts):
                twin[f"{theirs}self_attn.{name}.{kind}"] = part
        twin[f"{theirs}self_attn.o_proj.weight"] = state[f"{ours}self_attention.dense.weight"]
        twin[f"{theirs}mlp.gate_up_proj.weight"] = state[f"{ours}mlp.dense_h_to_4h.weight"]
        twin[f"{theirs}mlp.down_proj.weight"] = state[f"{ours}mlp.dense_4h_to_h.weight"]
        for name in ("input_layernorm", "post_attention_layernorm"):
            twin[f"{theirs}{name}.weight"] = state[f"{ours}{name}.weight"]
    return twin_config, twin
