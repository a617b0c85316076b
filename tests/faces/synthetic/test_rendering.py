from dataclasses import replace

import numpy as np
import pytest

from eac_lightning.errors import ConfigurationError
from eac_lightning.faces.synthetic.action_units import LANDMARKS
from eac_lightning.faces.synthetic.canvas import Canvas, rotation, smooth
from eac_lightning.faces.synthetic.identity import FACIAL_HAIR, HAIR_STYLES, SHAPE_TRAITS, Identity, sample_identity
from eac_lightning.faces.synthetic.occlusion import OCCLUSIONS
from eac_lightning.faces.synthetic.rendering import FaceParameters, render_face

CALM = FaceParameters(seed=3)
SMILE = {6: 1.0, 12: 1.0}


def difference(one, other, size=64):
    """Mean absolute difference of two pictures over the channels, (H, W)."""
    pictures = (render_face(params, size).image.astype(float) for params in (one, other))
    return np.abs(np.subtract(*pictures)).mean(axis=2)


def box(points, size):
    low, high = np.clip(points.min(axis=0), 0, size), np.clip(points.max(axis=0), 0, size)
    return slice(int(low[1]), int(np.ceil(high[1]))), slice(int(low[0]), int(np.ceil(high[0])))


@pytest.mark.parametrize("size", [48, 65, 300, 512])
def test_a_face_has_the_size_asked_for(size):
    face = render_face(CALM, size)
    assert face.image.shape == (size, size, 3)
    assert face.image.dtype == np.uint8
    assert face.landmarks.shape == (68, 2)
    assert face.parameters is CALM


@pytest.mark.parametrize("size", [47, 513])
def test_a_size_out_of_range_is_refused(size):
    with pytest.raises(ConfigurationError, match=f"48 to 512 pixels wide; {size}"):
        render_face(CALM, size)


def test_an_unknown_occlusion_names_the_nearest():
    with pytest.raises(ConfigurationError, match=r"'glases'\. Did you mean 'glasses'"):
        render_face(replace(CALM, occlusion="glases"))


def test_the_same_parameters_give_the_same_bytes_and_another_seed_others():
    noisy = replace(CALM, noise=5.0, occlusion="hand")
    assert render_face(noisy).image.tobytes() == render_face(replace(noisy)).image.tobytes()
    assert difference(noisy, replace(noisy, seed=4)).max() > 0


def test_landmarks_scale_with_the_picture():
    np.testing.assert_allclose(render_face(CALM, 64).landmarks * 3, render_face(CALM, 192).landmarks)


def test_a_picture_is_antialiased():
    """Many more shades than the few dozen colours that are painted."""
    assert len(np.unique(render_face(replace(CALM, light_strength=0.0)).image[..., 0])) > 100


def test_a_smile_changes_the_mouth_and_not_the_forehead():
    smile = replace(CALM, action_units=SMILE)
    changed = difference(CALM, smile, 96)
    mouth = changed[box(render_face(smile, 96).landmarks[LANDMARKS["mouth"]], 96)].mean()
    assert mouth > 10 * changed[:25].mean()


def test_a_one_sided_unit_changes_one_half_of_the_picture():
    plain = replace(CALM, light_strength=0.0)
    right = difference(plain, replace(plain, action_units={12: 1.0, 14: 1.0}, side="right"))
    left = difference(plain, replace(plain, action_units={12: 1.0, 14: 1.0}, side="left"))
    assert right[:, :28].sum() > 5 * right[:, 36:].sum()
    assert left[:, 36:].sum() > 5 * left[:, :28].sum()


@pytest.mark.parametrize(("angle", "axis", "sign"), [("yaw", 0, 1), ("pitch", 1, -1)])
def test_the_nose_points_where_the_head_turns(angle, axis, sign):
    nose = render_face(CALM).landmarks[30]
    turned = render_face(replace(CALM, **{angle: 20.0})).landmarks[30]
    assert sign * (turned - nose)[axis] > 3


