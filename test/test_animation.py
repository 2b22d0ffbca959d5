"""The animation at the top of the README."""

from csa_ros import draw
from csa_ros.demo import animation
from csa_ros.demo.hard import demo_street
from csa_ros.segmenter import Segmenter
import numpy as np
from PIL import Image
import pytest

SEED, SECONDS = 5, 0.375
PER_SCENARIO = round(SECONDS * animation.FRAMES_PER_SECOND)


@pytest.fixture(scope='module')
def segmenter():
    return Segmenter.load('demo', device='cpu')


@pytest.fixture(scope='module')
def pictures(segmenter):
    return list(animation.frames(segmenter, SEED, SECONDS))


def test_every_scenario_is_shown_with_its_words(segmenter, pictures):
    """Left the street as it renders, right what the node would publish as its overlay."""
    assert len(pictures) == len(animation.SCENARIOS) * PER_SCENARIO
    width, height = animation.SIZE
    for number, scenario in enumerate(animation.SCENARIOS):
        index = number * PER_SCENARIO
        rgb = demo_street(SEED).render(index / animation.FRAMES_PER_SECOND, animation.SIZE).rgb
        result = segmenter.segment(rgb, scenario.vocabulary, overlay_alpha=animation.ALPHA)
        vocabulary = scenario.vocabulary
        draw.draw_key(result.overlay, vocabulary.names, vocabulary.colors, result.labels)
        assert (pictures[index][:height, :width] == rgb).all()
        assert (pictures[index][:height, width:] == result.overlay).all()


def test_words_are_typed_before_they_are_entered(pictures):
    """The terminal changes from picture to picture while the next command is typed."""
    terminals = [picture[animation.SIZE[1]:] for picture in pictures[:PER_SCENARIO]]
    assert all((before != after).any() for before, after in zip(terminals, terminals[1:]))


@pytest.mark.parametrize('scenario', animation.SCENARIOS[1:])
def test_what_is_typed_sets_the_words_that_are_shown(scenario):
    command = ' '.join(scenario.command).replace('\\', '')
    assert command.split()[:5] == ['ros2', 'param', 'set', '/segment', 'vocabulary']
    entries = [entry.spec for entry in scenario.vocabulary.entries]
    assert command.partition('"')[2] == f'[{", ".join(entries)}]"'


@pytest.mark.parametrize('suffix', ['.webp', '.gif', '.png'])
def test_animation_repeats_for_ever(tmp_path, pictures, suffix):
    path = tmp_path / f'street{suffix}'
    animation.write(path, pictures)
    with Image.open(path) as image:
        assert image.n_frames == len(pictures)
        assert image.info['loop'] == 0
        assert image.size == pictures[0].shape[1::-1]
        image.seek(0)
        shown = np.asarray(image.convert('RGB')).astype(float)
    assert np.abs(shown - pictures[0]).mean() < 12


def test_another_kind_of_file_is_refused(tmp_path, pictures):
    with pytest.raises(ValueError, match='is no animation: use .webp, .gif or .png'):
        animation.write(tmp_path / 'street.mp4', pictures)


def test_command_writes_the_file(tmp_path, capsys):
    path = tmp_path / 'street.webp'
    assert animation.main([str(path), '--seconds', '0.125']) == 0
    assert path.exists() and f'{path}: 3 frames' in capsys.readouterr().out


def test_command_says_what_is_wrong(tmp_path, capsys):
    assert animation.main([str(tmp_path / 'no' / 'street.webp'), '--seconds', '0.13']) == 1
    assert 'animation: ' in capsys.readouterr().err
