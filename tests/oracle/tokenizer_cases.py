"""Writes tests/data/tokenizer: tiny tokenizers, and texts with the ids that the reference libraries give them.

Needs tokenizers and sentencepiece. Run from anywhere: python tests/oracle/tokenizer_cases.py
With --compare PROGRAM FOLDER [COUNT] it writes nothing and compares PROGRAM (benchmarks/text/tokenizer_bench --ids
FOLDER < texts, a JSON string a line) with the tokenizers library on COUNT fresh random texts.

  pipelines/NAME.json   byte-level BPE as Qwen2 has it (NFC, its pattern, ignore_merges), with prefix space, with a
                        normalizer for the bytes, and a Metaspace one
  sentencepiece/*.model BPE with byte fallback, BPE with user-defined pieces, unigram, unigram with byte fallback; the
                        second and third with a character map
  ids.jsonl             {"tokenizer", "text", "ids" (with special tokens, parsed), "plain" (without either), "decoded"}
  components.jsonl      {"role", "component", "text", "result"}: one normalizer, pre-tokenizer or decoder on one text
"""
import io
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

import sentencepiece
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "tests" / "data" / "tokenizer"
SPEECHES = sorted((ROOT / "examples" / "data" / "state_union").glob("*.txt"))[:6]

# Written for this file.
CHINESE = """长文档的对齐需要模型读完整篇材料，再回答问题。我们把许多短样本装进同一个序列，中间用边界分开，互不相见。
训练时每个样本的权重相同，无论它的答案有多长。天气很好，孩子们在院子里跑来跑去，老人坐在树下喝茶。
数字一二三四五六七八九十，二〇二六年十一月二十一日。这个方法的代价随长度的平方增长，所以要按长度排序。
他说：“今天我们学习分词。”她问：“什么是分词？”大家都笑了。图书馆里有三千多本书，其中一半是小说。"""

QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
O200K_LIKE = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
              r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

# --- Random texts ----------------------------------------------------------------------------------------------------

ASSIGNED = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
LATIN = [c for c in ASSIGNED if ord(c) < 0x250]
SPACES = [" "] * 8 + list("\n\n\r\t\x0b\x0c\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\u200b\u180e\ufeff\u2060")
EMOJI = ["😀", "🎉", "👍🏽", "❤️", "🇫🇷", "👩‍👩‍👧‍👦", "🤖"]
NUMBERS = list("½²³ⅷ٣४①Ⓐ")
CONTRACTIONS = ["'s", "'S", "'t", "'re", "'RE", "'Ve", "'ll", "'LL", "'m", "'D", "'d", "'ſ", "'", "''", "’s"]
SPECIAL = ["<s>", "</s>", "<unk>", "<|endoftext|>", "<|begin_of_text|>", "<|eot_id|>", "<|start_story|>", "<|im_start|>",
           "<|im_end|>", "<tool>", "word", "<|", "<0x0A>", "▁", "▁▁", "[INST]", "<sep>", "two words"]
MARKS = [chr(c) for c in range(0x300, 0x36F)] + list("\u0327\u3099\u1100\u1161\u11a8\u0b47\u0b3e")
CONTROLS = [chr(c) for c in range(32)] + ["\x7f", "\x80", "\x9f"]
PUNCTUATION = list(".,;:!?-_()[]{}<>/\\|@#$%^&*+=~`\"'")
WORDS = []


def random_text(r):
    if not WORDS:
        WORDS.extend(" ".join(p.read_text(encoding="utf-8", errors="replace") for p in SPEECHES).split())
    out = []
    for _ in range(r.randint(0, 12)):
        k = r.randint(0, 15)
        if k < 4: out.append(r.choice(WORDS))
        elif k < 7: out.append("".join(r.choice(SPACES) for _ in range(r.choice([1, 1, 1, 1, 2, 3, 5]))))
        elif k == 7: out.append(r.choice(EMOJI + NUMBERS))
        elif k == 8: out.append("".join(r.choice(CHINESE) for _ in range(r.randint(1, 8))))
        elif k == 9: out.append(r.choice(CONTRACTIONS))
        elif k == 10: out.append(r.choice(SPECIAL))
        elif k == 11: out.append("".join(r.choice(PUNCTUATION) for _ in range(r.randint(1, 4))))
        elif k == 12: out.append(str(r.randint(0, 10 ** r.randint(1, 9))))
        elif k == 13: out.append(r.choice(ASSIGNED) + (r.choice(MARKS) if r.random() < 0.5 else ""))
        elif k == 14: out.append(r.choice(LATIN) + r.choice(ASSIGNED))
        else: out.append(r.choice(CONTROLS))
    return "".join(out)


