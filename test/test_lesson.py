"""The lesson in German: what is written can be learnt from, and is not what is measured."""

from csa_ros.demo import lesson
from csa_ros.demo import train
from csa_ros.demo import validation
from csa_ros.demo.scenes import CLASSES
from csa_ros.demo.scenes import EVALUATION_SEEDS
from csa_ros.demo.scenes import IGNORED
from csa_ros.evaluation.datasets.demo import HARD_SEEDS
from csa_ros.training.pairs import read_pairs
from csa_ros.training.pictures import check_pictures
import numpy as np


def test_seeds_are_apart():
    """Streets to learn from are neither measured here nor in any evaluation."""
    others = max(*EVALUATION_SEEDS, *validation.SEEDS, *HARD_SEEDS)
    assert others < train.FIRST_TRAINING_SEED + 1400 < lesson.FIRST_SEED
    assert lesson.FIRST_SEED + 1000 <= min(lesson._measured(3))


def test_every_class_has_a_word_of_its_own():
    assert set(lesson.WORDS) == set(CLASSES)
    assert len(set(lesson.WORDS.values())) == len(CLASSES)
    assert not set(lesson.WORDS.values()) & set(CLASSES)


def test_what_is_shown_is_said_the_largest_first():
    labels = np.full((20, 20), IGNORED, np.uint8)
    assert lesson.describe(labels) == ()
    labels[:10] = CLASSES.index('sky')
    assert lesson.describe(labels) == ('Himmel',)
    labels[10:18] = CLASSES.index('road')
    labels[18:, :4] = CLASSES.index('car')
    assert lesson.describe(labels) == ('Himmel', 'Fahrbahn', 'Himmel neben Fahrbahn')


def test_what_is_written_can_be_learnt_from(tmp_path, monkeypatch):
    monkeypatch.setattr(lesson, 'PARTS', 4)
    count = lesson.write(tmp_path, 1)
    pairs, repeated = read_pairs(tmp_path / 'pictures', tmp_path / 'captions.jsonl')
    check_pictures(pairs)
    assert (len(pairs), repeated) == (count, 0)
    assert 1 <= count <= 4
    assert {word for pair in pairs for caption in pair.captions
            for word in caption.split(' neben ')} <= set(lesson.WORDS.values())
