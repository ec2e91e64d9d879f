"""Writes tests/data/eval/scores.jsonl and tests/data/eval/jieba: answers, references and what published scorers say.

python tests/oracle/metric_cases.py LONGBENCH LVEVAL INFINITEBENCH LOST

The arguments are checkouts of THUDM/LongBench (2e00731), infinigence/LVEval (63e7ae9), OpenBMB/InfiniteBench (88b3daa)
and nelson-liu/lost-in-the-middle (29b8a6d). Their scorers run as they are, with rouge 1.0.1, jieba 0.42.1,
fuzzywuzzy 0.18.0 without python-Levenshtein (as LongBench's requirements.txt installs it) and rapidfuzz 3.14.6.
Answers: those of five models that InfiniteBench publishes, sentences of examples/data/state_union with changes, lines
of this repository's code with changes, and answers written here that are hard to compare.

tests/data/eval/jieba holds the lines of jieba's dictionary and the numbers of its hidden Markov model that these texts
need, and one word that stands for the frequencies of all others.
"""
import importlib.util
import json
import math
import pathlib
import random
import re
import string
import sys
import types
import warnings

warnings.simplefilter("ignore")
sys.setrecursionlimit(1000)
import jieba  # noqa: E402
import jieba.finalseg  # noqa: E402
from rapidfuzz import fuzz as rapid  # noqa: E402
from rapidfuzz.distance import Indel  # noqa: E402

sys.modules.setdefault("evaluate", types.SimpleNamespace(load=lambda name: None))
sys.modules.setdefault("args", types.SimpleNamespace(parse_args=None))
sys.modules.setdefault("regex", re)


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


longbench = load("longbench", sys.argv[1] + "/LongBench/metrics.py")
lveval = load("lveval", sys.argv[2] + "/metrics.py")
infinite = load("infinite", sys.argv[3] + "/src/compute_scores.py")
lost = load("lost", sys.argv[4] + "/src/lost_in_the_middle/metrics.py")
results = pathlib.Path(sys.argv[3]) / "results"
random.seed(7)
cases = []


def add(kind, answer, reference, **more):
    cases.append({"kind": kind, "answer": answer, "reference": reference, **more})


def published(model, task, count, begin=0):
    lines = (results / model / f"preds_{task}.jsonl").read_text().splitlines()[begin:begin + count]
    for line in lines:
        row = json.loads(line)
        yield row.get("prediction", row.get("pred")), row.get("ground_truth", row.get("label"))


for model in ("gpt4", "kimi", "claude2", "yarn-mistral", "chatglm3"):
    for task, count, kind in (("longbook_qa_eng", 22, "en"), ("longbook_qa_chn", 16, "zh")):
        for answer, references in published(model, task, count, 5):
            for reference in references[:2]:
                if len(answer) < 700:
                    add(kind, answer, reference)
    for answer, label in published(model, "longbook_choice_eng", 14):
        if len(answer) < 700 and isinstance(label, list) and len(label) == 2:
            add("choice", answer, label[0], letter=label[1])
    for task in ("kv_retrieval", "passkey", "number_string"):
        for answer, label in published(model, task, 5):
            add("word" if task == "kv_retrieval" else "number", answer, label if isinstance(label, str) else label[0])

speeches = " ".join(path.read_text() for path in sorted(pathlib.Path("examples/data/state_union").glob("19[5-7]*.txt")))
sentences = [s.strip() for s in re.split(r"(?<=[.!?])\s+", speeches) if 40 < len(s) < 300]


def changed(text):
    words = text.split()
    result = []
    for word in words:
        draw = random.random()
        if draw < 0.12:
            continue
        if draw < 0.2:
            result.append(random.choice(words))
        elif draw < 0.26:
            word = word.upper()
        elif draw < 0.3:
            word = "\u201c" + word + "\u201d"
        elif draw < 0.34:
            word = "the " + word
        result.append(word)
    if random.random() < 0.3:
        random.shuffle(result)
    return " ".join(result)


for _ in range(30):
    begin = random.randrange(len(sentences) - 4)
    reference = " ".join(sentences[begin:begin + random.randrange(1, 5)])
    add("en", changed(reference), reference)

code = [line.rstrip() for line in open("include/lodestone/text/jsonl.ipp", encoding="utf-8") if len(line) > 12]
for _ in range(40):
    begin = random.randrange(len(code) - 6)
    many = random.choice((1, 1, 1, 5))
    reference = " ".join(code[begin:begin + many])
    answer = "".join(c for c in reference if random.random() > random.choice((0, 0.05, 0.3)))
    lead = random.choice(("", "", "\n\n", "```cpp\n", "# the line\n", "// next\n", "\n``` // x\n#y\n"))
    add("code", lead + answer + random.choice(("", "\nreturn;", "\n```")), reference)