def test_roll_is_clockwise_and_keeps_lengths():
    level, tilted = (render_face(replace(CALM, roll=roll)).landmarks for roll in (0.0, 15.0))
    eyes = tilted[45] - tilted[36]
    assert np.degrees(np.arctan2(eyes[1], eyes[0])) == pytest.approx(15.0)
    assert np.hypot(*eyes) == pytest.approx(np.hypot(*(level[45] - level[36])))


def test_light_from_the_right_brightens_the_right_cheek():
    lit = render_face(replace(CALM, light_azimuth=60.0, light_strength=0.7)).image.astype(float)
    assert lit[30:45, 40:50].mean() > 1.3 * lit[30:45, 14:24].mean()


@pytest.mark.parametrize("name", OCCLUSIONS)
def test_an_occlusion_hides_a_part_and_leaves_a_part(name):
    changed = difference(CALM, replace(CALM, occlusion=name)) > 3
    assert 0.02 < changed.mean() < 0.6


def test_a_mask_covers_the_mouth_and_glasses_do_not():
    mouth = box(render_face(CALM).landmarks[LANDMARKS["mouth"]], 64)
    assert difference(CALM, replace(CALM, occlusion="mask"))[mouth].mean() > 10
    assert difference(CALM, replace(CALM, occlusion="glasses"))[mouth].mean() == 0


def test_blur_takes_detail_and_noise_adds_grain():
    def detail(params):
        return np.abs(np.diff(render_face(params).image.astype(float), axis=1)).mean()

    assert detail(replace(CALM, blur=2.0)) < 0.8 * detail(CALM) < 0.8 * detail(replace(CALM, noise=9.0))


@pytest.mark.parametrize("trait", SHAPE_TRAITS)
def test_every_trait_of_the_face_shows(trait):
    assert difference(CALM, replace(CALM, identity=Identity(shape={trait: 1.0}))).mean() > 0.1


@pytest.mark.parametrize(
    "change",
    [
        *({"hair_style": style} for style in HAIR_STYLES if style != "short"),
        *({"facial_hair": kind} for kind in FACIAL_HAIR if kind != "none"),
        *({"age": 1.0}, {"skin_tone": 0.9}, {"lip_color": 1.0}, {"lashes": 1.0}),
        *({"hair_color": "blond"}, {"eye_color": "blue"}),
    ],
    ids=str,
)
def test_every_feature_of_a_person_shows(change):
    assert difference(CALM, replace(CALM, identity=replace(Identity(), **change))).max() > 5


def test_people_differ_and_are_drawn_again_from_the_same_generator():
    people = [sample_identity(np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert people[0] == people[1] != people[2]


def test_a_rotation_keeps_lengths_and_orientation():
    turn = rotation(25.0, -10.0, 7.0)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1.0)


def test_a_smooth_curve_passes_through_its_points():
    points = np.array([(0.0, 0.0), (1.0, 2.0), (3.0, 1.0), (4.0, 4.0)])
    np.testing.assert_allclose(smooth(points, 5)[::5], points)


def test_the_outline_of_a_ball_is_a_circle_however_it_is_turned():
    canvas = Canvas(100, rotation(20, 10, 5), np.array([50.0, 50.0]), 40.0, (0, 0, 0))
    outline = canvas.silhouette((0.0, 0.0, 0.0), (0.5, 0.5, 0.5))
    np.testing.assert_allclose(np.hypot(*(outline - 50).T), 20.0)


def test_a_filled_shape_covers_its_area():
    canvas = Canvas(64, np.eye(3), np.array([32.0, 32.0]), 20.0, (0, 0, 0))
    square = np.array([(-1.0, -1.0, 0.0), (1.0, -1.0, 0.0), (1.0, 1.0, 0.0), (-1.0, 1.0, 0.0)])
    canvas.fill(square, (255, 255, 255), body=True)
    canvas.fill(square * 0.5, (300.0, -5.0, 0.0))
    picture, body = canvas.finish()
    assert body.sum() == pytest.approx(1600, rel=0.03)
    assert picture[32, 32].tolist() == [255, 0, 0]
