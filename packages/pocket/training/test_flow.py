"""Checks guidance on a toy model. Needs no GPU and no data. usage: test_flow.py"""

import torch

from pocket.flow import guided_velocity, style_guided_velocity

EMPTY = torch.tensor([0, 0])


def toy(x, t, ids):
    """A velocity that depends on all that a denoiser's does."""
    return x * t.view(-1, 1, 1, 1) + ids.float().mean(1).view(-1, 1, 1, 1)


def check_style_guidance():
    x, t = torch.randn(5, 2, 4, 4), torch.rand(5)
    ids = torch.tensor([[4, 6], [4, 0], [8, 6], [2, 0], [6, 6]])
    unstyled = torch.tensor([[4, 0], [4, 0], [8, 0], [2, 0], [6, 0]])
    plain = guided_velocity(toy, x, t, ids, EMPTY, 3.5)
    styled = style_guided_velocity(toy, x, t, ids, unstyled, EMPTY, 3.5, 2.0)
    # The words left out move the toy's velocity by 3.
    expected = torch.tensor([6.0, 0.0, 6.0, 0.0, 6.0]).view(-1, 1, 1, 1).expand_as(x)
    torch.testing.assert_close(styled - plain, expected)
    torch.testing.assert_close(style_guided_velocity(toy, x, t, ids, unstyled, EMPTY, 3.5, 0.0), plain)
    print("style guidance: added for captions that name a style, and for no others")


def check_full_half():
    """More captions with a style than may have the term: as many as may, and the others as without."""
    x, t, ids = torch.randn(6, 2, 4, 4), torch.rand(6), torch.full((6, 2), 6)
    unstyled = torch.tensor([[6, 0]]).expand(6, 2)
    added = style_guided_velocity(toy, x, t, ids, unstyled, EMPTY, 3.5, 1.0) - guided_velocity(toy, x, t, ids, EMPTY, 3.5)
    assert added.mean((1, 2, 3)).round().sort().values.tolist() == [0, 0, 0, 3, 3, 3], added
    print("style guidance: half of a batch at most")


if __name__ == "__main__":
    torch.manual_seed(0)
    check_style_guidance()
    check_full_half()
