"""Numbers of transformers for generation: greedy continuations of 200 tokens, and what its logits processors leave.

    python tests/oracle/generation_cases.py NAME=MODEL_FOLDER ... [--data tests/data/generate]

Writes
  DATA/NAME.greedy.jsonl  per prompt: its ids, the 200 ids that greedy search in float32 adds (no end token among them:
                          min_new_tokens is 200), the same with a repetition penalty of 1.3, and the smallest gap between
                          the two best logits on the way: where it is near rounding, two right programs may part
  DATA/sampling.jsonl     per case: logits, tokens seen before, settings, and the probability of every token after the
                          processors in transformers' own order, in float64
"""

import argparse
import json
import pathlib

import torch
import transformers
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM
from transformers.generation import (LogitsProcessorList, MinPLogitsWarper, RepetitionPenaltyLogitsProcessor,
                                     TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper)

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

PROMPTS = ["Once upon a time, there was a little girl named", "Tom and his dog went to the", "The President said",
           "The", "Lily liked to draw. Every morning she took her red pencil, sat down by the window and",
           "One day a small bird could not find its mother. It asked the cow, but the cow did not know. It asked the "
           "pig, but the pig was asleep. It asked the old tree by the river, and the tree said: \"Look up, little "
           "bird.\" So the bird"]


def greedy(folder, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    for prompt in PROMPTS:
        ids = tokenizer.encode(prompt).ids

        def run(**settings):
            result = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=200, min_new_tokens=200,
                                    output_scores=True, return_dict_in_generate=True,
                                    attention_mask=torch.ones(1, len(ids), dtype=torch.long), **settings)
            best = [step[0].topk(2).values.tolist() for step in result.scores]
            return result.sequences[0, len(ids):].tolist(), min(a - b for a, b in best)

        plain, gap = run()
        penalised, penalised_gap = run(repetition_penalty=1.3)
        assert len(plain) == len(penalised) == 200
        print(f"{folder}: {len(ids)} + 200 tokens, gaps {gap:.2e} and {penalised_gap:.2e}: {prompt[:40]!r}")
        yield {"prompt": prompt, "prompt_ids": ids, "ids": plain, "gap": round(gap, 6), "penalised_ids": penalised,
               "penalised_gap": round(penalised_gap, 6)}


def processors(case):
    """In the order of GenerationMixin._get_logits_processor."""
    result = LogitsProcessorList()
    if case["repetition_penalty"] != 1.0:
        result.append(RepetitionPenaltyLogitsProcessor(case["repetition_penalty"]))
    if case["temperature"] != 1.0:
        result.append(TemperatureLogitsWarper(case["temperature"]))
    if case["top_k"] != 0:
        result.append(TopKLogitsWarper(case["top_k"]))
    if case["top_p"] < 1.0:
        result.append(TopPLogitsWarper(case["top_p"]))
    if case["min_p"] > 0.0:
        result.append(MinPLogitsWarper(case["min_p"]))
    return result


def sampling():
    generator = torch.Generator().manual_seed(5)
    for repetition_penalty, temperature, top_k, top_p, min_p in [
            (1.0, 1.0, 0, 1.0, 0.0), (1.0, 0.7, 0, 1.0, 0.0), (1.0, 1.7, 0, 1.0, 0.0), (1.3, 1.0, 0, 1.0, 0.0),
            (0.8, 1.0, 0, 1.0, 0.0), (1.0, 1.0, 1, 1.0, 0.0), (1.0, 1.0, 7, 1.0, 0.0), (1.0, 1.0, 100, 1.0, 0.0),
            (1.0, 1.0, 0, 0.9, 0.0), (1.0, 1.0, 0, 0.3, 0.0), (1.0, 1.0, 0, 0.01, 0.0), (1.0, 1.0, 0, 1.0, 0.1),
            (1.0, 1.0, 0, 1.0, 0.5), (1.0, 1.0, 0, 1.0, 1.0), (1.2, 0.8, 20, 0.9, 0.05), (1.1, 1.5, 12, 0.6, 0.2)]:
        logits = (3.0 * torch.randn(1, 60, generator=generator)).round(decimals=3).double()
        seen = torch.randint(60, (1, 15), generator=generator)
        case = {"repetition_penalty": repetition_penalty, "temperature": temperature, "top_k": top_k, "top_p": top_p,
                "min_p": min_p, "logits": logits[0].tolist(), "seen": seen[0].tolist()}
        case["probabilities"] = processors(case)(seen, logits).softmax(-1)[0].tolist()
        yield case


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("tests/data/generate"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    def write(name, rows):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (arguments.data / name).write_text(lines, encoding="utf-8")

    write("sampling.jsonl", sampling())
    for pair in arguments.models:
        name, folder = pair.split("=", 1)
        write(f"{name}.greedy.jsonl", greedy(folder, Tokenizer.from_file(folder + "/tokenizer.json")))


if __name__ == "__main__":
    main()
