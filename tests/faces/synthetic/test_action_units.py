import numpy as np
import pytest

from eac_lightning.faces.synthetic.action_units import (
    ACTION_UNITS,
    EXPRESSIONS,
    LANDMARKS,
    MIRROR,
    NEUTRAL,
    NUM_LANDMARKS,
    displacement,
    mirrored,
)


def both(units):
    return NEUTRAL + displacement(units, units)


def test_the_landmark_groups_share_the_landmarks_among_them():
    covered = [i for group in LANDMARKS.values() for i in range(NUM_LANDMARKS)[group]]
    assert covered == list(range(NUM_LANDMARKS))


def test_the_mean_face_is_its_own_mirror_image():
    assert sorted(MIRROR) == list(range(NUM_LANDMARKS))
    np.testing.assert_allclose(mirrored(NEUTRAL), NEUTRAL)
    assert (NEUTRAL[LANDMARKS["right_eye"], 0] < 0).all()


def test_every_expression_uses_known_units_and_only_neutral_uses_none():
    assert {unit for units in EXPRESSIONS.values() for unit in units} <= set(ACTION_UNITS)
    assert [name for name, units in EXPRESSIONS.items() if not units] == ["neutral"]
    assert len({frozenset(units) for units in EXPRESSIONS.values()}) == len(EXPRESSIONS)


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_a_unit_of_both_sides_keeps_the_face_symmetric_and_one_side_is_half_of_it(unit):
    full = displacement({unit: 1.0}, {unit: 1.0})
    right = displacement({unit: 1.0}, {})
    np.testing.assert_allclose(mirrored(full), full, atol=1e-12)
    np.testing.assert_allclose(right + mirrored(right), full, atol=1e-12)
    assert np.abs(full).max() > 0.03
    np.testing.assert_allclose(displacement({unit: 0.5}, {unit: 0.5}), full / 2)


@pytest.mark.parametrize(
    ("unit", "landmark", "axis", "sign"),
    [
        (1, 21, 1, -1),  # inner brow up
        (2, 18, 1, -1),  # outer brow up
        (4, 21, 1, +1),  # brow down …
        (4, 21, 0, +1),  # … and together
        (5, 37, 1, -1),  # upper lid up
        (6, 41, 1, -1),  # lower lid up
        (7, 38, 1, +1),  # lids tight
        (9, 31, 1, -1),  # nose up
        (12, 48, 1, -1),  # mouth corner up …
        (12, 48, 0, -1),  # … and out
        (14, 48, 2, -1),  # corner back
        (15, 48, 1, +1),  # corner down
        (16, 57, 1, +1),  # lower lip down
        (20, 48, 0, -1),  # mouth wide
        (23, 48, 0, +1),  # mouth narrow
        (26, 8, 1, +1),  # chin down
    ],
)
def test_a_unit_moves_what_its_name_says(unit, landmark, axis, sign):
    assert sign * displacement({unit: 1.0}, {unit: 1.0})[landmark, axis] > 0


def test_a_dropped_jaw_opens_the_mouth_and_tight_lips_thin_it():
    def gap(points):
        return points[66, 1] - points[62, 1]

    def thickness(points):
        return points[57, 1] - points[51, 1]

    assert gap(both({26: 1.0})) > gap(NEUTRAL) + 0.2
    assert thickness(both({23: 1.0})) < thickness(NEUTRAL)


def test_contempt_moves_one_corner_of_the_mouth():
    smirk = displacement({12: 1.0, 14: 1.0}, {})
    assert smirk[48, 1] < -0.1
    np.testing.assert_array_equal(smirk[54], 0.0)