# --- Tiny tokenizers -------------------------------------------------------------------------------------------------

def corpus():
    return [line for p in SPEECHES for line in p.read_text(encoding="utf-8", errors="replace").splitlines() if line] + \
        CHINESE.splitlines() * 20


def added(content, **options):
    return tokenizers.AddedToken(content, **options)


def train(name, size, normalizer=None, pre_tokenizer=None, decoder=None, processor=None, tokens=(), alphabet=(), **model):
    one = tokenizers.Tokenizer(models.BPE(**model))
    if normalizer: one.normalizer = normalizer
    if pre_tokenizer: one.pre_tokenizer = pre_tokenizer
    if decoder: one.decoder = decoder
    special = ["<unk>"] if model.get("unk_token") else []
    one.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False,
                                                          initial_alphabet=list(alphabet)))
    for token in tokens:
        (one.add_special_tokens if token.special else one.add_tokens)([token])
    if processor: one.post_processor = processor(one)
    (OUT / "pipelines").mkdir(parents=True, exist_ok=True)
    (OUT / "pipelines" / (name + ".json")).write_text(one.to_str() + "\n", encoding="utf-8")
    return one


def pipelines():
    byte_level = sorted(pre_tokenizers.ByteLevel.alphabet())
    split = lambda pattern: pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    template = lambda before, after: lambda one: processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{before} $A {after}".strip(), special_tokens=[
            (t, one.token_to_id(t)) for t in (before, after) if t])])
    result = {}
    result["qwen2"] = train(
        "qwen2", 500, normalizers.NFC(),
        pre_tokenizers.Sequence([split(QWEN2), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
        decoders.ByteLevel(), None,
        [added("<|endoftext|>", special=True, normalized=False), added("<|im_start|>", special=True, normalized=False),
         added("<|im_end|>", special=True, normalized=False), added("<tool>", normalized=False),
         added("word", single_word=True, normalized=False), added("<sep>", lstrip=True, rstrip=True, normalized=False)],
        byte_level)
    result["llama3_style"] = train(
        "llama3_style", 600, None,
        pre_tokenizers.Sequence([split(LLAMA3), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
        decoders.ByteLevel(), template("<|begin_of_text|>", ""),
        [added("<|begin_of_text|>", special=True, normalized=False), added("<|eot_id|>", special=True, normalized=False)],
        byte_level, ignore_merges=True)
    result["prefix_space"] = train(
        "prefix_space", 400, normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]),
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                 pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)]),
        decoders.ByteLevel(), template("<s>", "</s>"),
        [added("<s>", special=True, normalized=False), added("</s>", special=True, normalized=False),
         added("two words", normalized=True)], byte_level)
    result["byte_normalizer"] = train(
        "byte_normalizer", 400, normalizers.Sequence([normalizers.NFD(), normalizers.ByteLevel()]), None,
        decoders.ByteLevel(), None, [added("<sep>", lstrip=True, normalized=False)], byte_level)
    result["bytes_then_split"] = train(
        "bytes_then_split", 400, None,
        pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
                                 pre_tokenizers.Digits(individual_digits=False)]),
        decoders.ByteLevel(), None, [], byte_level)
    result["metaspace"] = train(
        "metaspace", 500, normalizers.NFKC(), pre_tokenizers.Metaspace(prepend_scheme="first"),
        decoders.Metaspace(prepend_scheme="first"), template("<s>", ""),
        [added("<s>", special=True, normalized=False), added("<sep>", rstrip=True, normalized=False)],
        unk_token="<unk>", fuse_unk=False)
    return result


