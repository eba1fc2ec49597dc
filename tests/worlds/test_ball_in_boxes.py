import numpy as np
import pytest

from citris_cli.worlds.ball_in_boxes import KEYS, BallInBoxes
from citris_cli.worlds.dataset import write_dataset
from tests.worlds.sequences import whole_sequence

WORLD = BallInBoxes()


@pytest.fixture(scope="module")
def sequence() -> tuple[np.ndarray, np.ndarray]:
    return whole_sequence(WORLD, 20_000, np.random.default_rng(0))


def test_box_changes_exactly_when_it_is_intervened_on(sequence):
    latents, targets = sequence
    np.testing.assert_array_equal(latents[1:, 2] != latents[:-1, 2], targets[:, 2] == 1)


def test_targets_are_single_and_as_frequent_as_published(sequence):
    _, targets = sequence
    assert targets.sum(1).max() == 1
    assert (targets[:, 0] == 0).all()  # inner x is never intervened on
    np.testing.assert_allclose(targets.mean(0), [0, 0.18, 0.18], atol=0.01)  # (1 - 0.8²) / 2 each


def test_the_graph_is_that_of_the_dynamics(sequence):
    latents, targets = sequence
    free = targets.sum(1) == 0
    before, after = (z[free] - z[free].mean(0) for z in (latents[:-1], latents[1:]))
    # What the next value of each variable follows from, of all three at once: column j of the weights is variable j's.
    weights = np.linalg.lstsq(before, after, rcond=None)[0] * before.std(0)[:, None] / after.std(0)
    np.testing.assert_array_equal(np.abs(weights) > 0.05, WORLD.graph_temporal == 1)
    # Nor does the size of a change follow from another variable: a wall holds the ball back in either box.
    change = np.abs(after - before)
    for cause, effect in np.argwhere(WORLD.graph_temporal == 0):
        if change[:, effect].std() > 0:
            assert abs(np.corrcoef(before[:, cause], change[:, effect])[0, 1]) < 0.05
    # Within a frame nothing follows from anything: the noise of a step in one variable tells none of another's.
    steps = (after - before)[:, :2]
    assert abs(np.corrcoef(steps.T)[0, 1]) < 0.05
    assert not WORLD.graph_instantaneous.any()
    assert not change[:, 2].any()


def test_ranges_are_those_of_the_balls_centre(sequence):
    latents, _ = sequence
    for column, variable in zip(latents.T, WORLD.variables, strict=True):
        if variable.kind == "continuous":
            assert (column.min(), column.max()) == (variable.low, variable.high)  # both walls are met in 20,000 steps
    assert (WORLD.variables[2].kind, WORLD.variables[2].categories) == ("categorical", 2)
    assert np.unique(latents[:, 2]).tolist() == [0, 1]


def test_inner_x_steps_do_not_depend_on_interventions(sequence):
    latents, targets = sequence
    step = np.diff(latents[:, 0])
    inside = (latents[:-1, 0] > 7) & (latents[:-1, 0] < 9)  # clamping is out of reach of two standard deviations
    for intervened in (targets[:, 2] == 1, targets.sum(1) == 0):
        assert abs(step[inside & intervened].std() - WORLD.step) < 0.15
        assert abs(step[inside & intervened].mean()) < 0.15


def test_y_is_uniform_under_intervention_and_walks_otherwise(sequence):
    latents, targets = sequence
    low, high = WORLD.y_range
    drawn = latents[1:, 1][targets[:, 1] == 1]
    np.testing.assert_allclose(np.quantile(drawn, [0.25, 0.5, 0.75]), np.linspace(low, high, 5)[1:4], atol=0.6)
    assert np.abs(np.diff(latents[:, 1])[targets[:, 1] == 0]).max() < 6 * WORLD.step


def test_everything_stays_inside_its_box(sequence):
    latents, _ = sequence
    for column, (low, high) in enumerate((WORLD.x_range, WORLD.y_range)):
        assert latents[:, column].min() >= low
        assert latents[:, column].max() <= high


def test_the_ball_is_drawn_where_the_latents_say(sequence):
    latents, _ = sequence
    frames = WORLD.render(latents[:500]).astype(float)
    assert frames.shape == (500, 32, 32, 3)
    redness = (frames[..., 0] - frames[..., 1]).clip(0)  # background and walls have none
    centres = np.arange(32) + 0.5
    total = redness.sum((1, 2))
    x = (redness.sum(1) * centres).sum(1) / total
    y = (redness.sum(2) * centres).sum(1) / total
    np.testing.assert_allclose(x, latents[:500, 0] + 16 * latents[:500, 2], atol=0.1)
    np.testing.assert_allclose(y, latents[:500, 1], atol=0.1)


def test_files_have_the_published_layout_and_the_third_image_is_the_recombination(tmp_path):
    write_dataset(WORLD, tmp_path, frames=50, seed=3)
    with np.load(tmp_path / "train.npz", allow_pickle=False) as train:
        assert train["images"].shape == (50, 32, 32, 3)
        assert train["images"].dtype == np.uint8
        assert train["targets"].shape == (49, 3)
        assert tuple(train["keys"]) == KEYS
        np.testing.assert_array_equal(WORLD.render(train["latents"]), train["images"])
    with np.load(tmp_path / "test_triplets.npz", allow_pickle=False) as triplets:
        latents, mask = triplets["latents"], triplets["targets"]
        np.testing.assert_array_equal(latents[:, 2], np.where(mask == 1, latents[:, 1], latents[:, 0]))
        np.testing.assert_array_equal(WORLD.render(latents[:, 2]), triplets["images"][:, 2])
        assert (mask[:, 0] == 0).all()
        assert (mask.sum(1) >= 1).all()
    with np.load(tmp_path / "val_indep.npz", allow_pickle=False) as independent:
        correlation = np.corrcoef(independent["latents"].T)
        assert np.abs(correlation - np.eye(3)).max() < 0.1
