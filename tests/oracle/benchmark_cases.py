"""Writes tests/data/eval/benchmarks.json: records in the published formats, answers, and what the benchmarks' own code
makes of them: prompts, lengths and scores.

python tests/oracle/benchmark_cases.py LONGBENCH LVEVAL INFINITEBENCH LOST

The arguments are those of metric_cases.py, which comes first: records and answers are made from its cases.
"""
import importlib.util
import json
import pathlib
import random
import re
import sys
import types
import warnings

warnings.simplefilter("ignore")
sys.modules.setdefault("evaluate", types.SimpleNamespace(load=lambda name: None))
sys.modules.setdefault("pydantic", types.SimpleNamespace())
sys.modules.setdefault("pydantic.dataclasses", types.SimpleNamespace(dataclass=lambda **k: (lambda c: c)))
random.seed(23)
cases = [json.loads(line) for line in open("tests/data/eval/scores.jsonl", encoding="utf-8")]


def load(name, path, *needs):
    sys.path.insert(0, str(pathlib.Path(path).parent))
    for need in needs:
        sys.modules.pop(need, None)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.pop(0)
    return module


def pick(kind, count):
    return random.sample([c for c in cases if c["kind"] == kind and re.search(r"\w", c["reference"])], count)


result = {"longbench": {}, "lv_eval": {}, "infinite_bench": {}, "key_value": []}

home = pathlib.Path(sys.argv[1]) / "LongBench"
evaluation = load("longbench_eval", home / "eval.py", "metrics")
forms = json.load(open(home / "config/dataset2prompt.json"))
lengths = json.load(open(home / "config/dataset2maxlen.json"))
chinese = {"multifieldqa_zh", "dureader", "vcsum", "lsht", "passage_retrieval_zh"}
for name, form in forms.items():
    few = name in ("trec", "lsht")
    if few:
        chosen = pick("class", 6)
    elif name.startswith("passage"):
        chosen = pick("count", 6)
    elif name in ("lcc", "repobench-p"):
        chosen = pick("code", 6)
    else:
        chosen = pick("zh" if name in chinese else "en", 6)
    records, answers = [], []
    for i, case in enumerate(chosen):
        references = [case["reference"]]
        if name == "passage_retrieval_en":
            references = ["Paragraph " + case["reference"]]
        if name == "passage_retrieval_zh":
            references = ["段落" + case["reference"]]
        if "qa" in name:
            references.append("another {answer}")
        records.append({"input": f"What is {name}? {{0}} \"{i}\"", "context": f"A text\n\nabout 上海 {name} {i}", "answers": references,
                        "length": random.choice((10, 3999, 4000, 7999, 8000, 60000)), "dataset": name,
                        "language": "zh" if name in chinese else "en", "all_classes": case.get("classes"), "_id": f"{name}{i}"})
        answers.append(random.choice(("", "\n\n")) + case["answer"] + random.choice(("", "\nDialogue: more")))
    every = records[0]["all_classes"]
    result["longbench"][name] = {
        "records": records, "answers": answers, "prompt": form.format(**records[0]), "max_new_tokens": lengths[name],
        "score": evaluation.scorer(name, answers, [r["answers"] for r in records], every),
        "score_e": {k: None if v != v else v for k, v in evaluation.scorer_e(
            name, answers, [r["answers"] for r in records], [r["length"] for r in records], every).items()},
    }

config = load("lveval_config", pathlib.Path(sys.argv[2]) / "config.py", "metrics")
sys.modules["config"] = config
sys.modules.setdefault("pandas", types.SimpleNamespace())
sys.modules["utils"] = types.SimpleNamespace(ensure_dir=None)
evaluation = load("lveval_eval", pathlib.Path(sys.argv[2]) / "evaluation.py", "metrics")
for name, form in config.DATASET_PROMPT.items():
    is_chinese = config.DATASET_METRIC[name].__name__ in ("qa_f1_zh_score_with_gold_ans", "qa_f1_zh_score", "rouge_zh_score_blacklist")
    chosen = pick("zh" if is_chinese else "en", 5) + (pick("keywords", 8) if "with_gold" in config.DATASET_METRIC[name].__name__ else [])
    records = []
    for i, case in enumerate(chosen):
        record = {"input": f"What is {name} {i}?", "context": f"A text about {name}\n文 {i}", "answers": [case["reference"], "not used"],
                  "length": 15000 + i, "dataset": name, "language": "zh" if is_chinese else "en", "confusing_facts": "none"}
        if case.get("keywords"):
            record["answer_keywords"] = case["keywords"]
        records.append(record)
    answers = [case["answer"] for case in chosen]
    mean, _ = evaluation.scorer(name + "_16k", answers, [r["answers"] for r in records], [r.get("answer_keywords") for r in records])
    result["lv_eval"][name] = {"records": records, "answers": answers, "prompt": form.format(**records[0]),
                               "max_new_tokens": config.DATASET_MAXGEN[name], "score": mean}

sys.modules["args"] = types.SimpleNamespace(parse_args=None)
tools = load("infinite_tools", pathlib.Path(sys.argv[3]) / "src/eval_utils.py", "prompt")
scores = load("infinite_scores", pathlib.Path(sys.argv[3]) / "src/compute_scores.py", "metrics")
for name, kind in (("longbook_qa_eng", "en"), ("longbook_qa_chn", "zh"), ("longbook_choice_eng", "choice"), ("kv_retrieval", "word"),
                   ("passkey", "number"), ("number_string", "number")):
    records, answers, labels = [], [], []
    for i, case in enumerate(pick(kind, 8)):
        record = {"id": i, "context": f"A book\n{i}", "input": f"Which one {i}?", "answer": [case["reference"]], "options": []}
        if kind == "choice":
            record["options"] = ["first", "second", "third", "fourth"]
            record["options"]["ABCD".index(case["letter"])] = case["reference"]
            if i % 2:
                record["answer"] = [case["reference"], case["letter"]]
        label = tools.get_answer(json.loads(json.dumps(record)), name)
        labels.append(label[0] if kind == "word" else label)
        records.append(record)
        answers.append(case["answer"])
    result["infinite_bench"][name] = {
        "records": records, "answers": answers, "score": scores.get_score(labels, answers, name, "any"),
        "chat": tools.create_prompt(dict(records[0]), name, "gpt4", "."),
        "text": tools.create_prompt(dict(records[0]), name, "yarn-mistral", "."),
        "max_new_tokens": tools.DATA_NAME_TO_MAX_NEW_TOKENS[name],
    }

prompting = load("prompting", pathlib.Path(sys.argv[4]) / "src/lost_in_the_middle/prompting.py")
for count in (2, 5):
    pairs = [[f"key-{i}", f"Value-{i}"] for i in range(count)]
    key, value = pairs[count // 2]
    result["key_value"].append({"record": {"ordered_kv_records": pairs, "key": key, "value": value},
                                "prompt": prompting.get_kv_retrieval_prompt(data=pairs, key=key)})
pathlib.Path("tests/data/eval/benchmarks.json").write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