def character_rules():
    """A character map in the manner of nmt_nfkc, which itself takes 240 kB: NFKC of some blocks, spaces, control bytes."""
    rules = {chr(c): unicodedata.normalize("NFKC", chr(c)) for c in
             list(range(0xA0, 0x250)) + list(range(0x2000, 0x2070)) + list(range(0x2460, 0x24EA)) +
             list(range(0x3000, 0x3100)) + list(range(0xFB00, 0xFB07)) + list(range(0xFF01, 0xFF60))}
    rules = {a: b for a, b in rules.items() if a != b}
    rules |= {c: " " for c in "\t\n\r\u2028\u2029"} | {c: "" for c in CONTROLS if c not in "\t\n\r\x00"}
    rules |= {"e\u0301": "é", "...": "…", "--": "—", "'s": " is", "👍🏽": "of", "👍": "the"}
    return "".join(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n"
                   for a, b in sorted(rules.items()))


def sentencepiece_models():
    """Four models of a few hundred pieces."""
    (OUT / "sentencepiece").mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as rules:
        rules.write(character_rules())
        rules.flush()
        return train_sentencepiece(dict(normalization_rule_tsv=rules.name))


def train_sentencepiece(mapped):
    settings = {
        "bpe_bytes": dict(model_type="bpe", vocab_size=700, byte_fallback=True, normalization_rule_name="identity",
                          remove_extra_whitespaces=False, split_digits=True, character_coverage=0.999,
                          allow_whitespace_only_pieces=True),
        "bpe_defined": dict(model_type="bpe", vocab_size=500, **mapped,
                            user_defined_symbols=["<sep>", "two words", "▁▁", "的"], character_coverage=0.99),
        "unigram": dict(model_type="unigram", vocab_size=500, **mapped, character_coverage=0.99),
        "unigram_bytes": dict(model_type="unigram", vocab_size=700, byte_fallback=True, add_dummy_prefix=False,
                              normalization_rule_name="identity", remove_extra_whitespaces=False,
                              user_defined_symbols=["<sep>", "two words"], character_coverage=0.995),
    }
    result = {}
    for name, options in settings.items():
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus()), model_writer=model, num_threads=1,
                                                 max_sentence_length=20000, minloglevel=2, **options)
        (OUT / "sentencepiece" / (name + ".model")).write_bytes(model.getvalue())
        result[name] = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return result


# --- Cases -----------------------------------------------------------------------------------------------------------

def ids_of(one, text):
    one.encode_special_tokens = False
    ids = one.encode(text).ids
    one.encode_special_tokens = True
    return {"ids": ids, "plain": one.encode(text, add_special_tokens=False).ids,
            "decoded": one.decode(ids, skip_special_tokens=True)}


