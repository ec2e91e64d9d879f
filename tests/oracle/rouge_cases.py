"""Writes tests/data/eval/rouge.jsonl and exceptions: summaries and what ROUGE-1.5.5 and rouge_score say of them.

python tests/oracle/rouge_cases.py ROUGE PERL_INCLUDE SCRATCH

ROUGE is the folder of ROUGE-1.5.5.pl with WordNet's exception lists beside it (data/WordNet-2.0-Exceptions); PERL_INCLUDE
a folder with XML/DOM.pm (an empty one will do: no XML is read); SCRATCH a folder for files. The program runs as it is,
with -n 4 -d -f A -p 0.5 -z SPL: without -m, with -m and an empty list of exceptions, and with -m and WordNet's, which are
built as the program's own script builds them, from adj, adv, noun and verb in this order.
Texts are sentences of examples/data/state_union (public domain); summaries are changed sentences of the same speech.
The package rouge_score 0.1.2 gives rougeLsum, rouge1 and rouge2 without stems.
"""
import json
import pathlib
import random
import re
import subprocess
import sys

from rouge_score import rouge_scorer

rouge, include, scratch = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
random.seed(11)
pairs = []
for path in sorted(pathlib.Path("examples/data/state_union").glob("*.txt"))[::3]:
    sentences = [s.strip().replace("\n", " ") for s in re.split(r"(?<=[.!?])\s+", path.read_text()) if len(s) > 30]
    begin = random.randrange(len(sentences) - 14)
    part = sentences[begin:begin + 14]
    references = [random.sample(part, random.randrange(1, 6)) for _ in range(random.choice((1, 1, 3)))]
    answer = []
    for sentence in random.sample(part, random.randrange(1, 7)):
        words = sentence.split()
        words = [random.choice(words) if random.random() < 0.1 else w for w in words if random.random() > 0.15]
        if random.random() < 0.3:
            words = words + words[:6]
        answer.append(" ".join(words))
    pairs.append((answer, references))
pairs += [
    (["The cat was sat on the mat.", "It abode there."], [["The cats sat on mats.", "It abides there happily."]]),
    (["the the the the"], [["the cat the"]]),
    (["police killed the gunman"], [["police kill the gunman"], ["the gunman kill police"]]),
    (["no word in common"], [["something else entirely"]]),
    (["-- ?? !!", "naïve co-operation's well-being in 1999 at $5.00"], [["naive co-operation", "1999, $5 of well being"]]),
    (["a", "b"], [["a b"]]),
    (["w1 w2 w6 w7 w8", "w1 w3 w8 w9 w5"], [["w1 w2 w3 w4 w5"]]),
    (["Relational conditional rational valenci hesitanci digitizer conformabli radicalli differentli vileli analogousli "
      "vietnamization predication operator feudalism decisiveness hopefulness callousness formaliti sensitiviti sensibiliti "
      "triplicate formative formalize electriciti electrical hopeful goodness revival allowance inference airliner gyroscopic "
      "adjustable defensible irritant replacement adjustment dependent adoption homologou communism activate angulariti "
      "homologous effective bowdlerize probate rate cease controll roll caresses ponies ties caress cats feed agreed "
      "plastered bled motoring sing conflated troubled sized hopping tanned falling hissing fizzed failing filing happy sky "
      "yellows yielding saying toys geology apology analogies replacements document ceremonies years"],
     [["relate condition ration valence hesitance digit conform radical differ vile analog vietnam predic oper feudal decis "
       "hope callous formal sensit sensibl triplic form electr good reviv allow infer airlin gyroscop adjust defens irrit replac "
       "depend adopt homolog commun activ angular effect bowdler probat rate ceas control roll caress poni ti cat feed agre "
       "plaster bled motor sing conflat troubl size hop tan fall hiss fizz fail file happi sky yellow yield say toi geologi "
       "apologi document ceremoni year"]]),
]

files = scratch / "rouge_files"
files.mkdir(parents=True, exist_ok=True)
lines = []
for i, (answer, references) in enumerate(pairs):
    names = [files / f"{i}.answer"] + [files / f"{i}.{j}" for j in range(len(references))]
    for name, text in zip(names, [answer] + references):
        name.write_text("\n".join(text) + "\n")
    lines.append(" ".join(map(str, names)))
