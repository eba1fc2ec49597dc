"""The laws of Temporal Causal3DIdent, its graphs, and its pictures beside published ones."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from math import pi
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from citris_cli.errors import InputError
from citris_cli.worlds.causal3d import Causal3D, half_way
from citris_cli.worlds.causal3d_scene import scene
from citris_cli.worlds.causal3d_scene.shapes import shapes
from citris_cli.worlds.causal3d_scene.teapot import control_points, teapot
from citris_cli.worlds.world import combine
from tests.worlds.sequences import whole_sequence

FORMS = [
    Causal3D(shapes=shapes, coarse=coarse, instantaneous=instantaneous)
    for shapes in ("one", "seven")
    for coarse in (False, True)
    for instantaneous in (False, True)
]
X, Y, Z, ALPHA, BETA, GAMMA, SPOT, OBJECT, LIGHT, GROUND, SHAPE, MATERIAL = range(12)
STEPS = 20_000


def form_name(world: Causal3D) -> str:
    return f"{world.shapes}{'-coarse' * world.coarse}{'-instantaneous' * world.instantaneous}"


@pytest.fixture(scope="module", params=FORMS, ids=form_name)
def simulated(request: pytest.FixtureRequest) -> tuple[Causal3D, np.ndarray, np.ndarray]:
    return request.param, *whole_sequence(request.param, STEPS, np.random.default_rng(3))


def goals(world: Causal3D, last: np.ndarray, now: np.ndarray) -> np.ndarray:
    """Goals of the ten continuous values, written from the paper."""
    by = now if world.instantaneous else last
    goal = np.zeros((len(last), 10))
    goal[:, X], goal[:, Y], goal[:, Z] = (
        1.5 * np.sin(by[:, BETA]),
        1.5 * np.sin(by[:, ALPHA]),
        1.5 * np.cos(by[:, ALPHA]),
    )
    goal[:, ALPHA], goal[:, BETA] = by[:, GROUND], by[:, OBJECT]
    goal[:, SPOT] = np.arctan2(by[:, X], by[:, Y])
    goal[:, LIGHT] = 2 * pi - by[:, GROUND]
    goal[:, GROUND] = last[:, GROUND]
    if world.shapes == "one":
        goal[:, OBJECT] = last[:, OBJECT]
    else:
        mean = np.angle(np.exp(1j * by[:, LIGHT]) + np.exp(1j * by[:, GROUND]))
        ours = [0, 2 * pi / 5, mean, 4 * pi / 5, mean + pi, 6 * pi / 5, 8 * pi / 5]
        goal[:, OBJECT] = np.choose(by[:, SHAPE].astype(int), [np.broadcast_to(one, len(by)) for one in ours])
    return goal


def left_over(world: Causal3D, latents: np.ndarray) -> np.ndarray:
    """What of each step is not half of the way to the goal."""
    last, now = latents[:-1].astype(float), latents[1:].astype(float)
    goal = goals(world, last, now)
    rest = np.empty_like(goal)
    rest[:, :3] = now[:, :3] - (last[:, :3] + goal[:, :3]) / 2
    way = np.angle(np.exp(1j * (goal[:, 3:] - last[:, 3:10])))
    rest[:, 3:] = np.angle(np.exp(1j * (now[:, 3:10] - last[:, 3:10] - way / 2)))
    return rest


def test_a_step_is_half_the_way_to_the_goal_and_noise(simulated: tuple[Causal3D, np.ndarray, np.ndarray]) -> None:
    world, latents, targets = simulated
    rest = left_over(world, latents)
    for column in range(10):
        if column == GAMMA:
            continue
        free = targets[:, world.owners[column]] == 0
        noise = rest[free, column]
        std = 0.1 if column <= Z else 0.15
        assert abs(noise.mean()) < 5 * std / np.sqrt(free.sum())
        assert noise.std() == pytest.approx(std, rel=0.03)


def test_an_intervention_draws_uniformly_over_the_range(simulated: tuple[Causal3D, np.ndarray, np.ndarray]) -> None:
    world, latents, targets = simulated
    for column in range(10):
        if column == GAMMA:
            continue
        drawn = latents[1:][targets[:, world.owners[column]] == 1, column]
        low, high = (-2, 2) if column <= Z else (0, 2 * pi)
        quantiles = (np.quantile(drawn, [0.1, 0.25, 0.5, 0.75, 0.9]) - low) / (high - low)
        np.testing.assert_allclose(quantiles, [0.1, 0.25, 0.5, 0.75, 0.9], atol=0.05)


def test_interventions_are_as_frequent_as_published(simulated: tuple[Causal3D, np.ndarray, np.ndarray]) -> None:
    world, _, targets = simulated
    published = {("one", False): 10, ("one", True): 6, ("seven", False): 11, ("seven", True): 7}
    rate = 1 / published[world.shapes, world.coarse]
    assert world.probability == pytest.approx(rate)
    np.testing.assert_allclose(targets.mean(0), rate * world.intervened_on, atol=5 * np.sqrt(rate / STEPS))
    # Independent of each other: two at once as often as chance has it.
    both = targets[:, world.targets.index("rot_s")] & targets[:, world.targets.index("hue_b")]
    assert both.mean() == pytest.approx(rate**2, abs=5 * rate / np.sqrt(STEPS))


def test_values_stay_in_their_ranges(simulated: tuple[Causal3D, np.ndarray, np.ndarray]) -> None:
    world, latents, _ = simulated
    assert np.abs(latents[:, :3]).max() <= 2
    assert latents[:, ALPHA:SHAPE].min() >= 0
    assert latents[:, ALPHA:SHAPE].max() <= np.float32(2 * pi)
    assert not latents[:, [GAMMA, MATERIAL]].any()
    assert set(np.unique(latents[:, SHAPE])) == set(range(1 if world.shapes == "one" else 7))


def test_the_shape_stays_or_is_drawn_anew(simulated: tuple[Causal3D, np.ndarray, np.ndarray]) -> None:
    world, latents, targets = simulated
    if world.shapes == "one":
        return
    free = targets[:, world.targets.index("obj_s")] == 0
    changes = latents[1:, SHAPE] != latents[:-1, SHAPE]
    assert changes[free].mean() == pytest.approx(0.05 * 6 / 7, abs=0.008)
    assert changes[~free].mean() == pytest.approx(6 / 7, abs=0.04)


def test_the_shorter_way_is_taken() -> None:
    for value, goal in np.random.default_rng(0).uniform(0, 2 * pi, (500, 2)):
        way = np.angle(np.exp(1j * (goal - value)))
        assert half_way(value, goal) == pytest.approx(way / 2)


def next_states(world: Causal3D, states: np.ndarray, forced: dict[int, np.ndarray]) -> np.ndarray:
    """The states after these without noise; some values forced."""
    rows = []
    for i, state in enumerate(states):
        hit = [column in forced for column in range(12)]
        value = [float(forced[column][i]) if column in forced else 0.0 for column in range(12)]
        rows.append(world._step(state.tolist(), hit, value, [0.0] * 10, np.random.default_rng(0)))
    return np.array(rows)


def owned(world: Causal3D, changed: np.ndarray) -> set[int]:
    """The targets whose true values differ in some state."""
    return {int(world.owners[column]) for column in np.flatnonzero(changed.any(0))} - {-1}


@pytest.mark.parametrize("world", FORMS, ids=form_name)
def test_what_follows_from_a_frame_is_what_the_graphs_say(world: Causal3D) -> None:
    """A change of one variable reaches those, and only those, to which the graphs have a way."""
    rng = np.random.default_rng(1)
    states, others = world.independent(60, rng), world.independent(60, rng)
    before = next_states(world, states, {})
    within = np.linalg.matrix_power(np.eye(len(world.targets)) + world.graph_instantaneous, 12)
    for target in range(len(world.targets)):
        mask = np.zeros((60, len(world.targets)), np.uint8)
        mask[:, target] = 1
        after = next_states(world, combine(world, states, others, mask), {})
        reached = np.flatnonzero(world.graph_temporal[target] @ within > 0)
        if world.intervened_on[target]:
            assert owned(world, np.abs(after - before) > 1e-6) == set(reached.tolist())


@pytest.mark.parametrize("world", [form for form in FORMS if not form.coarse], ids=form_name)
def test_effects_within_a_frame_are_the_edges_of_the_graph(world: Causal3D) -> None:
    """With all other variables held, a change of one within the frame reaches its children alone."""
    rng = np.random.default_rng(2)
    states, held, others = (world.independent(60, rng) for _ in range(3))
    columns = [column for column in range(12) if world.intervened_on[column]]
    for effect in columns:
        for cause in columns:
            if cause == effect:
                continue
            forced = {column: held[:, column] for column in columns if column != effect}
            before = next_states(world, states, forced)
            after = next_states(world, states, {**forced, cause: others[:, cause]})
            changes = (np.abs(after - before)[:, effect] > 1e-6).any()
            assert changes == world.graph_instantaneous[cause, effect], (cause, effect)


def test_graphs_of_the_teapot_by_name() -> None:
    def edges(graph: np.ndarray, names: tuple[str, ...]) -> set[tuple[str, str]]:
        return {(names[i], names[j]) for i, j in zip(*np.nonzero(graph), strict=True) if i != j}

    assert edges(Causal3D(coarse=True).graph_temporal, Causal3D(coarse=True).targets) == {
        ("rot_o", "pos_o"), ("hue_b", "rot_o"), ("hue_o", "rot_o"), ("pos_o", "rot_s"), ("hue_b", "hue_s"),
    }  # fmt: skip
    world = Causal3D(instantaneous=True, shapes="seven")
    assert edges(world.graph_instantaneous, world.targets) == {
        ("hue_b", "hue_s"), ("hue_b", "rot_alpha"), ("hue_o", "rot_beta"), ("rot_beta", "pos_x"),
        ("rot_alpha", "pos_y"), ("rot_alpha", "pos_z"), ("pos_x", "rot_s"), ("pos_y", "rot_s"),
        ("obj_s", "hue_o"), ("hue_s", "hue_o"), ("hue_b", "hue_o"),
    }  # fmt: skip
    assert not edges(world.graph_temporal, world.targets)


@pytest.mark.parametrize("shapes", ["one", "seven"])
def test_single_and_grouped_interventions(shapes: str) -> None:
    single = Causal3D(shapes=shapes, interventions="single")
    _, targets = whole_sequence(single, STEPS, np.random.default_rng(0))
    count = int(single.intervened_on.sum())
    assert targets.sum(1).max() == 1
    np.testing.assert_allclose(targets.mean(0)[single.intervened_on], 1 / (count + 2), atol=0.01)
    grouped = Causal3D(shapes=shapes, interventions="grouped")
    _, targets = whole_sequence(grouped, STEPS, np.random.default_rng(0))
    groups = np.unique(targets, axis=0)
    assert len(groups) == int(np.log2(count)) + 2
    told_apart = groups[:, grouped.intervened_on].T
    assert len(np.unique(told_apart, axis=0)) == count


def test_coarse_targets_move_together() -> None:
    world = Causal3D(coarse=True)
    first, second = world.independent(2, np.random.default_rng(0))
    mask = np.zeros((1, 7), np.uint8)
    mask[0, [world.targets.index("pos_o"), world.targets.index("hue_s")]] = 1
    third = combine(world, first[None], second[None], mask)[0]
    taken = third == second
    assert taken[[X, Y, Z, LIGHT]].all()
    assert (third == first)[[ALPHA, BETA, SPOT, OBJECT, GROUND]].all()


def test_independent_values_do_not_depend_on_each_other() -> None:
    states = Causal3D(shapes="seven").independent(20_000, np.random.default_rng(0))
    varied = [column for column in range(12) if column not in (GAMMA, MATERIAL)]
    correlation = np.corrcoef(states[:, varied].T) - np.eye(len(varied))
    assert np.abs(correlation).max() < 0.04
    np.testing.assert_allclose(np.bincount(states[:, SHAPE].astype(int)) / 20_000, 1 / 7, atol=0.015)


def test_a_longer_sequence_begins_as_a_shorter_one() -> None:
    world = Causal3D(shapes="seven")
    short, _ = whole_sequence(world, 50, np.random.default_rng(9))
    long, _ = whole_sequence(world, 17_000, np.random.default_rng(9))
    np.testing.assert_array_equal(short, long[:50])


def test_options_that_there_are_not_are_refused() -> None:
    with pytest.raises(InputError, match="--shapes two: shapes can be one, seven"):
        Causal3D(shapes="two")
    with pytest.raises(InputError, match="--size 100: size can be 64, 128, 256"):
        Causal3D(size=100)


def test_published_frames_follow_the_laws(real_data: Path) -> None:
    with np.load(real_data / "causal3d/train.npz", allow_pickle=False) as file:
        latents = np.concatenate([file["raw_latents"], file["shape_latents"]], 1)
        targets = file["interventions"]
    rest = left_over(Causal3D(), latents)
    for column in range(10):
        if column != GAMMA:
            noise = rest[targets[:, column] == 0, column]
            assert noise.std() == pytest.approx(0.1 if column <= Z else 0.15, rel=0.05)
            assert abs(noise.mean()) < 0.01


# --- the shapes ---


def test_the_teapot_is_newells() -> None:
    """32 patches that meet: as large as the well-known mesh of 10 by 10 pieces, with as many points and triangles."""
    assert control_points().shape == (32, 4, 4, 3)
    mesh = teapot(10)
    assert (len(mesh.points), len(mesh.faces)) == (3241, 6320)
    np.testing.assert_allclose(mesh.points.min(0), [-3, -2, 0], atol=1e-6)
    np.testing.assert_allclose(mesh.points.max(0), [3.434, 2, 3.15], atol=1e-3)


@pytest.mark.parametrize("fine", [True, False])
@pytest.mark.parametrize("index", range(7))
def test_shapes_face_outwards_and_are_of_a_size(index: int, fine: bool) -> None:
    mesh = shapes(fine)[index]
    corners = mesh.points[mesh.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (corners[:, 0] * normal).sum() / 6 > 4  # the volume, negative if inside out
    agree = (normal[:, None] * mesh.normals[mesh.faces]).sum(-1) > 0
    assert agree.mean() > 0.97
    assert 2.9 < np.linalg.norm(mesh.points, axis=1).max() < 3.6


@pytest.mark.parametrize("index", range(7))
def test_no_rotation_leaves_a_shape_as_it_was(index: int) -> None:
    """Half, third and quarter turns about many axes bring some point far off the surface.

    The teapot may look alike from its two sides, which are each other's mirror images: it has no rotation either.
    """
    points = shapes(fine=True)[index].points
    centred = points - points.mean(0)
    surface = cKDTree(centred)
    axes = np.random.default_rng(0).normal(size=(60, 3))
    axes = np.concatenate([axes / np.linalg.norm(axes, axis=1, keepdims=True), np.linalg.svd(centred)[2], np.eye(3)])
    for axis in axes:
        cross = np.cross(np.eye(3), axis)
        for part in (2, 3, 4):
            t = 2 * pi / part
            turned = centred @ (np.eye(3) + np.sin(t) * cross + (1 - np.cos(t)) * cross @ cross)
            assert surface.query(turned)[0].max() > 0.4


# --- the pictures ---


@pytest.fixture(scope="module")
def drawn_by() -> None:
    """Skips where nothing draws."""
    pytest.importorskip("moderngl")
    try:
        Causal3D().render(Causal3D().independent(1, np.random.default_rng(0)))
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("drawn_by")
def test_frames_are_like_published_ones_of_the_same_factors(real_data: Path) -> None:
    with np.load(real_data / "causal3d/val_indep.npz", allow_pickle=False) as file:
        latents = np.concatenate([file["raw_latents"], file["shape_latents"]], 1)[:48].astype(np.float32)
        published = file["imgs"][:48].astype(int)
    world = Causal3D()
    frames = world.render(latents).astype(int)
    # Where the colour of the ground changes nothing the object is seen.
    red, cyan = latents.copy(), latents.copy()
    red[:, GROUND], cyan[:, GROUND] = 0, pi
    object_ = np.abs(world.render(red).astype(int) - world.render(cyan)).max(-1) < 6
    difference = np.abs(frames - published).mean(-1)
    assert 0.02 < object_.mean() < 0.2
    assert difference.mean() < 1.0
    assert difference[object_].mean() < 3.5
    assert difference.mean((1, 2)).max() < 2.5


@pytest.mark.usefixtures("drawn_by")
def test_a_frame_is_the_same_whatever_it_is_drawn_with() -> None:
    world = Causal3D(shapes="seven")
    states = world.independent(21, np.random.default_rng(0))
    frames = world.render(states)
    assert frames.shape == (21, 64, 64, 3)
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames, np.concatenate([world.render(state[None]) for state in states]))
    np.testing.assert_array_equal(frames[::-1], world.render(states[::-1]))
    assert world.render(states[:0]).shape == (0, 64, 64, 3)
    # Another renderer, and another thread, in between.
    Causal3D(size=128).render(states[:1])
    with ThreadPoolExecutor(2) as threads:
        drawn = list(threads.map(world.render, [states[:6], states[6:12], states[12:]]))
    np.testing.assert_array_equal(np.concatenate(drawn), frames)


@pytest.mark.usefixtures("drawn_by")
def test_larger_frames_show_the_same() -> None:
    states = Causal3D().independent(4, np.random.default_rng(5))
    small = Causal3D().render(states).astype(float)
    for size in (128, 256):
        large = Causal3D(size=size).render(states).astype(float)
        assert large.shape == (4, size, size, 3)
        pooled = large.reshape(4, 64, size // 64, 64, size // 64, 3).mean((2, 4))
        assert np.abs(pooled - small).mean() < 2


@pytest.mark.usefixtures("drawn_by")
@pytest.mark.parametrize("column", [X, Y, Z, ALPHA, BETA, SPOT, OBJECT, LIGHT, GROUND, SHAPE])
def test_every_factor_is_seen(column: int) -> None:
    world = Causal3D(shapes="seven")
    states = world.independent(7, np.random.default_rng(1))
    states[:, SHAPE] = np.arange(7)
    other = states.copy()
    if column <= Z:
        other[:, column] -= 1.5 * np.sign(other[:, column])
    else:
        other[:, column] = (states[:, column] + 1) % 7 if column == SHAPE else (states[:, column] + 2) % (2 * pi)
    changed = np.abs(world.render(states).astype(int) - world.render(other)).mean((1, 2, 3))
    assert changed.min() > 0.3


@pytest.mark.usefixtures("drawn_by")
def test_extreme_states_are_drawn_without_a_hole() -> None:
    """Near, inside and around the lamp above the origin, and everywhere at the edge of the range."""
    grid = np.array(np.meshgrid([-2, 0, 2], [-2, 0, 2], [-2, 1.2, 2], [0, 2.0])).reshape(4, -1).T
    states = np.zeros((len(grid), 12), np.float32)
    states[:, :3], states[:, BETA] = grid[:, :3], grid[:, 3]
    states[:, [OBJECT, LIGHT, GROUND]] = 1, 2, 3
    table = scene.frame_tables(states, np.stack([scene.outline(shapes(fine=True)[0])] * len(states)))
    assert np.isfinite(table).all()
    frames = Causal3D().render(states).astype(int)
    # A number that is none comes out black in a block as wide as the camera's filter.
    black = (frames.max(-1) == 0).mean()
    assert black < 0.02


def test_without_moderngl_a_sentence_says_what_to_install() -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.modules['moderngl'] = None\n"
            "import numpy as np\n"
            "from citris_cli.errors import InputError\n"
            "from citris_cli.worlds.causal3d import Causal3D\n"
            "try: Causal3D().render(np.zeros((1, 12), np.float32))\n"
            "except InputError as error: print(error)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "drawing Causal3DIdent needs moderngl; install it with pip install 'citris-cli[render]'\n"


def test_without_the_systems_library_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    moderngl = pytest.importorskip("moderngl")
    from citris_cli.worlds.causal3d_scene import renderer

    def none(**_: object) -> None:
        raise Exception("libEGL.so not loaded")

    monkeypatch.setattr(moderngl, "create_context", none)
    with pytest.raises(InputError, match=r"needs OpenGL 3.3 without a screen, .* \(libEGL.so not loaded\); install"):
        renderer.Renderer(64)
