"""Prints tests/data/eval/correlations.jsonl: rank correlations of random ratings with ties, by scipy 1.17.1.

python tests/oracle/correlation_cases.py > tests/data/eval/correlations.jsonl
"""
import json
import random

from scipy import stats

random.seed(3)
for case in range(40):
    count = random.choice((2, 3, 5, 10, 50))
    levels = random.choice((2, 3, 10, 1000))
    a = [random.randrange(levels) / 2 for _ in range(count)]
    b = [x + random.gauss(0, levels / 4) if levels == 1000 else random.choice((x, random.randrange(levels))) for x in a]
    if len(set(a)) == 1 or len(set(b)) == 1:
        continue
    print(json.dumps({"a": a, "b": b, "pearson": stats.pearsonr(a, b).statistic, "spearman": stats.spearmanr(a, b).statistic,
                      "kendall": stats.kendalltau(a, b).statistic}))
