"""Streets with disturbances: each by itself, the same at every run, and true to their labels."""

from dataclasses import replace

from csa_ros.demo.hard import DISTURBANCES
from csa_ros.demo.hard import HardScene
from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import IGNORED
from csa_ros.demo.scenes import Job
from csa_ros.demo.scenes import LAP
from csa_ros.demo.scenes import Scene
from csa_ros.demo.scenes import Thing
from csa_ros.demo.scenes import UNLABELLED
from csa_ros.demo.streets import solids
from csa_ros.demo.streets.shadows import GroundLight
from csa_ros.demo.streets.shadows import outlines
from csa_ros.demo.streets.shadows import Sun
from csa_ros.demo.streets.turning import enlargement
from csa_ros.demo.streets.turning import homography
from csa_ros.demo.streets.turning import rotation
import cv2
import numpy as np
import pytest

SMALL = (160, 120)
OF_THE_PICTURE = ('shadows', 'haze', 'motion blur', 'drops', 'exposure', 'vignette', 'noise',
                  'compression')
# A street where the sun shines, with fences and parked cars.
SUNNY = 504


def same(one, other):
    """Tell whether two frames are equal in all that they hold."""
    return (np.array_equal(one.rgb, other.rgb) and np.array_equal(one.labels, other.labels)
            and np.array_equal(one.instances, other.instances) and one.names == other.names
            and (one.focal, one.center) == (other.focal, other.center))


@pytest.fixture(scope='module')
def frames():
    """Return frames of eight streets with all disturbances."""
    return [HardScene(seed).render(1.0) for seed in range(SUNNY, SUNNY + 8)]


@pytest.mark.parametrize('seed', [0, 7])
def test_without_disturbances_a_street_is_the_plain_one(seed):
    """What is measured without them is what has always been measured."""
    assert same(HardScene(seed, ()).render(1.5, SMALL), Scene(seed).render(1.5, SMALL))


def test_a_frame_can_be_made_again():
    """Neither the noise nor anything else depends on what was rendered before."""
    scene = HardScene(3)
    scene.render(7.0, SMALL)
    assert same(scene.render(1.5, SMALL), HardScene(3).render(1.5, SMALL))


@pytest.mark.parametrize('name', DISTURBANCES)
def test_each_disturbance_shows(name):
    """Each changes the picture; what is done to light and picture leaves the labels alone."""
    plain, disturbed = (HardScene(SUNNY, names).render(1.0, SMALL) for names in ((), (name,)))
    assert (plain.rgb != disturbed.rgb).mean() > 0.002
    relabelled = (plain.labels != disturbed.labels).mean()
    assert relabelled == 0 if name in OF_THE_PICTURE else relabelled > 0.0005


def test_leaving_one_out_does_not_change_the_others():
    """Everything that is common to two sets of disturbances looks and stands alike."""
    everything = set(DISTURBANCES)
    one, other = (HardScene(SUNNY, everything - {name}).render(1.0, SMALL)
                  for name in ('noise', 'drops'))
    np.testing.assert_array_equal(one.instances, other.instances)
    without = HardScene(SUNNY, everything - {'clutter', *OF_THE_PICTURE}).render(1.0, SMALL)
    cluttered = HardScene(SUNNY, everything - {*OF_THE_PICTURE}).render(1.0, SMALL)
    changed = (without.rgb != cluttered.rgb).any(axis=2)
    # Nothing moves: what differs is clutter, its shadow, and what it lets through at its rims.
    assert 0 < changed.mean() < 0.05


def test_an_unknown_disturbance_is_refused():
    """The error names it and those that there are."""
    with pytest.raises(ValueError, match="no disturbance 'snow': choose from kinds, parked"):
        HardScene(0, ['haze', 'snow'])


def test_labels_are_the_classes_of_the_instances(frames):
    """What is none of the classes is ignored, and says nothing of a colour."""
    for frame in frames:
        names = np.array(frame.names)[frame.instances]
        unlabelled = names == UNLABELLED
        assert (frame.labels[unlabelled] == IGNORED).all()
        np.testing.assert_array_equal(
            np.array(CLASSES)[frame.labels[~unlabelled]], names[~unlabelled])
        assert all('color' not in look for name, look in zip(frame.names, frame.looks)
                   if name == UNLABELLED)
    assert 0.002 < np.mean([frame.labels == IGNORED for frame in frames]) < 0.1


def test_every_class_is_seen(frames):
    counts = sum(np.bincount(frame.labels.ravel(), minlength=256) for frame in frames)
    assert counts[:len(CLASSES)].min() > 300, dict(zip(CLASSES, counts))


def test_instances_fit_their_map():
    """Ids are of 8 bits, and no street has more things than that."""
    assert max(len(HardScene(seed).names) for seed in range(1000, 1040)) < 220


