"""Losses and gradients of TRL's preference trainers on made-up log-probabilities: tests/data/loss/trl.txt.

    pip download --no-deps trl==0.19.1 && unzip trl-0.19.1-py3-none-any.whl -d trl_files
    python tests/oracle/preference_losses.py trl_files/trl > tests/data/loss/trl.txt

The loss methods are taken from TRL's files as they stand and run in double; the trainers around them are not needed, so
torch is the only package. What the trainers do around the method is one line each, quoted below.
"""
import ast
import pathlib
import random
import sys
import types

import torch
import torch.nn.functional as F


def method(file, name):
    """The function `name` of a class in trl/trainer/`file`."""
    tree = ast.parse((pathlib.Path(sys.argv[1]) / "trainer" / file).read_text())
    found = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == name)
    found.returns, found.decorator_list = None, []
    for argument in found.args.args:
        argument.annotation = None
    divergence = {"ALPHA_DIVERGENCE": "alpha", "JS_DIVERGENCE": "js"}
    kinds = types.SimpleNamespace(**{k: types.SimpleNamespace(value=v) for k, v in divergence.items()})
    scope = {"torch": torch, "F": F, "FDivergenceType": kinds}
    exec(compile(ast.Module([found], []), file, "exec"), scope)
    return scope[name]


cpo_loss = method("cpo_trainer.py", "cpo_loss")
dpo_loss = method("dpo_trainer.py", "dpo_loss")
odds_ratio_loss = method("orpo_trainer.py", "odds_ratio_loss")

# Three pairs. The chosen answers are equally long: TRL's supervised term is a mean over the tokens of the batch.
random.seed(5)
pairs, references = [], []
for rejected_length in (1, 4, 6):
    pair = [[round(-2.5 * random.random() - 0.02, 6) for _ in range(n)] for n in (3, rejected_length)]
    pairs.append(pair)
    references.append([round(sum(tokens) + random.uniform(-1.5, 1.5), 6) for tokens in pair])
for group, (pair, reference) in enumerate(zip(pairs, references)):
    for role in (0, 1):
        print("answer", group, role, reference[role], len(pair[role]), *pair[role])


def case(name, beta, gamma, smoothing, hinge):
    tokens = [[torch.tensor(t, dtype=torch.float64, requires_grad=True) for t in pair] for pair in pairs]
    is_mean = name in ("simpo", "orpo")  # average_log_prob=self.loss_type in ["ipo", "simpo"]; True in ORPO
    chosen, rejected = (torch.stack([p[r].mean() if is_mean else p[r].sum() for p in tokens]) for r in (0, 1))
    trainer = types.SimpleNamespace(
        beta=beta, simpo_gamma=gamma, label_smoothing=smoothing, loss_type="hinge" if hinge else "sigmoid",
        accelerator=types.SimpleNamespace(device="cpu"), reference_free=False, f_divergence_type="reverse_kl")
    nll = -torch.cat([p[0] for p in tokens]).mean()
    if name == "simpo":
        trainer.loss_type = "simpo"
        loss = cpo_loss(trainer, chosen, rejected)[0].mean()
    elif name == "cpo":
        loss = cpo_loss(trainer, chosen, rejected)[0].mean() + 1.0 * nll  # losses.mean() + cpo_alpha * policy_nll_loss
    elif name == "dpo":
        stored = torch.tensor(references, dtype=torch.float64)
        loss = dpo_loss(trainer, chosen, rejected, stored[:, 0], stored[:, 1])[0].mean()
    else:
        loss = nll - odds_ratio_loss(trainer, chosen, rejected)[0].mean()  # policy_nll_loss - losses.mean()
    loss.backward()
    gradient = [float(g) for pair in tokens for t in pair for g in t.grad]
    print("case", name, beta, gamma, smoothing, int(hinge), repr(float(loss.detach())), *map(repr, gradient))


for smoothing in (0.0, 0.1):
    case("simpo", 2.0, 0.5, smoothing, False)
    case("simpo", 10.0, 3.0, smoothing, False)
    case("cpo", 0.1, 0.0, smoothing, False)
    case("cpo", 1.5, 0.0, smoothing, False)
    case("dpo", 0.1, 0.0, smoothing, False)
    case("dpo", 1.5, 0.0, smoothing, False)
case("cpo", 0.3, 0.0, 0.0, True)
case("dpo", 0.3, 0.0, 0.0, True)
case("orpo", 0.1, 0.0, 0.0, False)
case("orpo", 1.0, 0.0, 0.0, False)
