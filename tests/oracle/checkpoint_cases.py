"""Writes tests/data/checkpoint: configurations, safetensors files and PyTorch files with what the reference libraries
make of them. Needs torch, transformers (5.x) and safetensors. Run: python tests/oracle/checkpoint_cases.py"""
import collections
import json
import pathlib
import struct
import tempfile
import zipfile

import safetensors
import safetensors.torch
import torch
import transformers

OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "checkpoint"


# --- config.json -----------------------------------------------------------------------------------------------------

SIZES = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4, vocab_size=40)
LLAMA = dict(architectures=["LlamaForCausalLM"], model_type="llama", **SIZES)
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
          "rope_type": "llama3"}
MISTRAL = dict(architectures=["MistralForCausalLM"], model_type="mistral", num_key_value_heads=2, **SIZES)
QWEN2 = dict(architectures=["Qwen2ForCausalLM"], model_type="qwen2", num_key_value_heads=2, **SIZES)
QWEN3 = dict(architectures=["Qwen3ForCausalLM"], model_type="qwen3", num_key_value_heads=2, **SIZES)
GLM = dict(architectures=["GlmForCausalLM"], model_type="glm", num_key_value_heads=2, head_dim=16, pad_token_id=0,
           **SIZES)

CONFIGS = {
    "llama_1": dict(LLAMA, rms_norm_eps=1e-6, max_position_embeddings=2048),
    "llama_2_grouped": dict(LLAMA, num_key_value_heads=2, rms_norm_eps=1e-5, rope_theta=2e6, rope_scaling=None,
                            pretraining_tp=2, attention_bias=False, max_position_embeddings=65536),
    "llama_null_heads": dict(LLAMA, num_key_value_heads=None, head_dim=None),
    "llama_biases": dict(LLAMA, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "llama_head_dim": dict(LLAMA, head_dim=16, num_key_value_heads=1),
    "llama_3_1": dict(LLAMA, num_key_value_heads=2, rope_theta=500000.0, rope_scaling=LLAMA3,
                      max_position_embeddings=131072, bos_token_id=1, eos_token_id=[3, 8, 9]),
    "llama_3_1_new_form": dict(LLAMA, num_key_value_heads=2, max_position_embeddings=131072,
                               rope_parameters=dict(LLAMA3, rope_theta=500000.0)),
    "llama_linear": dict(LLAMA, rope_scaling={"type": "linear", "factor": 4.0}),
    "llama_dynamic": dict(LLAMA, rope_scaling={"type": "dynamic", "factor": 2.0}, max_position_embeddings=4096),
    "llama_yarn": dict(LLAMA, rope_scaling={"type": "yarn", "factor": 16.0, "original_max_position_embeddings": 4096,
                                            "finetuned": True}, max_position_embeddings=65536),
    "llama_yarn_all": dict(LLAMA, rope_theta=1e6, max_position_embeddings=131072, rope_scaling={
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768, "beta_fast": 24, "beta_slow": 2,
        "mscale": 0.7, "mscale_all_dim": 1.0, "truncate": False}),
    "llama_yarn_attention": dict(LLAMA, max_position_embeddings=16384, rope_parameters={
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096, "attention_factor": 1.25,
        "rope_theta": 10000.0}),
    "mistral_0_1": dict(MISTRAL, sliding_window=8, rope_theta=10000.0, max_position_embeddings=32768),
    "mistral_0_2": dict(MISTRAL, sliding_window=None, rope_theta=1e6, max_position_embeddings=32768),
    "mistral_no_window_key": MISTRAL,
    "qwen2": dict(QWEN2, use_sliding_window=False, sliding_window=131072, max_window_layers=2, rope_theta=1e6),
    "qwen2_sliding": dict(QWEN2, use_sliding_window=True, sliding_window=8, max_window_layers=3),
    "qwen2_layer_types": dict(QWEN2, use_sliding_window=True, sliding_window=8, max_window_layers=0, layer_types=[
        "full_attention", "sliding_attention", "full_attention", "sliding_attention"]),
    "qwen2_tied": dict(QWEN2, tie_word_embeddings=True, use_sliding_window=False, sliding_window=None),
    "qwen3": dict(QWEN3, head_dim=16, rope_theta=1e6, tie_word_embeddings=True),
    "qwen3_default_head": dict(QWEN3),
    "qwen3_biased": dict(QWEN3, head_dim=8, attention_bias=True),
    "glm": dict(GLM, partial_rotary_factor=0.5, attention_bias=True, rms_norm_eps=1.5625e-07),
    "glm_no_bias_new_form": dict(GLM, attention_bias=False, rope_parameters={
        "rope_type": "default", "rope_theta": 20000.0, "partial_rotary_factor": 0.25}),
}


def config_cases():
    """What transformers makes of each configuration: sizes, per-layer windows, frequencies, tensor names and shapes."""
    cases = []
    for name, config in CONFIGS.items():
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "config.json").write_text(json.dumps(config))
            read = transformers.AutoConfig.from_pretrained(folder)
            read._attn_implementation = "eager"
            model = transformers.AutoModelForCausalLM.from_config(read)
        attention = model.model.layers[0].self_attn
        rope = model.model.rotary_emb
        windows = [getattr(layer.self_attn, "sliding_window", None) for layer in model.model.layers]
        if config["model_type"] == "mistral":
            windows = [read.sliding_window] * read.num_hidden_layers
        eos = read.eos_token_id
        tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
        cases.append(dict(
            name=name, config=config, head_dim=attention.head_dim,
            kv_heads=attention.k_proj.out_features // attention.head_dim,
            epsilon=model.model.norm.variance_epsilon, max_positions=read.max_position_embeddings, tied=tied,
            bos=-1 if read.bos_token_id is None else read.bos_token_id,
            eos=[] if eos is None else eos if isinstance(eos, list) else [eos],
            windows=[0 if w is None else w for w in windows],
            frequencies=rope.inv_freq.double().tolist(), attention_scaling=rope.attention_scaling,
            tensors={key: list(value.shape) for key, value in model.state_dict().items()
                     if not (tied and key == "lm_head.weight")}))
    return cases


