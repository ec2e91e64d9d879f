"""Makes small adapters with PEFT on the models of model_cases.py, and the numbers that they must give.

    python tests/oracle/adapter_cases.py [--models tests/data/models] [--out tests/data/adapters]

Each folder NAME holds what PeftModel.save_pretrained wrote, in float32, and oracle.safetensors, from the same weights in
double precision throughout (double_precision.py):
    ids I64 [T]   logits F64 [T, V] of the adapted model   log_probs F64 [T - 1] of the next tokens
    grad.NAME F64: gradient of the mean of -log_probs for every tensor of adapter_model.safetensors
    merged.NAME F64: every tensor of the base that merge_and_unload changes

    python tests/oracle/adapter_cases.py --check BASE ADAPTER MERGED

reads an adapter that Lodestone wrote through PEFT, merges it, and compares with Lodestone's merged folder.
"""

import argparse
import functools
import json
import pathlib
import shutil
import sys
import warnings

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from double_precision import everywhere, only_double, origin

transformers.logging.set_verbosity_error()
warnings.filterwarnings("ignore")

CASES = {
    "llama": dict(base="llama", lora=dict(r=4, lora_alpha=6, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])),
    "by-layer": dict(base="qwen3", lora=dict(r=2, lora_alpha=5, use_rslora=True, layers_to_transform=[1],
                                             target_modules=["q_proj", "gate_proj", "down_proj"])),
    "with-modules": dict(base="llama-biases", lora=dict(
        r=3, lora_alpha=3, target_modules="all-linear",
        modules_to_save=["embed_tokens", "lm_head", "norm", "input_layernorm", "post_attention_layernorm"])),
    "untying": dict(base="llama-tied", lora=dict(r=2, lora_alpha=4, target_modules=["v_proj"],
                                                 modules_to_save=["embed_tokens"])),
}


def load_base(folder):
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float64,
                                             attn_implementation="eager")
    missing = model.load_state_dict({k: v.double() for k, v in load_file(folder / "model.safetensors").items()
                                     if not k.endswith("inv_freq")},
                                    strict=False)
    assert not missing.unexpected_keys and set(missing.missing_keys) <= {"lm_head.weight"}, missing
    model.tie_weights()
    return model


def randomize(model, generator):
    with torch.no_grad():
        for name, value in sorted(model.named_parameters()):
            if value.requires_grad:
                noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
                # exact in float32, so that the saved adapter is the one that the numbers belong to
                value.copy_((value + 0.3 * noise / max(1, value.shape[-1]) ** 0.5).to(torch.float32).double())


def make_case(name, case, models, out):
    folder, base = out / name, models / case["base"]
    shutil.rmtree(folder, ignore_errors=True)
    generator = torch.Generator().manual_seed(7 + list(CASES).index(name))
    with everywhere():
        model = get_peft_model(load_base(base), LoraConfig(task_type="CAUSAL_LM", **case["lora"]),
                               autocast_adapter_dtype=False)
        randomize(model, generator)
        ids = torch.randint(3, model.config.vocab_size, (14,), generator=generator)
        with only_double():
            logits = model(input_ids=ids[None], use_cache=False).logits[0]
            log_probs = functional.log_softmax(logits, -1)[:-1].gather(1, ids[1:, None])[:, 0]
            (-log_probs.mean()).backward()
        model.save_pretrained(folder, save_embedding_layers=False)
    saved = load_file(folder / "adapter_model.safetensors")
    single = {key: value.to(torch.float32).contiguous() for key, value in saved.items()}
    assert all((single[key].double() == value).all() for key, value in saved.items())
    save_file(single, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "README.md").unlink(missing_ok=True)
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = case["base"]
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")

    numbers = {"ids": ids, "logits": logits.detach().contiguous(), "log_probs": log_probs.detach().contiguous()}
    plain = lambda key: key.replace(".default", "").replace(".modules_to_save", "")
    gradients = {plain(key): value.grad for key, value in model.named_parameters() if value.requires_grad}
    assert set(gradients) == set(saved), set(gradients) ^ set(saved)
    numbers |= {f"grad.{key}": value.contiguous() for key, value in gradients.items()}
    with everywhere():
        before = {key: value.clone() for key, value in load_base(base).state_dict().items()}
        after = model.merge_and_unload().state_dict()
        numbers |= {f"merged.{key}": value.clone().contiguous() for key, value in after.items()
                    if (value != before[key]).any()}
    save_file(numbers, folder / "oracle.safetensors", metadata=origin("adapter_cases.py"))
    print(f"{name}: {len(saved)} tensors, {len(numbers)} numbers")


def check(base, adapter, merged):
    load = functools.partial(AutoModelForCausalLM.from_pretrained, dtype=torch.float64)
    expected = PeftModel.from_pretrained(load(base), adapter, autocast_adapter_dtype=False).merge_and_unload()
    expected, ours = expected.state_dict(), load(merged).state_dict()
    worst = max(((ours[key] - value).norm() / value.norm()).item() for key, value in expected.items())
    print(f"largest relative difference of a tensor: {worst:.1e}")
    return 0 if worst < 1e-6 else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=pathlib.Path, default=pathlib.Path("tests/data/models"))
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/data/adapters"))
    parser.add_argument("--check", nargs=3, type=pathlib.Path, metavar=("BASE", "ADAPTER", "MERGED"))
    arguments = parser.parse_args()
    if arguments.check:
        sys.exit(check(*arguments.check))
    for name, case in CASES.items():
        make_case(name, case, arguments.models, arguments.out)
