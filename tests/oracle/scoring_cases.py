"""Numbers of transformers, LongPPL and lm-evaluation-harness for evaluations by log-probability and by attention.

    python tests/oracle/scoring_cases.py LONGPPL HARNESS

LONGPPL: a checkout of github.com/PKU-ML/LongPPL (its package `longppl` is run as published). HARNESS: a checkout of
github.com/EleutherAI/lm-evaluation-harness (prompts are rendered from the YAML of its tasks). Both in float64 with the
two small pretrained models of this repository. Writes into tests/data/eval
  document.txt            the text that is measured: the beginning of an address of the state of the union, with a line
                          of other scripts behind it
  perplexity.json         per model: tokens, the loss of each token in one pass, and by the sliding windows of
                          transformers' guide to perplexity ("window" and "stride" of the guide's algorithm)
  longppl.json            per pair of evaluator and measured model: key ranges and results of compute_longppl, and the
                          places of tokens as the tokenizers library reports them, for GPT-2 with trim_offsets
  choices.json            per model and task: prompts, choices, log-probabilities, acc, acc_norm, acc_bytes
  attention.json          per model: a greedy continuation and, per layer and head, the key with the largest attention
                          weight of each row that emitted a token, and how far the second one is behind
"""

import importlib.util
import json
import pathlib
import re
import sys

import jinja2
import numpy as np
import torch
import transformers
import yaml
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast

from double_precision import everywhere, only_double
from pretrained_cases import load_double

transformers.logging.set_verbosity_error()
MODELS = {"stories260k": pathlib.Path("tests/data/models/stories260k"),
          "tinystories-656k": pathlib.Path("examples/data/models/tinystories-656k")}
OUT = pathlib.Path("tests/data/eval")
DOCUMENT = pathlib.Path("examples/data/state_union/1945-Truman.txt")


def logits(model, ids):
    with torch.no_grad(), only_double():
        return model(torch.tensor([ids]), use_cache=False).logits[0]


def losses(model, ids):
    """-log p of tokens 1 .. n - 1."""
    log_probs = torch.log_softmax(logits(model, ids)[:-1], -1)
    return [float(f"{-log_probs[i, token].item():.13g}") for i, token in enumerate(ids[1:])]


def windows(model, ids, window, stride):
    """The loop of https://huggingface.co/docs/transformers/perplexity: the loss of each token that has a target."""
    result, previous_end = {}, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + window, len(ids))
        own = losses(model, ids[begin:end])
        for place in range(max(previous_end, begin + 1), end):
            result[place] = own[place - begin - 1]
        previous_end = end
        if end == len(ids):
            break
    return result


def perplexity(models, tokenizers, text):
    report = {}
    for name, model in models.items():
        ids = tokenizers[name].encode(text).ids
        own = {"ids": ids, "whole": losses(model, ids), "windows": []}
        for window, stride in ((129, 32), (65, 64)):
            found = windows(model, ids, window, stride)
            assert sorted(found) == list(range(1, len(ids)))  # its windows leave no token out where they overlap
            own["windows"].append({"window": window, "stride": stride, "losses": [found[i] for i in sorted(found)]})
        report[name] = own
    return report


def longppl(models, tokenizers, text, folder):
    specification = importlib.util.spec_from_file_location("published", folder / "longppl" / "longppl.py")
    published = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(published)
    fast = {name: PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
            for name, folder in MODELS.items()}
    report = {"cases": []}
    for evaluator, measured in (("stories260k", "tinystories-656k"), ("tinystories-656k", "stories260k"),
                                ("stories260k", "stories260k")):
        for context, step, alpha, beta in ((64, 16, 0.5, -4.0), (100, 33, 0.2, -3.0), (4096, 1024, 2.0, -2.0)):
            with torch.no_grad():
                save = pathlib.Path("/tmp") / "published_keys.txt"
                result = published.compute_longppl(text, models[measured], models[evaluator], fast[measured],
                                                   fast[evaluator], str(save), context, step, alpha, beta)
            keys = [json.loads(part) for part in save.read_text().split(";") if part]
            save.unlink()
            report["cases"].append({"evaluator": evaluator, "measured": measured, "context": context, "step": step,
                                    "gain": alpha, "loss": -beta, "keys": keys,
                                    "longppl": None if result["longppl"] is None else float(result["longppl"]),
                                    "key_tokens": result["n_key_token"], "ppl": float(result["ppl"]),
                                    "tokens": result["n_token"]})
            print(evaluator, measured, context, step, len(keys), "ranges", result)
    gpt2 = Tokenizer.from_file("tests/data/tokenizer/gpt2/tokenizer.json")
    gpt2.post_processor = processors.ByteLevel(trim_offsets=True)
    report["places"] = {name: [list(place) for place in t.encode(text, add_special_tokens=False).offsets]
                        for name, t in (("gpt2", gpt2), *tokenizers.items())}
    return report


class harness_task:
    """A task's YAML with its includes, and the fields rendered as the harness renders them."""

    def __init__(self, file):
        class loader(yaml.SafeLoader):
            pass
        loader.add_constructor("!function", lambda self, node: None)
        text = file.read_text(encoding="utf-8")
        self.config = yaml.load(text, loader)
        if "include" in self.config:
            self.config = harness_task(file.parent / self.config["include"]).config | self.config

    def render(self, field, document):
        return jinja2.Environment().from_string(self.config[field]).render(**document)


