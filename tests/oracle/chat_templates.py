"""Chat templates: what jinja2, set up as transformers does, makes of our own templates, and of real ones on request.

Writes tests/data/chat/features.jsonl (templates of this file, one feature a line) and tests/data/chat/ids.jsonl (whole
conversations with the ids of apply_chat_template). With --real FOLDER it renders every *.jinja there for a set of
conversations and writes FOLDER/expected.json, which the test reads when LODESTONE_TEST_TEMPLATES names the folder.
"""
import json
import os
import pathlib
import sys

import tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/data/chat"
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}

CONVERSATIONS = {
    "question": [{"role": "user", "content": "Hello there"}],
    "answer": [{"role": "user", "content": "Hello there"}, {"role": "assistant", "content": "Hi! How can I help?"}],
    "system": [{"role": "system", "content": "You are a pirate.\nSpeak so."}, {"role": "user", "content": " What's up? "},
               {"role": "assistant", "content": "Arr <b>\"quoted\"</b> & co\n"},
               {"role": "user", "content": "Tell me äöü 中文 🙂\n\nmore"}],
    "rounds": [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"},
               {"role": "user", "content": "2+2?"},
               {"role": "assistant", "content": "<think>\nadd them\n</think>\n\n4"},
               {"role": "user", "content": "3+3?"}, {"role": "assistant", "content": "6"}],
    "empty": [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}, {"role": "user", "content": "x"}],
    "late_system": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
                    {"role": "system", "content": "c"}, {"role": "user", "content": "d"}],
    "wrong_order": [{"role": "assistant", "content": "b"}, {"role": "user", "content": "d"}],
}

VALUES = {
    "name": "Ada", "empty": "", "number": 7, "negative": -3, "real": 2.5, "yes": True, "no": False, "nothing": None,
    "words": ["pear", "Apple", "fig", "apple"], "numbers": [3, 1, 2], "mixed": [1, "two", 3.5, None, True, [4], {"k": "v"}],
    "dict": {"b": 2, "a": 1, "C": [1, 2]}, "text": "  one two\n  three  ", "greek": "Ελλάδα été", "emoji": "a🙂b中c",
    "html": "<a href=\"x\">'&'</a>", "people": [{"name": "Bo", "age": 3, "to": {"x": 1}}, {"name": "al", "age": 2},
                                                {"name": "Cy", "age": 3}],
    "messages": CONVERSATIONS["system"],
}

