"""Whether a picture shows what its prompt asked for, by the judge."""

import torch

from .compose import labels as L
from .feed import to_model_range
from .judge import REGIONS, Judge
from .runtime import load, load_weights

TOP = 3  # with two things in a picture, each must be among this many
_CLASSES = {"style": L.STYLES, "colour": L.COLOUR_NAMES, "scene": L.SCENES, "material": L.MATERIAL_NAMES, "filter": L.FILTER_NAMES, "count": L.COUNTS}
_HALVES = {"across": ("left", "right"), "down": ("upper", "lower")}


def load_judge(path, device):
    saved = load(path)
    return load_weights(Judge(saved["concepts"]), saved["weights"]).to(device).eval()


@torch.no_grad()
def judge_pictures(judge, pictures, device, batch=128):
    outputs = [judge(to_model_range(part.to(device))) for part in pictures.split(batch)]
    return {name: torch.cat([out[name] for out in outputs]).float().cpu() for name in outputs[0]}


def passes(item, outputs, i):
    """True if the concepts are seen (in their halves, for a relation) and the item's attribute is right."""
    concepts = outputs["concepts"][i]
    if "axis" in item:
        regions = [REGIONS.index(half) for half in _HALVES[item["axis"]]]
    else:
        regions = [0] * len(item["accepted"])
    top = 1 if len(item["accepted"]) == 1 else TOP
    for region, accepted in zip(regions, item["accepted"]):
        if not set(concepts[region].topk(top).indices.tolist()) & set(accepted):
            return False
    return all(classes[int(outputs[name][i].argmax())] == item[name] for name, classes in _CLASSES.items() if name in item)


def family_scores(items, outputs):
    """Percentage of pictures that pass, by family."""
    counts = {}
    for i, item in enumerate(items):
        hit, total = counts.get(item["family"], (0, 0))
        counts[item["family"]] = (hit + passes(item, outputs, i), total + 1)
    return {family: {"percent": round(100 * hit / total, 1), "pictures": total} for family, (hit, total) in counts.items()}


def namesakes(pack):
    """For every concept, all concepts that share one of its names."""
    by_name = {}
    for i in pack.ids:
        for name in pack.concepts[i]["names"]:
            by_name.setdefault(name, set()).add(i)
    return {i: sorted(set().union(*(by_name[name] for name in pack.concepts[i]["names"]))) for i in pack.ids}


def item_from_labels(family, row, same):
    """The evaluation item a composed picture would answer to."""
    values = dict(zip(L.COLUMNS, row))
    item = {"family": family, "accepted": [same[values[name]] for name in ("first", "second") if values[name] >= 0]}
    attribute = {"color": "colour", "relation": "axis"}.get(family, family)
    if attribute in _CLASSES and values[attribute] >= 0:
        item[attribute] = _CLASSES[attribute][values[attribute]]
    if family == "relation":
        item["axis"] = L.AXES[values["axis"]]
    return item