(files / "list").write_text("\n".join(lines) + "\n")

BUILD = """use DB_File; use Fcntl; tie %h,"DB_File",$ARGV[0],O_CREAT|O_RDWR,0640,$DB_HASH or die; shift;
for $f (@ARGV) { open(I,$f); while (<I>) { chomp; @t=split(/\\s+/,$_); $h{$t[0]}=$t[1]; } } untie %h;"""
lists = [str(rouge / "data/WordNet-2.0-Exceptions" / f"{name}.exc") for name in ("adj", "adv", "noun", "verb")]
cases = [{"answer": "\n".join(a), "references": ["\n".join(r) for r in rs]} for a, rs in pairs]
for name, option, sources in (("plain", [], []), ("porter", ["-m"], []), ("wordnet", ["-m"], lists)):
    folder = scratch / ("rouge_" + name)
    folder.mkdir(exist_ok=True)
    (folder / "smart_common_words.txt").write_text((rouge / "data/smart_common_words.txt").read_text())
    database = folder / "WordNet-2.0.exc.db"
    database.unlink(missing_ok=True)
    subprocess.run(["perl", "-e", BUILD, database, *sources], check=True)
    command = ["perl", "-I" + include, rouge / "ROUGE-1.5.5.pl", "-e", folder, "-n", "4", *option, "-d", "-f", "A",
               "-p", "0.5", "-z", "SPL", files / "list", "X"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for metric, number, r, p, f in re.findall(r"X (ROUGE-\S+) Eval (\d+)\.X R:(\S+) P:(\S+) F:(\S+)", output):
        cases[int(number) - 1].setdefault(name, {})[metric] = [float(r), float(p), float(f)]
scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeLsum"], use_stemmer=False)
for case in cases:
    if len(case["references"]) == 1:
        scores = scorer.score(case["references"][0], case["answer"])
        case["rouge_score"] = {k: [v.recall, v.precision, v.fmeasure] for k, v in scores.items()}

data = pathlib.Path("tests/data/eval")
with open(data / "rouge.jsonl", "w") as out:
    for case in cases:
        out.write(json.dumps(case, ensure_ascii=False) + "\n")
used = {w for c in cases for t in [c["answer"], *c["references"]] for w in re.findall("[a-z0-9]+", t.lower())}
(data / "exceptions").mkdir(exist_ok=True)
for name in lists:
    kept = [line for line in open(name, encoding="latin-1") if line.split()[0] in used]
    if kept:
        (data / "exceptions" / pathlib.Path(name).name).write_text("".join(kept))

# The stems of words: the program's own sub stem, on words of the speeches and on letters drawn at random.
text = (rouge / "ROUGE-1.5.5.pl").read_text(errors="replace")
subs = text[text.index("local %step2list;"):]
subs = subs[:subs.index("}\n", subs.index("$_v   =")) + 2]
words = {w for p in pathlib.Path("examples/data/state_union").glob("*.txt") for w in re.findall("[a-z0-9]{3,}", p.read_text().lower())}
suffixes = ["ational", "izer", "alli", "ousli", "fulness", "iviti", "icate", "ness", "ement", "ment", "ent", "sion", "ll", "eed", "ying",
            "ing", "sses", "ies", "y", "e", "bli", "logi", "er", "ative", "ed"]
pieces = ["b", "y", "a", "tr", "oo", "x", "w", "ey", "s", "l", "iz", "at", "9", "o"]
words |= {"".join(random.choices(pieces, k=random.randrange(1, 5))) + random.choice(suffixes) for _ in range(4000)}
words = sorted(w for w in words if len(w) > 2)
script = scratch / "stems.pl"
script.write_text(subs + '\ninitialise(); while (<STDIN>) { chomp; print "$_ ", stem($_), "\\n"; }\n')
lines = subprocess.run(["perl", script], input="\n".join(words) + "\n", check=True, capture_output=True, text=True).stdout.splitlines()
(scratch / "all_stems.txt").write_text("\n".join(lines) + "\n")
changed = [line for line in lines if len(set(line.split())) == 2]
(data / "stems.txt").write_text("\n".join(sorted(random.sample(changed, 700) + random.sample(lines, 100))) + "\n")
print(len(lines), "stems,", len(changed), "changed")