add("code", "```\n# all\n// comments", "x = 1")
add("code", "", "x = 1")
add("code", "x = 1", "")
add("code", "", "")
add("code", "x = “é”", "x = ‘é’")

HARD = [
    ("The  Eiffel\tTower!", "eiffel tower"), ("a", "the"), ("", "x"), ("x", ""), ("", ""), (" \n", "the"), ("...", "."),
    ("An apple a day", "apple day"), ("theatre", "the atre"), ("U.S.A.", "usa"), ("it's", "its"), ("co-operate", "cooperate"),
    ("Caf\u00e9", "cafe\u0301"), ("cafe\u0301", "cafe\u0301"), ("a\u0301 cut", "\u0301 cut"), ("a\u2019s", "s"),
    ("ＦＵＬＬ　ｗｉｄｔｈ", "ｆｕｌｌ ｗｉｄｔｈ"), ("full width", "ｆｕｌｌ ｗｉｄｔｈ"), ("a\u00a0b\u2003c\u3000d\x1ce", "b c d e"),
    ("ΟΔΟΣ ΣΟΦΟΣ ΑΣ. Σ ΑΣΑ", "οδος σοφος ας σ ασα"), ("İstanbul I", "i̇stanbul i"), ("STRASSE ẞ", "strasse ß"), ("ΑΣ'Α ΑΣ-", "ασ'α ας"),
    ("“Quoted” – yes…", "quoted yes"), ("a_b the_ an", "a_b"), ("4 000", "4,000"), ("１２ 12 ١٢", "12"), ("No, 12.", "12"),
    ("yes yes yes", "yes no"), ("the the the", "a"), ("naïve façade", "naive facade"), ("a.b.c", "abc"), ("x\u200bthe y", "x y"),
    ("😀 smile", "smile 😀"), ("one. two. three.", "three. two. one."), ("one. . two", " . two"), ("   ", "  "), ("𝐀n 𝒳", "n"),
    ("北京是中国的首都。", "北京"), ("北京大学生前来应聘", "北京大学"), ("我来到北京清华大学", "清华大学"), ("他来到了网易杭研大厦", "杭研大厦"),
    ("答案：《红楼梦》（第一回）", "红楼梦"), ("２０２３年１０月", "2023年10月"), ("GDP增长了3.5%，达到1,234亿元", "3.5%"), ("AT&T和C++的价格-贵_不贵", "C++"),
    ("小明硕士毕业于中国科学院计算所，后在日本京都大学深造", "小明 毕业于 中国科学院"), ("こんにちは世界", "世界"), ("，。！？", "。"), ("中 国\n人 民", "中国人民"),
    ("工信处女干事每月经过下属科室都要亲口交代24口交换机等技术性器件的安装工作", "24口交换机"), ("乒乓球拍卖完了。李小福是创新办主任也是云计算方面的专家", "李小福"),
    ("的的的", "的"), ("𠮷野家 𠮷", "𠮷野家"), ("1.5 2.50% 3.a", "1.5"), ("韩国\r\n首尔\x85釜山", "首尔 釜山"), ("\u4e00\u9fd5\u9fd6\u3400", "\u9fd5"),
]
for answer, reference in HARD:
    add("zh" if any("\u2e80" < c < "\uff00" or c > "\U00020000" for c in answer + reference) else "en", answer, reference)

CLASSES = ["Abbreviation", "Expression abbreviated", "Group or organization of person", "Organization", "Person", "Individual",
           "Title of a person", "Description of a person", "Color", "Food", "Number of something", "Number", "City", "Other location"]
for answer, reference in [
    ("Person", "Description of a person"), ("Type: Description of a person", "Description of a person"),
    ("Description of a person, Individual", "Individual"), ("Number of something", "Number"), ("Number", "Number of something"),
    ("Number of something", "Number of something"), ("Expression abbreviated, Abbreviation", "Expression abbreviated"), ("", "City"),
    ("city", "City"), ("City. Other location. Food", "Other location"), ("Color Food City", "Title of a person"),
    ("Number of something Number City", "Number of something"),
]:
    add("class", answer, reference, classes=CLASSES)
for answer, number in [("Paragraph 3", "3"), ("3, 13 and 3", "3"), ("none", "3"), ("", "3"), ("03", "3"), ("段落3", "3"), ("３", "3"), ("1.3 3", "3"),
                       ("Paragraph 30", "3"), ("3" * 50, "3"), ("the 3rd 3", "3")]:
    add("count", answer, number)
KEYWORDS = [("The bridge was opened in 1932 by Jack Lang", "It opened in 1932", "1932"), ("he was in it", "he was there in it", "he was in it"),
            ("nothing", "Sydney Harbour", "Harbour Bridge Sydney"), ("Sydney", "Sydney Harbour", "Harbour Bridge Sydney of the North West"),
            ("Sydney Harbour", "Sydney Harbour", None), ("", "x", "y")]