# One feature a line; a list is a template of several lines.
FEATURES = [
    # Output, literals, and what Python writes
    "{{ name }} {{ number }} {{ real }} {{ yes }} {{ nothing }} {{ missing }}|",
    "{{ 'a' 'b' \"c\" }} {{ 'it\\'s' }} {{ \"tab\\tnew\\nline \\u00e9 \\x41 \\101 \\q\" }}",
    "{{ 1_000 }} {{ 1.5e3 }} {{ 1e20 }} {{ 1e-5 }} {{ 100000000000000000000.0 }} {{ 0.1 + 0.2 }} {{ 1e16 }} {{ 5.0 }}",
    "{{ [1, 'a', none, true, 2.0, [], {}, (1,), ()] }} {{ {'k': 'it\\'s', 1: [2]} }} {{ ('a', 'b') }}",
    "{{ 'both \" and \\'' }} {{ ['both \" and \\'', \"it's\", 'line\\n\\t\\\\'] }}",
    "{{ mixed }} {{ dict }} {{ emoji }} {{ [emoji] }}",
    # Arithmetic and precedence
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ -2 ** 2 }}",
    "{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 1 + 1.5 }} {{ true + 1 }} {{ +number }}",
    "{{ 'ab' * 3 }} {{ 2 * [1, 2] }} {{ 'a' + 'b' }} {{ [1] + [2] }} {{ 1 ~ 'x' ~ none ~ 2.5 ~ missing }}",
    "{{ 1 ~ 2 + 3 if no else 'x' ~ 1 + 2 ~ 3 if no else 'ok' }}",
    "{{ 10 - 2 - 3 }} {{ 2 ** 3 ** 2 }} {{ 8 // 3 // 2 }} {{ -number|abs }} {{ (-number)|abs }} {{ 2 * number|string|length }}",
    # Comparison and logic
    "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 'a' < 'b' }} {{ 1 == 1.0 }} {{ true == 1 }} {{ '1' == 1 }} {{ [1, 2] < [1, 3] }}",
    "{{ 1 in numbers }} {{ 9 not in numbers }} {{ 'da' in name }} {{ 'a' in dict }} {{ 'x' in missing }} {{ none in mixed }}",
    "{{ not yes }} {{ not not yes }} {{ yes and 'r' }} {{ empty or 'd' }} {{ no and 1/0 }} {{ yes or 1/0 }} {{ '' and 1 }}|",
    "{{ 'x' if yes }}|{{ 'x' if no }}|{{ 'a' if no else 'b' if no else 'c' }}",
    "{{ missing == other }} {{ missing == none }} {{ none == none }} {{ [none] == [none] }} {{ {'a': 1} == {'a': 1.0} }}",
    # Tests
    "{{ name is defined }} {{ missing is defined }} {{ missing is undefined }} {{ nothing is none }} {{ name is not none }}",
    "{{ name is string }} {{ dict is mapping }} {{ numbers is iterable }} {{ numbers is sequence }} {{ name is sequence }} {{ number is iterable }}",
    "{{ number is number }} {{ yes is number }} {{ number is integer }} {{ yes is integer }} {{ real is float }} {{ yes is boolean }} {{ yes is true }} {{ no is false }}",
    "{{ 4 is even }} {{ 4 is odd }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ 1 is eq 1 }} {{ 1 is equalto 2 }} {{ 3 is gt 2 }} {{ 3 is lt(2) }} {{ 3 is ge 3 }} {{ 1 is ne 1 }}",
    "{{ 'a' is in ['a'] }} {{ 'abc' is lower }} {{ 'ABC' is upper }} {{ 'a' is sameas 'b' }} {{ number is not string and yes }} {{ missing is sequence }} {{ missing is iterable }}",
    # Subscripts, slices, attributes
    "{{ dict.a }} {{ dict['b'] }} {{ people[0].name }} {{ people[-1]['name'] }} {{ people.0.to.x }} {{ people[9] }}|{{ dict.zz }}|",
    "{{ numbers[1:] }} {{ numbers[:-1] }} {{ numbers[::-1] }} {{ numbers[5:] }} {{ numbers[-2:] }} {{ numbers[::2] }} {{ numbers[2:0:-1] }}",
    "{{ emoji[1] }} {{ emoji[-1] }} {{ emoji[1:3] }} {{ emoji[::-1] }} {{ emoji[10:] }}|{{ emoji|length }} {{ name[0] }} {{ name[5] }}|",
    "{{ none.x }}|{{ name.x }}|{{ name['upper']() }} {{ (1, 2)[0] }} {{ [[1, 2], [3]][0][1] }} {{ {'a': {'b': 3}}.a.b }}",
    # Statements
    "{% if no %}a{% elif missing %}b{% elif number == 7 %}c{% else %}d{% endif %}",
    "{% for x in numbers %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {{ x }};{% endfor %}",
    "{% for x in words %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {{ loop.previtem is defined }}{{ loop.cycle('a', 'b', 'c') }};{% endfor %}",
    "{% for x in numbers if x > 1 %}{{ x }}{{ loop.length }},{% else %}none{% endfor %}{% for x in [] %}x{% else %}nothing{% endfor %}",
    "{% for k, v in dict.items() %}{{ k }}={{ v }};{% endfor %}{% for k in dict %}{{ k }}{% endfor %}{% for (a, b) in [(1, 2), (3, 4)] %}{{ a }}{{ b }}{% endfor %}",
    "{% for c in emoji %}{{ c }}.{% endfor %}{% for x in missing %}x{% else %}e{% endfor %}{% for i in range(3) %}{{ i }}{% endfor %}{{ range(5, 1, -2)|list }}",
    "{% for a in numbers %}{% for b in [1, 2] %}{{ loop.index }}{{ a }}{{ b }}{{ loop.depth }} {% endfor %}{{ loop.index }};{% endfor %}",
    "{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% set a = 1 %}{% for x in numbers %}{% set a = a + x %}{{ a }} {% endfor %}{{ a }}",
    "{% set ns = namespace(total=0, last=none) %}{% for x in numbers %}{% set ns.total = ns.total + x %}{% set ns.last = x %}{% endfor %}{{ ns.total }} {{ ns.last }} {{ ns.other }}|",
    "{% set a, b = 1, 'two' %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}{% set d %}  block {{ a }} {% endset %}[{{ d }}]{% set e | trim | upper %} x {% endset %}[{{ e }}]",
    "{% if yes %}{% set inside = 5 %}{% endif %}{{ inside }}{% with q = 3, r = 4 %}{{ q }}{{ r }}{% set inside = 6 %}{% endwith %}{{ q }}{{ inside }}",
    "{% macro m(a, b='x', c=b) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(b=3, a=4) }}{{ m() }}{{ m(1)|upper }}",
    "{% macro v(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ v(1, 2, 3, k=4) }}{{ v(*[1, 2]) }}{{ v(**{'a': 5}) }}",
    "{% macro rec(n) %}{{ n }}{% if n > 0 %}{{ rec(n - 1) }}{% endif %}{% endmacro %}{{ rec(4) }}",
    "{% macro wrap(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call wrap('b') %}in {{ name }}{% endcall %}",
    "{% macro each() %}{% for x in [1, 2] %}{{ caller(x) }}{% endfor %}{% endmacro %}{% call(i) each() %}({{ i }}){% endcall %}",
    "{% filter upper %}abc {{ name }}{% endfilter %}{% filter replace('a', 'b')|trim %} aaa {% endfilter %}",
    "{% set late = 'x' %}{% macro sees() %}{{ late }}{% endmacro %}{% set late = 'y' %}{{ sees() }}",
    "{% set x = 1 %}{% macro own() %}{% set x = 2 %}{{ x }}{% endmacro %}{{ own() }}{{ x }}",
    "{# a comment {{ name }} #}{% raw %}{{ not }} {% this %}{% endraw %}{% generation %}g{{ name }}{% endgeneration %}{% print number %}",
    # White space
    ["a", "  {% if yes %}", "  b", "  {% endif %}", "c", "{% if yes %}d{% endif %}", "e"],
    ["a  ", "  {%- if yes -%}  ", "  b  ", "  {%- endif -%}", "  c"],
    ["  {%+ if yes +%}", "x", "  {%+ endif %}", "y {{- name -}} ", " z", "{{ name }}", ""],
    ["{# one #}", "  {# two #}  x", "{#- three -#}", "  y  {#+ four #}", "z", "", ""],
    ["{% for x in numbers %}", "{{ x }}", "{% endfor %}", "", "{% set a = 1 %}", "", "end", ""],
    ["{%- for x in numbers %}", "    {%- if x > 1 %}", "        {{- x }}", "    {%- endif %}", "{%- endfor %}", "."],
    ["  {% raw %}  ", " {{ x }} ", "  {% endraw %}  ", "  {%- raw -%}  y  {%- endraw -%}  z"],
    "a {%- set x = 1 %} b {% set y = 2 -%} c\t{%- if yes %}\nd\n{%- endif %}\n\n",
    "text\r\n{% if yes %}\r\nx\r{% endif %}\r\nend\r\n",
    # Filters
    "{{ text|trim }}|{{ 'xxaxx'|trim('x') }}|{{ name|upper }}{{ name|lower }}{{ greek|upper|lower }}{{ 'heLLo wORLD'|capitalize }}{{ \"it's a-b (c) d\"|title }}",
    "{{ words|join }} {{ words|join(', ') }} {{ numbers|join('-') }} {{ people|join(',', attribute='name') }} {{ name|join('.') }}",
    "{{ missing|default('d') }} {{ empty|default('d') }}|{{ empty|default('d', true) }} {{ none|d('x') }} {{ missing|default(default_value='q') }}",
    "{{ name|length }} {{ numbers|count }} {{ dict|length }} {{ missing|length }} {{ words|first }} {{ words|last }} {{ name|first }} {{ name|last }} {{ []|first }}|",
    "{{ '42'|int }} {{ '4.7'|int }} {{ 'x'|int }} {{ 'x'|int(9) }} {{ 2.9|int }} {{ '1.5'|float }} {{ 'x'|float }} {{ true|int }} {{ 'ff'|int(base=16) }} {{ none|int }} {{ ' 5 '|int }}",
    "{{ number|string + '!' }} {{ [1]|string }} {{ name|list }} {{ dict|list }} {{ name|reverse }} {{ numbers|reverse|list }} {{ html|e }} {{ html|safe }}",
    "{{ words|sort }} {{ words|sort(reverse=true) }} {{ words|sort(case_sensitive=true) }} {{ people|sort(attribute='age,name')|map(attribute='name')|list }} {{ words|unique|list }}",
    "{{ dict|dictsort }} {{ dict|dictsort(true) }} {{ dict|dictsort(reverse=true) }} {{ {'a': 2, 'b': 1}|dictsort(by='value') }} {{ dict|items|list }}",
    "{{ people|map(attribute='name')|list }} {{ words|map('upper')|join(',') }} {{ people|map(attribute='to.x', default=0)|list }} {{ numbers|map('string')|list }}",
    "{{ numbers|select('gt', 1)|list }} {{ mixed|select|list }} {{ numbers|reject('even')|list }} {{ mixed|select('string')|list }}",
    "{{ people|selectattr('age', 'equalto', 3)|map(attribute='name')|list }} {{ people|selectattr('to')|list|length }} {{ people|rejectattr('to', 'defined')|list|length }} {{ messages|selectattr('role', 'equalto', 'user')|list|length }}",
    "{{ name|replace('A', 'B') }} {{ 'aaa'|replace('a', 'b', 2) }} {{ 'ab'|replace('', '-') }} {{ 1.25|round }} {{ 2.5|round }} {{ 3.14159|round(2) }} {{ 7.2|round(0, 'ceil') }} {{ 7.9|round(method='floor') }} {{ 5|round }}",
    "{{ numbers|sum }} {{ people|sum(attribute='age') }} {{ numbers|sum(start=10) }} {{ numbers|min }} {{ words|max }} {{ people|max(attribute='age') }} {{ []|min }}|",
    "{{ range(7)|batch(3)|list }} {{ range(4)|batch(3, '-')|list }} {{ 'a b  c'|wordcount }} {{ 'x'|center(5) }}| {{ '%s-%d-%.2f-%5s|%%'|format('a', 3, 1.5, 'b'|string) if no else '%s-%d-%.2f'|format('a', 3, 1.5) }}",
    ["{{ 'one\ntwo\n\nthree'|indent }}", "{{ 'one\ntwo'|indent(2, true) }}", "{{ 'a\n\nb'|indent(width=3, blank=true) }}", "{{ 'a\nb'|indent('> ') }}"],
    "{{ dict|tojson }} {{ mixed|tojson }} {{ html|tojson }} {{ greek|tojson }} {{ greek|tojson(ensure_ascii=true) }} {{ emoji|tojson(true) }}",
    "{{ dict|tojson(indent=2) }} {{ []|tojson(indent=2) }} {{ {'b': 1, 'a': {}}|tojson(sort_keys=true) }} {{ dict|tojson(separators=(',', ':')) }} {{ 'a\"b\\\\c\\n\\t\\x01\\x7f'|tojson }} {{ 1.0|tojson }} {{ {1: 2, none: 3, true: 4}|tojson }}",
    # Methods
    "{{ text.strip() }}|{{ text.lstrip() }}|{{ text.rstrip() }}|{{ 'xyax'.strip('xy') }}|{{ 'a,b,,c'.split(',') }} {{ text.split() }} {{ 'a b c'.split(' ', 1) }} {{ 'a.b.c'.rsplit('.', 1) }} {{ 'a b c'.split(none, 1) }}",
    "{{ name.startswith('A') }} {{ name.endswith(('x', 'a')) }} {{ name.replace('d', 'D') }} {{ 'aaa'.replace('a', 'b', 1) }} {{ name.upper() }}{{ name.lower() }} {{ \"they're bill's\".title() }} {{ 'aB'.swapcase() }} {{ 'abc'.capitalize() }}",
    "{{ ','.join(['a', 'b']) }} {{ name.find('d') }} {{ name.find('z') }} {{ emoji.find('c') }} {{ 'abab'.rfind('b') }} {{ 'abab'.count('ab') }} {{ '7'.isdigit() }} {{ 'a1'.isalnum() }} {{ 'ab'.isalpha() }} {{ ' '.isspace() }} {{ 'Ab'.islower() }} {{ '7'.zfill(3) }} {{ '-7'.zfill(4) }}",
    "{{ '{} {} {{}}'.format(1, 'b') }} {{ '{1}{0}{k}'.format('a', 'b', k='c') }} {{ '%s and %s' % ('a', 1) }} {{ 'a-b-c'.partition('-') }} {{ 'x'.ljust(3) }}|{{ 'x'.rjust(3, '*') }} {{ 'prefix'.removeprefix('pre') }} {{ 'a\nb\r\nc\n'.splitlines() }}",
    "{{ dict.get('a') }} {{ dict.get('z') }} {{ dict.get('z', 'd') }} {{ dict.keys()|list }} {{ dict.values()|list }} {{ dict.items()|list }} {{ numbers.index(1) }} {{ words.count('fig') }}",
    # Functions, and what a conversation does
    "{{ namespace(a=1).a }} {% set n = namespace({'x': 2}) %}{{ n.x }}{% set n.x = 'y' %}{{ n['x'] }}",
    ["{%- set system = '' %}", "{%- if messages[0]['role'] == 'system' %}", "    {%- set system = messages[0]['content']|trim %}",
     "    {%- set messages = messages[1:] %}", "{%- endif %}", "{{- '<|system|>' + system }}",
     "{%- for message in messages %}", "    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}",
     "        {{- raise_exception('roles must alternate') }}", "    {%- endif %}",
     "    {{- '<|' + message.role + '|>' + message['content'] | trim + '<|end|>' }}", "{%- endfor %}"],
    # What fails
    "{{ missing.x }}", "{{ missing + 1 }}", "{{ 'a' + 1 }}", "{{ 1 < 'a' }}", "{{ raise_exception('no ' ~ name) }}",
    "{{ numbers.append(4) }}", "{{ 1 / 0 }}", "{{ 1 in name }}", "{{ none|join }}", "{{ missing() }}", "{{ name() }}",
    "{% for x in 5 %}{% endfor %}", "{% set a, b = [1] %}", "{% set name.x = 1 %}", "{{ 'a'.split('') }}",
    "{% if yes %}", "{% endif %}", "{{ name", "{{ name }", "{% unknown %}", "{{ 1 + }}", "{{ (1 }}", "{{ [1 }}", "{# x",
    "{% for x numbers %}{% endfor %}", "{{ 'abc }}", "{% set = 1 %}", "{% raw %}x", "{{ a b }}", "{% break %}",
    "{{ name | nofilter }}", "{{ name is notest }}", "{% include 'x' %}", "{{ 5 | length }}", "{{ range(200000) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(b=2) }}", "{{ missing | tojson }}",
]

