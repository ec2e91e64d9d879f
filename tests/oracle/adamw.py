"""Numbers that the backends' adamw operation is tested against: torch.optim.AdamW in double precision.

Run once, by hand, with torch installed (made with torch 2.11):

    python tests/oracle/adamw.py

It writes tests/data/optim/adamw.json: for each case its settings, the initial weights, and for every step the gradient
and the weights and both moments after the step. The tests read only that file.
"""

import json
import pathlib

import torch

DATA = pathlib.Path(__file__).resolve().parent.parent / "data" / "optim"

CASES = [
    dict(lr=2e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0),
    dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.1),
    dict(lr=0.5, betas=(0.0, 0.5), eps=1e-2, weight_decay=0.5),
]


def run(settings):
    generator = torch.Generator().manual_seed(7)
    weights = torch.nn.Parameter(torch.randn(7, dtype=torch.float64, generator=generator))
    case = {**settings, "weights": weights.tolist(), "steps": []}
    optimiser = torch.optim.AdamW([weights], foreach=False, **settings)
    for _ in range(6):
        weights.grad = torch.randn(7, dtype=torch.float64, generator=generator)
        weights.grad[0] = 0.0
        gradient = weights.grad.tolist()
        optimiser.step()
        state = optimiser.state[weights]
        case["steps"].append({
            "gradient": gradient,
            "weights": weights.tolist(),
            "first_moment": state["exp_avg"].tolist(),
            "second_moment": state["exp_avg_sq"].tolist(),
        })
    return case


if __name__ == "__main__":
    DATA.mkdir(parents=True, exist_ok=True)
    (DATA / "adamw.json").write_text(json.dumps([run(case) for case in CASES], indent=1) + "\n")
