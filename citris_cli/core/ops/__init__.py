"""What has to be fast, each operation once: its formula and reference in PyTorch, its fast form, and the one decision.

A module is an operation or a few that belong together. Its function (``network``, ``composed``, ``gumbel_softmax``, …)
is what the models call; ``…_reference`` is the same in plain PyTorch; the compiled form is behind
:func:`citris_cli.core.ops.library.usable`. Nothing here knows a model. docs/operations.md has the list.
"""