# Conversation formats of our own, for ids: the markers are those of the tiny tokenizers.
FORMATS = {
    "chatml": "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
              "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "turns": "{{ bos_token }}{% for message in messages %}{{ '[' ~ message.role ~ ']\n' ~ message.content|trim }}"
             "{% if message.role == 'assistant' %}{{ eos_token }}{% else %}{{ '\n' }}{% endif %}{% endfor %}"
             "{% if add_generation_prompt %}{{ '[assistant]\n' }}{% endif %}",
    "inst": "{{ bos_token }}{% for message in messages %}{% if message.role == 'assistant' %}"
            "{{ ' ' + message.content|trim + ' ' + eos_token }}{% else %}{{ '[INST] ' + message.content|trim + ' [/INST]' }}"
            "{% endif %}{% endfor %}",
}
TOKENIZERS = {
    "gpt2": ("tests/data/tokenizer/gpt2/tokenizer.json", "<|endoftext|>", "<|endoftext|>"),
    "qwen2": ("tests/data/tokenizer/pipelines/qwen2.json", "<|endoftext|>", "<|im_end|>"),
    "llama3_style": ("tests/data/tokenizer/pipelines/llama3_style.json", "<|begin_of_text|>", "<|eot_id|>"),
    "stories260k": ("tests/data/models/stories260k/tokenizer.json", "<s>", "</s>"),
    "metaspace": ("tests/data/tokenizer/pipelines/metaspace.json", "<s>", "<sep>"),
}