KEYWORDS_ZH = [("他在1932年开通了大桥", "大桥于1932年开通", "1932年 开通"), ("的和是", "的和是", "的和是"), ("北京", "上海", None), ("北京的天安门", "天安门", None),
               ("", "天安门", "天安门广场"), ("可以使用香菜", "可以使用香菜和盐", "香菜")]
for answer, reference, keywords in KEYWORDS + KEYWORDS_ZH:
    add("keywords", answer, reference, keywords=keywords)


def number(value):
    return round(float(value), 12)


for case in cases:
    answer, reference = case["answer"], case["reference"]
    case["f1"] = number(longbench.qa_f1_score(answer, reference))
    assert case["f1"] == number(infinite.qa_f1_score(answer, [reference])) == number(lveval.qa_f1_score(answer, reference))
    case["exact"] = infinite.normalize_answer(answer) == infinite.normalize_answer(reference)
    case["substring"] = number(lost.best_subspan_em(answer, [reference])) == 1
    case["rouge_l"] = number(longbench.rouge_score(answer, reference))
    case["code"] = number(longbench.code_sim_score(answer, reference))
    case["indel"] = number(Indel.normalized_similarity(answer, reference))
    assert abs(100 * case["indel"] - rapid.ratio(answer, reference)) < 1e-9
    case["characters_f1"] = number(infinite.qa_f1_score_zh(answer, [reference]))
    case["f1_zh"] = number(longbench.qa_f1_zh_score(answer, reference))
    case["rouge_zh"] = number(longbench.rouge_zh_score(answer, reference))
    case["rouge_zh_listed"] = number(lveval.rouge_zh_score_blacklist(answer, reference))
    if case["kind"] in ("zh", "keywords"):
        case["words"] = list(jieba.cut(answer, cut_all=False))
    if case["kind"] == "choice":
        case["choice"] = bool(infinite.get_score_one_longbook_choice_eng(answer, [reference, case["letter"]], ""))
    if case["kind"] in ("word", "number"):
        case["has_word"] = bool(infinite.get_score_one_kv_retrieval(answer, reference, ""))
        case["first_number"] = infinite.first_int_match(answer)
    if case["kind"] == "class":
        case["class"] = number(longbench.classification_score(answer, reference, all_classes=CLASSES))
    if case["kind"] == "count":
        case["count"] = number(longbench.count_score(answer, reference))
        assert case["count"] == number(longbench.retrieval_score(answer, "Paragraph " + reference))
    if case["kind"] == "keywords":
        case["keywords_en"] = number(lveval.qa_f1_score_with_gold_ans(answer, reference, case["keywords"]))
        case["keywords_zh"] = number(lveval.qa_f1_zh_score_with_gold_ans(answer, reference, case["keywords"]))

data = pathlib.Path("tests/data/eval")
with open(data / "scores.jsonl", "w", encoding="utf-8") as out:
    for case in cases:
        out.write(json.dumps(case, ensure_ascii=False) + "\n")

texts = [text for case in cases for text in (case["answer"], case["reference"], case.get("keywords") or "")]
texts += [" ".join(jieba.cut(text)) for text in texts]
pieces = {text[i:j] for text in texts for i in range(len(text)) for j in range(i + 1, min(i + 17, len(text) + 1))}
lines = []
left = jieba.dt.total
for line in jieba.dt.get_dict_file().read().decode("utf-8").splitlines():
    word, frequency = line.split(" ")[:2]
    if word in pieces:
        lines.append(line)
        left -= int(frequency)
folder = data / "jieba"
(folder / "finalseg").mkdir(parents=True, exist_ok=True)
(folder / "dict.txt").write_text("".join(line + "\n" for line in lines + [f"\u3007\u3007others {left} x"]), encoding="utf-8")
seen = {c for text in texts for c in text}
emit = {state: {c: p for c, p in table.items() if c in seen} for state, table in jieba.finalseg.emit_P.items()}
source = pathlib.Path(jieba.finalseg.__file__).parent
for name in ("prob_start.py", "prob_trans.py"):
    (folder / "finalseg" / name).write_text((source / name).read_text())
head = (source / "prob_emit.py").read_text()[:60].split("{")[0]
rows = ",\n".join("'" + s + "': {" + ",\n".join(f"'\\u{ord(c):04x}': {p!r}" for c, p in t.items()) + "}" for s, t in emit.items())
(folder / "finalseg" / "prob_emit.py").write_text(head + "{" + rows + "}\n")
print(len(cases), "cases,", len(lines), "words,", sum(map(len, emit.values())), "numbers")