# --- safetensors -----------------------------------------------------------------------------------------------------


def raw(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


SAFETENSORS = {
    "valid": raw({"a": tensor(), "__metadata__": {"k": "v"}}, bytes(8)),
    "valid_empty": raw({}),
    "valid_spaces": raw(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}   ', bytes(8)),
    "valid_zero_size": raw({"z": tensor(shape=(0, 3), offsets=(0, 0)), "a": tensor()}, bytes(8)),
    "valid_scalar": raw({"a": tensor(shape=(), offsets=(0, 4))}, bytes(4)),
    "valid_order": raw({"b": tensor(offsets=(8, 16)), "a": tensor()}, bytes(16)),
    "valid_null_metadata": raw({"a": tensor(), "__metadata__": None}, bytes(8)),
    "valid_unknown_key": raw({"a": dict(tensor(), more=1)}, bytes(8)),
    "empty_file": b"",
    "seven_bytes": bytes(7),
    "truncated_header": raw({"a": tensor()})[:20],
    "truncated_data": raw({"a": tensor()}, bytes(7)),
    "header_past_limit": raw({"a": tensor()}, bytes(8), length=100_000_001),
    "header_past_file": raw({"a": tensor()}, length=100_000),
    "header_length_overflow": raw({"a": tensor()}, bytes(8), length=2**64 - 1),
    "header_empty": raw(b""),
    "bad_json": raw(b'{"a": '),
    "bad_utf8": raw(b'{"a\xff":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)),
    "array_header": raw(b"[]"),
    "number_header": raw(b"1"),
    "text_after_json": raw(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} x', bytes(8)),
    "duplicate_key_in_tensor": raw(b'{"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}}', bytes(8)),
    "hole": raw({"a": tensor(), "b": tensor(offsets=(12, 20))}, bytes(20)),
    "hole_at_start": raw({"a": tensor(offsets=(4, 12))}, bytes(12)),
    "overlap": raw({"a": tensor(), "b": tensor(offsets=(4, 12))}, bytes(12)),
    "same_place": raw({"a": tensor(), "b": tensor()}, bytes(8)),
    "begin_past_end": raw({"a": tensor(offsets=(8, 0))}, bytes(8)),
    "offset_past_file": raw({"a": tensor(shape=(2**20,), offsets=(0, 2**22))}, bytes(8)),
    "size_too_small": raw({"a": tensor(shape=(3,))}, bytes(8)),
    "size_too_large": raw({"a": tensor(shape=(1,))}, bytes(8)),
    "shape_overflow": raw({"a": tensor(shape=(2**32, 2**32, 2))}, bytes(8)),
    "shape_bytes_overflow": raw({"a": tensor(shape=(2**62, 1), offsets=(0, 0))}),
    "shape_negative": raw({"a": tensor(shape=(-2,))}, bytes(8)),
    "shape_fraction": raw({"a": tensor(shape=(2.0,))}, bytes(8)),
    "shape_past_64_bits": raw(b'{"a":{"dtype":"F32","shape":[36893488147419103232],"data_offsets":[0,8]}}', bytes(8)),
    "unknown_dtype": raw({"a": tensor(dtype="F33")}, bytes(8)),
    "number_dtype": raw({"a": tensor(dtype=1)}, bytes(8)),
    "no_dtype": raw({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "no_shape": raw({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
    "no_offsets": raw({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)),
    "three_offsets": raw({"a": tensor(offsets=(0, 8, 8))}, bytes(8)),
    "one_offset": raw({"a": tensor(offsets=(0,))}, bytes(8)),
    "tensor_not_object": raw({"a": 5}, bytes(8)),
    "metadata_not_strings": raw({"a": tensor(), "__metadata__": {"k": 1}}, bytes(8)),
    "metadata_not_object": raw({"a": tensor(), "__metadata__": "x"}, bytes(8)),
    "rest_after_data": raw({"a": tensor()}, bytes(9)),
    "rest_without_tensors": raw({}, bytes(1)),
}


def safetensors_cases():
    cases = []
    for name, data in SAFETENSORS.items():
        try:
            safetensors.deserialize(data)
            accepted = True
        except safetensors.SafetensorError:
            accepted = False
        assert accepted == name.startswith("valid"), name
        cases.append(dict(name=name, hex=data.hex(), accepted=accepted))
    return cases


# --- pytorch_model.bin -----------------------------------------------------------------------------------------------


class Runs:
    """Pickles to a call that a careless reader would run."""

    def __reduce__(self):
        return exec, ("raise SystemExit('code of the file was run')",)


def state_dict():
    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    return layer.state_dict()


def tensors():
    torch.manual_seed(1)
    base = torch.randn(3, 4)
    return collections.OrderedDict(
        f32=base, f64=torch.randn(2, dtype=torch.float64), f16=torch.randn(5).half(), bf16=torch.randn(2, 2).bfloat16(),
        i64=torch.tensor([1, -2**40]), i32=torch.tensor([7], dtype=torch.int32),
        u8=torch.tensor([255], dtype=torch.uint8), boolean=torch.tensor([True, False]),
        scalar=torch.tensor(2.5), empty=torch.zeros(0, 3))


def views():
    torch.manual_seed(2)
    base = torch.randn(4, 6)
    return dict(transposed=base.t(), rows=base[1:3], columns=base[:, 2:5], steps=base[::2, ::3], whole=base,
                cube=torch.randn(2, 3, 4).permute(2, 0, 1), one_row=torch.randn(1, 5)[:, 1:4],
                parameter=torch.nn.Parameter(torch.randn(3)))


def rewrite(name, change=None, compression=zipfile.ZIP_STORED, replace=None):
    """A copy of a file of torch.save, written by zipfile, with some entries changed."""
    source = zipfile.ZipFile(OUT / f"{name}.bin")
    target = OUT / f"{change}.bin"
    with zipfile.ZipFile(target, "w", compression) as out:
        for item in source.namelist():
            data = source.read(item)
            for ending, content in (replace or {}).items():
                if item.endswith(ending):
                    data = content(data)
            if data is not None:
                out.writestr(zipfile.ZipInfo(item), data, compression)  # without the time of day


def pytorch_cases():
    good = {"state_dict": state_dict(), "tensors": tensors(), "views": views()}
    bad = {"runs_code": {"a": Runs()}, "expanded": {"a": torch.ones(1).expand(1000)},
           "nested": {"a": {"b": torch.ones(1)}}, "list": [torch.ones(1)], "number": {"a": 5},
           "complex": {"a": torch.zeros(1, dtype=torch.complex64)},
           "whole_module": torch.nn.Linear(1, 1), "number_key": {1: torch.ones(1)}}
    for name, value in {**good, **bad}.items():
        torch.save(value, OUT / f"{name}.bin")
    torch.save({"a": torch.ones(2)}, OUT / "protocol_4.bin", pickle_protocol=4)
    good["protocol_4"] = {"a": torch.ones(2)}
    torch.save({"a": torch.ones(2)}, OUT / "before_1_6.bin", _use_new_zipfile_serialization=False)
    rewrite("state_dict", "zipfile")
    good["zipfile"] = good["state_dict"]
    rewrite("state_dict", "compressed", zipfile.ZIP_DEFLATED)
    rewrite("state_dict", "big_endian", replace={"byteorder": lambda _: b"big"})
    rewrite("state_dict", "missing_data", replace={"/data/1": lambda _: None})
    rewrite("state_dict", "short_data", replace={"/data/0": lambda data: data[:-1]})
    rewrite("state_dict", "cut_pickle", replace={"data.pkl": lambda data: data[:-20]})
    rewrite("state_dict", "no_pickle", replace={"data.pkl": lambda _: None})
    rejected = sorted(bad) + ["before_1_6", "compressed", "big_endian", "missing_data", "short_data", "cut_pickle",
                              "no_pickle"]
    cases = [dict(name=name, accepted=True, tensors={
        key: dict(dtype=str(value.dtype).removeprefix("torch."), shape=list(value.shape),
                  values=value.detach().double().flatten().tolist()) for key, value in content.items()})
             for name, content in good.items()]
    return cases + [dict(name=name, accepted=False) for name in rejected]


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "configs.json").write_text(json.dumps(config_cases(), indent=1) + "\n")
    (OUT / "safetensors_cases.json").write_text(json.dumps(safetensors_cases(), indent=1) + "\n")
    (OUT / "pytorch_cases.json").write_text(json.dumps(pytorch_cases(), indent=1) + "\n")
