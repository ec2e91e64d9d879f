"""Stores a model folder in bfloat16, after proving that no value changes.

    python tests/oracle/halve.py SOURCE_FOLDER examples/data/models/tinystories-656k
"""

import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import load_file, save_file


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("target", type=pathlib.Path)
    arguments = parser.parse_args()
    halved = {}
    for name, value in load_file(arguments.source / "model.safetensors").items():
        halved[name] = value.to(torch.bfloat16)
        if not torch.equal(halved[name].float(), value.float()):
            raise SystemExit(f"{name}: not every value is exact in bfloat16")
    arguments.target.mkdir(parents=True, exist_ok=True)
    for file in arguments.source.iterdir():
        if file.name not in ("model.safetensors", "config.json"):
            shutil.copyfile(file, arguments.target / file.name)
    config = json.loads((arguments.source / "config.json").read_text())
    config["torch_dtype"] = "bfloat16"
    (arguments.target / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(halved, arguments.target / "model.safetensors", metadata={"format": "pt"})
    (arguments.target / "model.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
