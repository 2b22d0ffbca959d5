"""The bundled weights: they see, and Correlative Self-Attention is why."""

from csa_ros.demo import train
from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import Scene
from csa_ros.segmenter import Segmenter
from csa_ros.vocabulary import Vocabulary
import numpy as np
import pytest


@pytest.fixture(scope='module')
def segmenter():
    """Return the bundled model as users get it."""
    return Segmenter.load('demo', 'cpu')


def test_unseen_streets_are_segmented_and_csa_is_why(capsys):
    """On unseen streets CSA is far above chance (0.03), and far above ordinary attention."""
    means = train.evaluate(seeds=range(12))
    assert means['csa'] > 0.38
    assert means['csa'] > 1.4 * means['vanilla']
    assert 'traffic cone' in capsys.readouterr().out


@pytest.mark.parametrize('one, other', [('pavement', 'sidewalk'), ('road', 'street')])
def test_synonyms_mean_the_same(segmenter, one, other):
    """Labels hardly change when a word is replaced by another that was in the captions."""
    frame = Scene(0).render(1.0)
    first, second = (segmenter.segment(frame.rgb, Vocabulary.parse(
        [word if name == one else name for name in CLASSES])).labels for word in (one, other))
    assert (first == second).mean() > 0.9


def test_words_share_one_class(segmenter):
    """Several queries of one class give about the union of their classes."""
    frame = Scene(3).render(1.0)
    apart = segmenter.segment(frame.rgb, Vocabulary.parse(['sky', 'road', 'tree', 'grass']))
    merged = segmenter.segment(frame.rgb, Vocabulary.parse(['sky', 'road', 'plant=tree|grass']))
    np.testing.assert_array_equal(np.minimum(apart.labels, 2), merged.labels)
