"""Phase 4: scores on the held-out prompts, and the sheets to look at.

usage: evaluate.py score --variant teacher|student|shipped ... | real ... | sheets ... | table RUNS
Every command takes --pack --tokenizer --prompts --runs (folder with vae.pt, teacher.pt, student.pt, judge.pt) and --out,
and waits for the weights that are not there yet.
"""

import argparse
import json
import os

import torch

from pocket.compose.composer import Composer
from pocket.compose.pack import Pack
from pocket.generate import Generator
from pocket.rehearsal import size
from pocket.runtime import wait_for
from pocket.scoring import family_scores, item_from_labels, judge_pictures, load_judge, namesakes
from pocket.sheets import write_sheets

TEACHER_STEPS = size(25, 2)
VARIANTS = {
    "teacher": {"weights": "teacher.pt", "steps": TEACHER_STEPS, "quantised": False},
    "student": {"weights": "student.pt", "steps": 4, "quantised": False},
    "shipped": {"weights": "student.pt", "steps": 4, "quantised": True},
}
# family of the table: the composer's family it is calibrated on
REAL_FAMILIES = {
    "plain": "plain", "color": "color", "pair": "pair", "relation": "pair", "ride": "ride", "hold": "hold", "wear": "wear",
    "scene": "scene", "style": "plain", "material": "material", "filter": "filter", "count": "count",
}


def build(options, variant, device):
    choice = VARIANTS[variant]
    paths = [wait_for(os.path.join(options.runs, name)) for name in (choice["weights"], "vae.pt")]
    generator = Generator(*paths, options.tokenizer, device, choice["quantised"], fast=variant == "teacher")
    guidance = options.guidance if variant == "teacher" else 1.0
    return lambda prompts, seeds: generator(prompts, seeds, choice["steps"], guidance)


def score(options, device):
    with open(options.prompts) as file:
        items = [item for item in json.load(file)[:: options.every] for _ in range(options.seeds)]
    judge = wait_for(os.path.join(options.runs, "judge.pt"))
    pictures = build(options, options.variant, device)([item["prompt"] for item in items], list(range(len(items))))
    return family_scores(items, judge_pictures(load_judge(judge, device), pictures, device))


def score_real(options, device, per_family=150):
    """The judge's own ceiling: pictures composed with hold-outs allowed."""
    pack = Pack(options.pack)
    composer, same = Composer(pack, seed=9001, train=False), namesakes(pack)
    items, pictures = [], []
    for family, source in REAL_FAMILIES.items():
        for _ in range(max(1, per_family // options.every)):
            image, *_, labels = composer.sample(source)
            while (family == "style" and labels.style == "3d"):
                image, *_, labels = composer.sample(source)
            items.append(item_from_labels(family, labels.row(), same))
            pictures.append(torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(256, 256, 3))
    judge = load_judge(wait_for(os.path.join(options.runs, "judge.pt")), device)
    return family_scores(items, judge_pictures(judge, torch.stack(pictures), device))


def table(runs):
    """Prints the scores of every variant found in a folder, by family."""
    columns = [name for name in ("real", *VARIANTS) if os.path.exists(os.path.join(runs, f"score-{name}.json"))]
    scores = {}
    for name in columns:
        with open(os.path.join(runs, f"score-{name}.json")) as file:
            scores[name] = json.load(file)
    print("family".ljust(10) + "".join(name.rjust(9) for name in columns) + "  pictures")
    for family in scores[columns[-1]]:
        row = [scores[name].get(family, {}).get("percent", float("nan")) for name in columns]
        print(family.ljust(10) + "".join(f"{value:9.1f}" for value in row) + f"{scores[columns[-1]][family]['pictures']:10d}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["score", "real", "sheets", "table"])
    parser.add_argument("--variant", choices=list(VARIANTS))
    parser.add_argument("--pack", default="pack")
    parser.add_argument("--tokenizer", default="../model/tokenizer/tokenizer.json")
    parser.add_argument("--prompts", default="prompts.json")
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--out", default="runs")
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--every", type=int, default=size(1, 80), help="use one prompt in this many")
    parser.add_argument("--seeds", type=int, default=2, help="pictures of each prompt")
    parser.add_argument("--pool", type=int, default=size(12000, 24), help="training pictures to search for neighbours")
    parser.add_argument("--workers", type=int, default=16)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    os.makedirs(options.out, exist_ok=True)
    if options.command == "table":
        table(options.runs)
    elif options.command == "sheets":
        write_sheets(options, device, lambda: {name: build(options, name, device) for name in VARIANTS})
    else:
        name = options.variant if options.command == "score" else "real"
        result = score(options, device) if options.command == "score" else score_real(options, device)
        with open(os.path.join(options.out, f"score-{name}.json"), "w") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