def run(source, values):
    try:
        return {"text": chat_template_utils._compile_jinja_template(source).render(**values)}
    except Exception as failure:  # whatever it is: the template refuses
        return {"error": f"{type(failure).__name__}: {failure}"}


def features():
    with open(OUT / "features.jsonl", "w", encoding="utf-8") as file:
        file.write(json.dumps({"values": VALUES}) + "\n")
        for source in FEATURES:
            source = "\n".join(source) if isinstance(source, list) else source
            file.write(json.dumps({"template": source, **run(source, VALUES)}) + "\n")


def load(name, folder=None):
    path, bos, eos = TOKENIZERS[name]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer.from_file(str(folder or ROOT / path)),
                                   bos_token=bos, eos_token=eos)


def ids():
    with open(OUT / "ids.jsonl", "w", encoding="utf-8") as file:
        for name in TOKENIZERS:
            one = load(name)
            for form, source in FORMATS.items():
                for talk in ("system", "rounds"):
                    for opens in (False, True):
                        done = one.apply_chat_template(CONVERSATIONS[talk], chat_template=source, tokenize=True,
                                                       add_generation_prompt=opens, return_dict=False)
                        file.write(json.dumps({
                            "tokenizer": TOKENIZERS[name][0], "bos": TOKENIZERS[name][1], "eos": TOKENIZERS[name][2],
                            "template": source, "messages": CONVERSATIONS[talk], "opens": opens, "ids": done}) + "\n")


def real(folder):
    expected = []
    for file in sorted(pathlib.Path(folder).glob("*.jinja")):
        source = file.read_bytes().decode("utf-8")
        for name, messages in CONVERSATIONS.items():
            for opens in (False, True):
                values = dict(messages=messages, add_generation_prompt=opens, tools=None, documents=None, **TOKENS)
                expected.append({"file": file.name, "conversation": name, "values": values, **run(source, values)})
    (pathlib.Path(folder) / "expected.json").write_text(json.dumps(expected), encoding="utf-8")
    print(f"{len(expected)} cases of {len({e['file'] for e in expected})} templates")


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] == "--real":
        real(sys.argv[2])
    else:
        os.makedirs(OUT, exist_ok=True)
        features()
        ids()
