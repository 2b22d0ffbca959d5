"""What was recorded of actions is kept in one file, and read by who has seen it."""

from csa_ros.actions.examples import ActionExamples
from csa_ros.actions.examples import Demonstration
from csa_ros.actions.file import ActionsFile
from csa_ros.actions.file import FORM
from csa_ros.drawing.filmstrip import filmstrip
from csa_ros.teaching.container import read
from csa_ros.teaching.container import write
from csa_ros.teaching.errors import TeachingError
from csa_ros.teaching.examples import Examples
from csa_ros.teaching.file import write as write_regions
import cv2
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file
from safetensors.torch import save_file
import torch

MODEL = 'a model'


def shown(seed, **details):
    generator = torch.Generator().manual_seed(seed)
    return Demonstration(torch.randn(8, 5, generator=generator),
                         **{'fingerprint': MODEL, **details})


EXAMPLES = (ActionExamples()
            .add('wave', shown(0, camera='/image', stamp=17, thumbnail=b'\xff\xd8a', model='demo'))
            .add('point', shown(1)).add('wave', shown(2)))


@pytest.fixture
def file(tmp_path):
    """Return a file of examples."""
    path = tmp_path / 'recorded.safetensors'
    write(path, EXAMPLES, FORM)
    return path


def test_examples_are_those_of_their_names():
    assert EXAMPLES.names == ('wave', 'point') and EXAMPLES.counts == {'wave': 2, 'point': 1}
    torch.testing.assert_close(
        EXAMPLES.of('wave'), torch.stack([shown(0).features, shown(2).features]), rtol=0, atol=0)
    assert EXAMPLES.forget('wave').names == ('point',) and len(EXAMPLES.forget()) == 2
    with pytest.raises(KeyError):
        EXAMPLES.of('nod')
    with pytest.raises(TeachingError, match='by another model, or for another method, than'):
        EXAMPLES.add('nod', shown(3, fingerprint='another'))


def test_the_oldest_make_room(monkeypatch):
    monkeypatch.setattr(ActionExamples, 'most_per_name', 2)
    more = EXAMPLES.add('wave', shown(3))
    assert more.forgotten == 1
    torch.testing.assert_close(more.of('wave')[0], shown(2).features, rtol=0, atol=0)


def test_what_is_written_is_read_again(file):
    found = read(file, FORM, MODEL)
    assert [(item.name, item.look.camera, item.look.stamp, item.look.thumbnail, item.look.model)
            for item in found] == [
        ('wave', '/image', 17, b'\xff\xd8a', 'demo'), ('point', '', 0, b'', ''),
        ('wave', '', 0, b'', '')]
    for name in EXAMPLES.names:
        torch.testing.assert_close(found.of(name), EXAMPLES.of(name), rtol=0, atol=0)
    write(file, ActionExamples(), FORM)
    assert not read(file, FORM, 'another model')


@pytest.mark.parametrize('features', [
    torch.zeros(2, 8, 5), torch.zeros(3, 8), torch.zeros(3, 8, 5).half(),
    torch.full((3, 8, 5), torch.nan)])
def test_a_file_that_does_not_hold_what_it_says_is_refused(file, features):
    with safe_open(file, framework='pt') as opened:
        metadata = opened.metadata()
    save_file({**load_file(file), 'features': features}, file, metadata)
    with pytest.raises(TeachingError, match='is damaged, or no file of examples'):
        read(file, FORM, MODEL)


def test_what_cannot_be_used_is_left_as_it_is(file):
    write_regions(file, Examples())
    before = file.read_bytes()
    kept = ActionsFile(file)
    assert not kept.load(MODEL)
    assert "in the form 'csa_ros examples 1', and this csa_ros reads 'csa_ros actions 1'" in (
        kept.fault)
    kept.save(EXAMPLES)
    assert file.read_bytes() == before
    assert not ActionsFile(None).load(MODEL)


def test_frames_are_side_by_side_in_a_strip():
    frames = [np.full((48, 64, 3), (grey, 0, 0), np.uint8) for grey in (0, 128, 255)]
    strip = cv2.imdecode(np.frombuffer(filmstrip(frames), np.uint8), cv2.IMREAD_COLOR)
    assert strip.shape == (72, 3 * 96, 3)
    # OpenCV's order is BGR.
    assert [int(strip[36, 48 + 96 * index, 2]) for index in range(3)] == pytest.approx(
        [0, 128, 255], abs=4)