def test_labels_are_exact_where_colour_tells():
    """The orange of cones lies on pixels labelled as cones, also as a tilted camera sees them."""
    inside = outside = 0
    for seed in range(12):
        frame = HardScene(seed, ('tilt',)).render(1.0)
        red, green, blue = frame.rgb.astype(int).transpose(2, 0, 1)
        orange = (red > 150) & (green * 100 < red * 50) & (green * 100 > red * 30) & (blue < 60)
        cone = frame.labels == CLASSES.index('traffic cone')
        inside += (orange & cone).sum()
        outside += (orange & ~cone).sum()
    assert inside > 300
    assert inside > 5 * outside


def test_the_camera_moves_smoothly():
    """A tenth of a second changes little, however much the camera sways."""
    scene = HardScene(SUNNY)
    first = scene.render(0.0).labels
    assert 0 < (scene.render(0.05).labels != first).mean() < 0.15
    assert (scene.render(4.0).labels != first).mean() > 0.05


@pytest.mark.parametrize('size', [(64, 64), (321, 183)])
def test_frames_have_the_size_that_was_asked_for(size):
    """Also after many laps, and when the time is not that of the traffic."""
    frame = HardScene(SUNNY).render(86400.0, size, traffic_time=-3.0)
    assert frame.rgb.shape == (size[1], size[0], 3)
    assert frame.labels.shape == frame.instances.shape == (size[1], size[0])
    assert frame.rgb.dtype == frame.labels.dtype == np.uint8
    assert len(np.unique(frame.labels)) > 4


def test_the_pinhole_model_is_in_pixels_of_the_frame():
    """Focal length and centre scale with the size, also when the camera is turned."""
    small, large = (HardScene(SUNNY).render(0, size) for size in ((160, 120), (320, 240)))
    assert large.focal == pytest.approx(2 * small.focal, rel=0.03)
    np.testing.assert_allclose(large.center, 2 * np.array(small.center))


def test_a_turned_camera_sees_the_same_rays():
    """A pixel's ray is rotated; its new pixel is where the new camera sees that ray."""
    turn = rotation((3.0, -2.0, 4.0))
    center, focal, enlarged = (320.0, 200.0), 500.0, 550.0
    ray = np.array((0.2, -0.1, 1.0))
    before = focal * ray[:2] / ray[2] + center
    turned = turn @ ray
    after = enlarged * turned[:2] / turned[2] + center
    moved = cv2.perspectiveTransform(
        before[None, None], homography(turn, focal, enlarged, center))
    np.testing.assert_allclose(moved[0, 0], after)


@pytest.mark.parametrize('degrees', [(4, 5, 5), (-4, -5, 5), (0, 0, 0)])
def test_nothing_beyond_the_rims_is_seen(degrees):
    """A picture that is turned and enlarged still fills its frame, and not by far."""
    size, focal, center = (320, 240), 300.0, (160.0, 110.0)
    turn = rotation(degrees)
    enough = enlargement(turn, focal, center, size)
    white = np.full((240, 320), 255, np.uint8)

    def turned(share):
        return cv2.warpPerspective(white, homography(turn, focal, focal * share, center), size)

    assert turned(enough).min() == 255
    assert enough == 1 or turned(enough - 0.04).min() < 255


def test_a_picture_that_is_turned_too_far_is_refused():
    """Twice as large, a long picture that stands on its side still does not fill its frame."""
    with pytest.raises(ValueError, match='640 x 240 pixels that is turned so far'):
        enlargement(rotation((0, 0, 90)), 300.0, (320.0, 120.0), (640, 240))


def test_depth_and_sides_decide_what_hides_what():
    """A person behind a parked car is drawn before it, one on the road beside it after it."""
    def job(x, distance, length=0.0):
        return Job(distance, None, Thing('thing', None, x, 0.0, length=length), 0)

    scene, camera = HardScene(SUNNY, ('parked',)), {'x': 0.0}
    car, ahead = job(3.0, 4.0, 4.5), job(3.0, 9.0, 4.5)
    behind, before, tail, across = job(4.5, 6.0), job(1.5, 6.0), job(3.0, 3.5), job(-3.0, 6.0)
    order = scene._far_to_near([before, car, behind, tail, ahead, across], camera)
    places = {id(found): place for place, found in enumerate(order)}
    for far, near in ((ahead, car), (behind, car), (car, before), (car, tail), (ahead, across)):
        assert places[id(far)] < places[id(near)]


