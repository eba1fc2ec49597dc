"""One module a command: its signature and what it does; no mathematics and no file formats here.

``citris --help`` imports these modules, so none imports anything heavy (torch, numpy, Pillow, rich) before it runs.
What several commands share: :mod:`~citris_cli.commands.options` their options,
:mod:`~citris_cli.commands.given_model` and :mod:`~citris_cli.commands.inputs` the model and the frames that they read,
:mod:`~citris_cli.commands.outputs` where their artifacts go and what is said of them.
"""