def hellaswag_utilities(folder):
    """preprocess and the body of process_docs, without the package that the file imports."""
    source = (folder / "lm_eval/tasks/hellaswag/utils.py").read_text().replace("import datasets", "")
    source = source.replace("dataset: datasets.Dataset", "dataset").replace("-> datasets.Dataset", "")
    scope = {"re": re}
    exec(source, scope)
    return scope["process_docs"]


class mapped(list):
    def map(self, function):
        return [function(row) for row in self]


def lines(name):
    return [json.loads(line) for line in (OUT / name).read_text(encoding="utf-8").split("\n") if line]


def questions(folder):
    """name, prompt, choices, right ones, metric of every question."""
    tasks = folder / "lm_eval/tasks"
    arc = harness_task(tasks / "arc/arc_easy.yaml")
    for own in lines("arc.jsonl"):
        right = [label == own["answerKey"] for label in own["choices"]["label"]]
        yield "arc", arc.render("doc_to_text", own), own["choices"]["text"], right
    for own in hellaswag_utilities(folder)(mapped(lines("hellaswag.jsonl"))):
        yield "hellaswag", own["query"], own["choices"], [i == own["gold"] for i in range(len(own["choices"]))]
    for kind in ("mc1", "mc2"):
        truthful = harness_task(tasks / f"truthfulqa/truthfulqa_{kind}.yaml")
        for own in lines("truthfulqa.jsonl"):
            target = own[f"{kind}_targets"]
            yield f"truthfulqa_{kind}", truthful.render("doc_to_text", own), target["choices"], [
                bool(label) for label in target["labels"]]
    mmlu = harness_task(tasks / "mmlu/default/mmlu_abstract_algebra.yaml")
    shots, letters = lines("mmlu_dev.jsonl"), ["A", "B", "C", "D"]
    for own in lines("mmlu_test.jsonl"):
        description = mmlu.config["description"].replace("abstract algebra", own["subject"].replace("_", " "))
        shown = [s for s in shots if s["subject"] == own["subject"]][:5]
        asked = "".join(mmlu.render("doc_to_text", s) + " " + letters[s["answer"]] + "\n\n" for s in shown)
        asked += mmlu.render("doc_to_text", own)
        yield "mmlu", description + asked, letters, [i == own["answer"] for i in range(4)]


def continuation(model, tokenizer, context, choice, max_length):
    """TemplateLM._encode_pair and HFLM._loglikelihood_tokens."""
    spaces = len(context) - len(context.rstrip())
    if spaces > 0:
        choice, context = context[-spaces:] + choice, context[:-spaces]
    whole, before = tokenizer.encode(context + choice).ids, tokenizer.encode(context).ids
    own = whole[len(before):]
    fed = (before + own)[-(max_length + 1):]
    log_probs = torch.log_softmax(logits(model, fed[:-1]), -1)[-len(own):]
    return sum(log_probs[i, token].item() for i, token in enumerate(own))


def choices(models, tokenizers, folder):
    report = {}
    for name, model in models.items():
        rows = []
        for task, prompt, texts, right in questions(folder):
            ll = np.array([continuation(model, tokenizers[name], prompt, " " + text, 512) for text in texts])
            row = {"task": task, "prompt": prompt, "choices": texts, "right": right, "log_probs": ll.tolist()}
            if task == "truthfulqa_mc2":
                share = np.exp(ll) / np.exp(ll).sum()
                row["acc"] = share[np.array(right)].sum()
            else:
                best = lambda values: float(right[int(np.argmax(values))])
                row |= {"acc": best(ll), "acc_norm": best(ll / np.array([float(len(t)) for t in texts])),
                        "acc_bytes": best(ll / np.array([float(len(t.encode())) for t in texts]))}
            rows.append(row)
        report[name] = rows
        print(name, {t: np.mean([r["acc"] for r in rows if r["task"] == t]) for t in {r["task"] for r in rows}})
    return report


def attention(models, tokenizers):
    report = {}
    for name, model in models.items():
        prompt = tokenizers[name].encode("Lily has a red ball. Tom has a blue car. Lily likes to play with her").ids
        ids = list(prompt)
        for _ in range(24):
            ids.append(int(logits(model, ids)[-1].argmax()))
        with torch.no_grad(), only_double():
            weights = model(torch.tensor([ids]), use_cache=False, output_attentions=True).attentions
        rows = range(len(prompt) - 1, len(ids) - 1)
        keys, gaps = [], []
        for layer in weights:
            keys.append([[int(head[row].argmax()) for row in rows] for head in layer[0]])
            best = [head[row].topk(2).values for head in layer[0] for row in rows]
            gaps += [float(first - second) for first, second in best]
        report[name] = {"prompt": prompt, "answer": ids[len(prompt):], "keys": keys, "smallest_gap": min(gaps)}
        print(name, "smallest gap", min(gaps), tokenizers[name].decode(ids))
    return report


def write(name, value):
    (OUT / name).write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    torch.set_num_threads(1)
    text = DOCUMENT.read_text(encoding="utf-8")[:2600].strip() + "\n  Schöne Grüße aus Köln — 你好, world! 😀  \n"
    (OUT / "document.txt").write_text(text, encoding="utf-8")
    tokenizers = {name: Tokenizer.from_file(str(folder / "tokenizer.json")) for name, folder in MODELS.items()}
    with everywhere():
        models = {name: load_double(folder) for name, folder in MODELS.items()}
        write("perplexity.json", perplexity(models, tokenizers, text))
        write("longppl.json", longppl(models, tokenizers, text, pathlib.Path(sys.argv[1])))
        write("choices.json", choices(models, tokenizers, pathlib.Path(sys.argv[2])))
        write("attention.json", attention(models, tokenizers))


if __name__ == "__main__":
    main()
