"""The simulator's side of ``citris rollout --truth``: the true state of a frame, and its future."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from citris_cli.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from citris_cli.causal_model import CausalModel
    from citris_cli.evaluation.futures import Act
    from citris_cli.show.console import Console
    from citris_cli.worlds.world import World


@dataclass(frozen=True)
class Start:
    """The state that a future starts from, in its world."""

    world: World
    state: np.ndarray[Any, Any]

    def shares_values(self, other: Start) -> bool:
        """Whether true values of the other state mean the same in this one's world, whatever its seed."""
        worlds = self.world, other.world
        return len({(world.name, tuple(variable.name for variable in world.variables)) for world in worlds}) == 1


def true_start(image: Path, model: CausalModel) -> Start:
    """World and true values of a frame of a dataset.

    Raises:
        InputError: it is no frame of a dataset that citris simulated.
    """
    found = state_of(image)
    if found is None:
        raise InputError(
            f"{image}: --truth needs a frame of a dataset written by 'citris simulate', such as data/test.npz#17, as "
            "the true state and the simulator are known only there; leave --truth out"
        )
    if (found.world.size, found.world.channels) != (model.width, model.image_channels):
        raise InputError(
            f"{image}: the frames of the world {found.world.name!r} have another size or other channels than the "
            "model's; leave --truth out"
        )
    return found


def state_of(image: Path) -> Start | None:
    """World and true values of a frame, where its file tells."""
    from citris_cli.commands.inputs import is_dataset
    from citris_cli.data.layout import find_files
    from citris_cli.data.npz import open_npz
    from citris_cli.data.paths import parse_choice
    from citris_cli.data.shards import look_at_frames
    from citris_cli.worlds.recorded import recorded_world

    choice = parse_choice(image)
    if not is_dataset(choice.path):
        return None
    files = find_files(choice.path, ("train",))
    counts = [look_at_frames(file).count for file in files]
    number = choice.numbers(sum(counts), "dataset")[0][0]
    for file, count in zip(files, counts, strict=True):
        if number < count:
            world = recorded_world(file)
            if world is None:
                return None
            with open_npz(file) as arrays:
                states = arrays.array("latents").reshape(-1, len(world.variables))
            return Start(world, states[number])
        number -= count
    return None


@dataclass(frozen=True, eq=False)
class Simulated:
    """The simulator's future: true values [T+1, F] and frames uint8 [T+1, W, W, C]."""

    latents: np.ndarray[Any, Any]
    images: np.ndarray[Any, Any]


def simulated_from(
    start: Start, model: CausalModel, steps: int, acts: list[Act], seed: int, console: Console
) -> Simulated:
    """One future by the simulator, from the same state and under the same interventions as the model's.

    Args:
        start: world and state.
        model: whose variables are intervened on.
        steps: number of steps T.
        acts: the interventions, with true values where they are known.
        seed: of what the simulator draws.
        console: notes go there.
    """
    from citris_cli.evaluation.futures import simulated_future

    latents = simulated_future(model, start.world, start.state, steps, acts, seed)
    drawn = [act for act in acts if act.state is None]
    if drawn:
        console.note(
            "where the model samples a value, or takes it from a picture whose true values are unknown, the simulator "
            "draws its own; values from other frames of the dataset (5:x=data.npz#3) are the same for both"
        )
    return Simulated(latents, start.world.render(latents))
