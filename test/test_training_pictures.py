"""Pictures to learn from: what is read, cut and drawn, and in which order."""

from csa_ros.training import pictures
from csa_ros.training.errors import TrainingError
from csa_ros.training.pairs import Pair
import numpy as np
from PIL import Image
import pytest


def make(folder, name, size=(40, 30), color=(200, 40, 10)):
    path = folder / name
    Image.new('RGB', size, color).save(path)
    return path


@pytest.fixture
def pairs(tmp_path):
    """Return three pictures, with one caption, two and five."""
    return [Pair(f'{count}.png', make(tmp_path, f'{count}.png', size, (10 * count, 0, 0)),
                 tuple(f'{count}: {i}' for i in range(count)))
            for count, size in ((1, (40, 30)), (2, (30, 40)), (5, (90, 20)))]


def read_batch(pair):
    return next(pictures.batches(pictures.Pictures([pair], 32, 0), [[(0, 0)]], 0))


@pytest.mark.parametrize('content', [b'', b'no picture', None])
def test_a_picture_that_cannot_be_read_is_named(tmp_path, content):
    """When it is checked, and when it is read; the same from another process."""
    path = tmp_path / 'a.png'
    if content is not None:
        path.write_bytes(content)
    pair = Pair('a.png', path, ('a car',))
    for read in (lambda: pictures.check_pictures([pair]), lambda: read_batch(pair)):
        with pytest.raises(TrainingError, match='a.png cannot be read'):
            read()


def test_a_picture_that_is_cut_off_is_found_when_it_is_read(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(make(tmp_path, 'whole.png').read_bytes()[:60])
    with pytest.raises(TrainingError, match='a.png cannot be read as a picture'):
        read_batch(Pair('a.png', path, ('a car',)))


def test_a_tiny_picture_is_refused(tmp_path):
    tiny = Pair('tiny.png', make(tmp_path, 'tiny.png', (40, 15)), ('a car',))
    least = Pair('least.png', make(tmp_path, 'least.png', (40, 16)), ('a car',))
    pictures.check_pictures([least])
    with pytest.raises(TrainingError, match='tiny.png has 40 x 15 pixels: with less than 16'):
        pictures.check_pictures([least, tiny])


def test_what_is_drawn_depends_on_the_turn_alone(pairs):
    """On the seed, the epoch and the picture, and not on what was read before."""
    one, two = pictures.Pictures(pairs, 32, 0), pictures.Pictures(pairs, 32, 0)
    other = pictures.Pictures(pairs, 32, 1)
    first = [one[0, i] for i in range(3)]
    again = [two[0, i] for i in reversed(range(3))][::-1]
    for (frame, captions), (same_frame, same_captions) in zip(first, again):
        np.testing.assert_array_equal(frame, same_frame)
        assert captions == same_captions
        assert frame.shape == (32, 32, 3)
    draws = {one[epoch, 2][1] for epoch in range(8)}
    assert len(draws) > 4
    assert {other[epoch, 2][1] for epoch in range(8)} != draws


def test_every_picture_has_as_many_captions(pairs):
    """Those with fewer say them again; of more, different ones are drawn, and none twice."""
    data = pictures.Pictures(pairs, 32, 0)
    assert data[0, 0][1] == ('1: 0',) * pictures.CAPTIONS
    assert set(data[0, 1][1]) == {'2: 0', '2: 1'}
    assert len(set(data[0, 2][1])) == pictures.CAPTIONS
    assert data[None, 2][1] == ('5: 0', '5: 1', '5: 2', '5: 3')
    assert data.captions((None, 2)) == data[None, 2][1]
    alone = pictures.Pictures(pairs[:1], 32, 0)
    assert alone[0, 0][1] == ('1: 0',)


@pytest.mark.parametrize('height, width', [(90, 120), (120, 90), (90, 900), (900, 90), (99, 99)])
def test_most_of_a_picture_is_seen_and_little_squashed(height, width):
    whole = pictures.middle(height, width)
    random = np.random.default_rng(0)
    sizes = []
    for rows, columns in [whole, *(pictures._part(random, height, width) for _ in range(200))]:
        assert 0 <= rows.start < rows.stop <= height and 0 <= columns.start < columns.stop <= width
        sizes.append((rows.stop - rows.start, columns.stop - columns.start))
    for h, w in sizes:
        assert 0.7 < w / h < 1.4
        assert h * w > 0.7 * sizes[0][0] * sizes[0][1]
    assert len(set(sizes)) > 5


def test_each_epoch_has_an_order_of_its_own():
    """Every picture comes once, but for those that fill no batch; any step can be the first."""
    steps = list(pictures.turns(10, 3, 0, 0, 6))
    for epoch in (0, 1):
        chosen = [turn for batch in steps[3 * epoch:3 * epoch + 3] for turn in batch]
        assert {e for e, _ in chosen} == {epoch}
        assert len({i for _, i in chosen}) == 9
    assert [i for _, i in steps[0]] != [i for _, i in steps[3]]
    for first in range(6):
        assert list(pictures.turns(10, 3, 0, first, 6)) == steps[first:]


def test_processes_read_the_same(pairs):
    data = pictures.Pictures(pairs, 32, 0)
    chosen = list(pictures.turns(3, 2, 0, 0, 2))
    for one, other in zip(pictures.batches(data, chosen, 0), pictures.batches(data, chosen, 1)):
        assert (one.frames == other.frames).all()
        assert one.captions == other.captions