@pytest.mark.parametrize('kind', ['saloon', 'van', 'bus', 'truck'])
@pytest.mark.parametrize('oncoming', [False, True])
def test_vehicles_show_the_side_that_is_towards_the_camera(kind, oncoming):
    """To the right of the camera the left side is seen, and the other way round."""
    name = kind if kind in ('bus', 'truck') else 'car'
    look = {'color': 'red', 'cabin': 'blue', 'body': kind, 'oncoming': oncoming}

    def covered(x):
        """Return the columns that a vehicle covers whose near face is 8 m ahead."""
        rgb, instances = np.zeros((240, 640, 3), np.uint8), np.zeros((240, 640), np.uint8)

        def project(points):
            scale = 300 / (points[:, 2] + 8)
            return np.stack([320 + (points[:, 0] + x) * scale,
                             100 + (1.4 - points[:, 1]) * scale], 1)

        pen = solids.SolidPen(rgb, instances, project, 7, ((0, 0, 0), 0.0), x, 1.4)
        getattr(solids, name)(pen, look)
        columns = np.flatnonzero((instances == 7).any(axis=0))
        return columns.min(), columns.max()

    face = 300 / 8 * (1.25 if name in ('bus', 'truck') else solids.BODIES[kind].width / 2)
    for x in (-4.0, 4.0):
        low, high = covered(x)
        middle = 320 + x * 300 / 8
        outer, inner = (middle - low, high - middle) if x < 0 else (high - middle, middle - low)
        # The far end lies nearer to the vanishing point.
        assert outer == pytest.approx(face, abs=2)
        assert inner > face + 15


def test_a_shadow_falls_away_from_the_sun():
    """As far as the height of what casts it and the height of the sun say."""
    # The shadow of a metre reaches two to the right and one ahead.
    light = GroundLight(Sun((2.0, 1.0), np.full(3, 0.5, np.float32)), LAP)
    box = np.array([(x, z) for x in (0.0, 1.0) for z in (10.0, 11.0)])
    light.cast(box, 0.0, 3.0)
    assert light.at(0.5, 10.5) == 0
    # The top of the box, whose shadow is shifted by (6, 3).
    assert light.at(6.5, 13.5) == 0
    for x, z in ((-1.0, 10.5), (7.5, 14.5), (6.5, 10.5), (3.0, 20.0)):
        assert light.at(x, z) == 1
    sampled = light.sample(np.array([[6.5, -1.0]]), np.array([[13.5, 10.5]]))
    np.testing.assert_allclose(sampled, [[0, 1]])


def test_shadows_go_round_with_the_street():
    """What is cast beyond the end of a lap falls on its beginning, and softening keeps that."""
    light = GroundLight(Sun((0.0, 2.0), np.full(3, 0.5, np.float32)), LAP)
    light.cast(np.array([(x, z) for x in (0.0, 1.0) for z in (LAP - 2, LAP - 1)]), 0.0, 3.0)
    light.soften()
    assert light.at(0.5, LAP - 0.5) == light.at(0.5, 2.0) == light.at(0.5, LAP + 2.0) == 0
    assert light.at(0.5, 10.0) == 1


def test_only_walls_towards_the_sun_are_lit():
    """A shadow that falls to the right comes from a sun on the left."""
    sun = Sun((1.0, 0.5), np.full(3, 0.5, np.float32))
    assert sun.lights(-1, 0)
    assert not sun.lights(1, 0)
    assert sun.lights(0, -1)


def test_moving_things_take_their_shadows_along():
    """The ground beside a camera that stands changes where the traffic and its shadows pass."""
    scene = HardScene(SUNNY, ('shadows',))
    before, after = (scene.render(1.0, traffic_time=time) for time in (1.0, 1.8))
    ground = (before.labels == after.labels) & (before.labels == CLASSES.index('road'))
    plain = [HardScene(SUNNY, ()).render(1.0, traffic_time=time).rgb for time in (1.0, 1.8)]
    moved = (before.rgb != after.rgb).any(axis=2) & (plain[0] == plain[1]).all(axis=2)
    assert (moved & ground).sum() > 50


def test_everything_that_stands_in_a_street_has_an_outline():
    """Whatever casts a shadow does so from low to high, around where it stands."""
    for thing in HardScene(SUNNY)._things:
        for corners, low, high in outlines(thing):
            assert 0 <= low < high < 12
            assert len(corners) >= 4
            assert np.abs(corners[:, 0]).max() < 6


def test_a_vehicle_that_the_camera_would_hit_is_not_drawn():
    """The camera drives through everything; it never looks out of the inside of a bus."""
    scene = HardScene(0, ('kinds',))
    camera = scene._camera_at(0.0, 0.0, *SMALL)
    bus = Thing('bus', solids.bus, camera['x'] + 0.5, camera['z'] + 1.0, length=11.0)
    scene._things = [bus, replace(bus, x=camera['x'] + 3.5), replace(bus, z=camera['z'] + 20.0)]
    drawn = [job.subject for job in scene._jobs(camera) if isinstance(job.subject, Thing)]
    assert drawn == scene._things[1:]