def write_lines(name, lines):
    with open(OUT / name, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n")


def id_cases():
    r = random.Random(20)
    lines = []
    known = dict(pipelines())
    known["gpt2"] = tokenizers.Tokenizer.from_file(str(OUT / "gpt2" / "tokenizer.json"))
    known["stories260k"] = tokenizers.Tokenizer.from_file(str(ROOT / "tests/data/models/stories260k/tokenizer.json"))
    known["tinystories"] = tokenizers.Tokenizer.from_file(
        str(ROOT / "examples/data/models/tinystories-656k/tokenizer.json"))
    for name, one in known.items():
        for _ in range(60):
            text = random_text(r)
            line = {"tokenizer": name, "text": text, **ids_of(one, text)}
            # The library decodes special tokens that are normalized with their normal form and does not skip them.
            if name == "tinystories": del line["decoded"]
            lines.append(line)
    for name, one in sentencepiece_models().items():
        for _ in range(60):
            text = random_text(r)
            lines.append({"tokenizer": "sentencepiece/" + name, "text": text, "plain": one.encode(text)})
    write_lines("ids.jsonl", lines)


def component_cases():
    r = random.Random(21)
    lines = []
    regex = tokenizers.Regex
    normal = [normalizers.NFC(), normalizers.NFD(), normalizers.NFKC(), normalizers.NFKD(), normalizers.Lowercase(),
              normalizers.Strip(), normalizers.Strip(left=False), normalizers.StripAccents(), normalizers.Prepend("▁"),
              normalizers.Replace(" ", "▁"), normalizers.Replace(regex(r"\s+"), " "), normalizers.ByteLevel(),
              normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Strip(right=False)])]
    for one in normal:
        component = json.loads(pickle_json(one))
        for _ in range(25):
            text = random_text(r)
            lines.append({"role": "normalizer", "component": component, "text": text, "result": one.normalize_str(text)})
    behaviors = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
    pre = [pre_tokenizers.Split(regex(p), "isolated") for p in (QWEN2, LLAMA3, O200K_LIKE, r"\s", r"\S+", r"[^\s]+|\s")]
    pre += [pre_tokenizers.Split(regex(r"\p{N}|[.,!?]+"), b, invert=i) for b in behaviors for i in (False, True)]
    pre += [pre_tokenizers.Split(" ", b) for b in behaviors]
    pre += [pre_tokenizers.ByteLevel(add_prefix_space=p, use_regex=u) for p in (False, True) for u in (False, True)]
    pre += [pre_tokenizers.Metaspace(prepend_scheme=s, split=c) for s in ("always", "first", "never") for c in (False, True)]
    pre += [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Digits(individual_digits=False),
            pre_tokenizers.Whitespace(), pre_tokenizers.WhitespaceSplit(), pre_tokenizers.CharDelimiterSplit("e"),
            pre_tokenizers.BertPreTokenizer()]
    pre += [pre_tokenizers.Punctuation(b) for b in behaviors]
    for one in pre:
        component = json.loads(pickle_json(one))
        for _ in range(16):
            text = random_text(r)
            lines.append({"role": "pre_tokenizer", "component": component, "text": text,
                          "result": [word for word, _ in one.pre_tokenize_str(text)]})
    pieces = ["▁a", "▁", "▁▁b", "<0x0A>", "<0xE4>", "<0xBD>", "<0xA0>", "Ġhello", "Ċ", "你", " x ", "", "<s>", "ä½ł", "  yy", "▁▁zz▁", "▁z▁▁"]
    decode = [decoders.ByteLevel(), decoders.ByteFallback(), decoders.Fuse(), decoders.Replace("▁", " "),
              decoders.Replace(regex("[ab]"), "-"), decoders.Strip(" ", 1, 0), decoders.Strip("▁", 2, 1),
              decoders.Metaspace(), decoders.Metaspace(prepend_scheme="never"),
              decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                 decoders.Strip(" ", 1, 0)])]
    for one in decode:
        component = json.loads(pickle_json(one))
        for _ in range(12):
            tokens = [r.choice(pieces) for _ in range(r.randint(0, 6))]
            if component["type"] == "Strip": tokens = [t for t in tokens if len(t) > 2]  # the library fails on shorter ones
            result = one.decode(tokens)
            if "\ufffd" not in result:  # Lodestone keeps the bytes that the library replaces
                lines.append({"role": "decoder", "component": component, "text": tokens, "result": result})
    write_lines("components.jsonl", lines)


def pickle_json(component):
    state = component.__getstate__()
    return state if isinstance(state, str) else state.decode()


def compare(program, folder, count):
    """Fresh random texts through PROGRAM and through the library; prints the first differences."""
    r = random.Random()
    texts = [random_text(r) for _ in range(count)]
    lines = "".join(json.dumps(t) + "\n" for t in texts)
    ours = subprocess.run([program, "--ids", folder], input=lines, capture_output=True, text=True, check=True).stdout
    file = pathlib.Path(folder)
    one = tokenizers.Tokenizer.from_file(str(file / "tokenizer.json" if file.is_dir() else file))
    wrong = [(t, json.loads(o), one.encode(t).ids) for t, o in zip(texts, ours.splitlines()) if json.loads(o) != one.encode(t).ids]
    for text, got, wanted in wrong[:5]:
        print(repr(text), "\n  got   ", got, "\n  wanted", wanted)
    print(f"{folder}: {count - len(wrong)} of {count} equal")
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--compare":
        sys.exit(compare(sys.argv[2], sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 2000))
    id_cases()
    component_cases()
