"""What was shown is kept in one file, whole or not at all, and read by who has seen it."""

import json
import re

from csa_ros.teaching.errors import TeachingError
from csa_ros.teaching.examples import Examples
from csa_ros.teaching.examples import Look
from csa_ros.teaching.file import ExamplesFile
from csa_ros.teaching.file import FORMAT
from csa_ros.teaching.file import read
from csa_ros.teaching.file import read_kept
from csa_ros.teaching.file import write
import pytest
from safetensors import safe_open
from safetensors.torch import load_file
from safetensors.torch import save_file
import torch
from torch.nn import functional as F

MODEL = 'a model'


def look(seed, patches=3, **details):
    generator = torch.Generator().manual_seed(seed)
    return Look(F.normalize(torch.randn(8, generator=generator), dim=0),
                torch.randn(patches, 8, generator=generator).half(),
                torch.rand(patches, generator=generator), torch.ones(patches),
                **{'fingerprint': MODEL, **details})


EXAMPLES = (
    Examples()
    .add('dock', look(0, camera='front', stamp=1_700_000_000_123_456_789, thumbnail=b'\xff\xd8a'))
    .add('bär', look(1, patches=5))
    .add('dock', look(2, patches=1, thumbnail=b'\x00')))


@pytest.fixture
def file(tmp_path):
    """Return a file of examples."""
    path = tmp_path / 'taught.safetensors'
    write(path, EXAMPLES)
    return path


def described(examples):
    """Return all that examples hold, for comparisons."""
    return [(item.name, *(value.tolist() if isinstance(value, torch.Tensor) else value
                          for value in vars(item.look).values())) for item in examples]


def test_what_is_written_is_read_again(file):
    assert described(read(file, MODEL)) == described(EXAMPLES)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_another_file_takes_its_place(file):
    write(file, EXAMPLES.forget('dock'))
    assert read(file, MODEL).counts == {'bär': 1}
    write(file, Examples())
    # Nobody has seen them.
    assert len(read(file, 'another model')) == 0


def test_no_file_is_no_example(tmp_path):
    assert len(read(tmp_path / 'nothing', MODEL)) == 0


def test_examples_of_another_model_are_refused(file):
    with pytest.raises(TeachingError, match='seen by another model.*name another file'):
        read(file, 'another model')


@pytest.mark.parametrize('changed, said', [
    ({'weights': 'b' * 64}, 'seen by another model (demo, weights aaaaaaaaaaaa, and not '
     'bbbbbbbbbbbb), and cannot'),
    ({'weights': 'b' * 64, 'crop': 64}, 'and not bbbbbbbbbbbb), with crop 32 in place of 64, and'),
    ({'attention': 'vanilla', 'crop': 64},
     'seen with attention csa in place of vanilla, crop 32 in place of 64, and'),
])
def test_it_is_told_what_has_seen_the_examples(tmp_path, changed, said):
    here = {'weights': 'a' * 64, 'attention': 'csa', 'crop': 32}
    path = tmp_path / 'taught'
    write(path, Examples().add('dock', look(0, fingerprint=json.dumps(here), model='demo')))
    assert read(path, json.dumps(here))[0].look.model == 'demo'
    with pytest.raises(TeachingError, match=re.escape(said)):
        read(path, json.dumps({**here, **changed}))


def test_what_is_kept_has_the_digest_of_its_file(file):
    kept = read_kept(file)
    assert described(kept.examples) == described(EXAMPLES)
    kept.check(MODEL)
    with pytest.raises(TeachingError, match='seen by another model'):
        kept.check('another model')
    # The same examples may be in another order of metadata there.
    write(file, EXAMPLES)
    assert read_kept(file).digest == kept.digest
    write(file, EXAMPLES.forget())
    assert read_kept(file).digest != kept.digest
    with pytest.raises(TeachingError, match='there is no file of examples .*or leave it out'):
        read_kept(file.with_name('nothing'))


@pytest.mark.parametrize('length', [0, 5, 40, -1])
def test_a_file_that_is_cut_short_is_refused(file, length):
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(TeachingError, match='is damaged, or no file of examples'):
        read(file, MODEL)


def change(file, metadata=(), **tensors):
    """Write a file anew with other tensors, or another description of them."""
    with safe_open(file, framework='pt') as opened:
        stated = {**opened.metadata(), **dict(metadata)}
    save_file({**load_file(file), **tensors}, file, stated)


@pytest.mark.parametrize('spoiled', [
    {'keys': torch.zeros(2, 8)}, {'keys': torch.zeros(3, 9)}, {'keys': torch.zeros(3, 8).half()},
    {'keys': torch.full((3, 8), torch.nan)}, {'inside': torch.zeros(8)},
    {'stands_for': torch.zeros(9, 1)},
    {'patches': torch.zeros(9, 7).half()}, {'thumbnails': torch.zeros(3, dtype=torch.uint8)},
    {'metadata': {'examples': '[]'}}, {'metadata': {'examples': '['}},
    {'metadata': {
        'examples': '[{"name": "", "camera": "", "stamp": 0, "patches": 9, "bytes": 4}]'}},
    {'metadata': {'examples': '[{"patches": 9, "bytes": 4}]'}}, {'metadata': {'examples': '3'}}])
def test_a_file_that_does_not_hold_what_it_says_is_refused(file, spoiled):
    change(file, **spoiled)
    with pytest.raises(TeachingError, match='is damaged, or no file of examples'):
        read(file, MODEL)


def test_another_form_is_refused(file):
    change(file, {'format': 'csa_ros examples 2'})
    with pytest.raises(TeachingError, match=f"examples 2'.*reads '{FORMAT}'"):
        read(file, MODEL)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(TeachingError, match='cannot be written to .*No such file'):
        write(tmp_path / 'nowhere' / 'taught', EXAMPLES)


def test_what_cannot_be_used_is_never_written_to(file):
    before = file.read_bytes()
    kept = ExamplesFile(file)
    assert len(kept.load('another model')) == 0
    assert 'It is left as it is' in kept.fault
    kept.save(EXAMPLES)
    assert file.read_bytes() == before


def test_a_fault_of_writing_lasts_until_it_is_written(tmp_path):
    kept = ExamplesFile(tmp_path / 'folder' / 'taught')
    assert len(kept.load(MODEL)) == 0
    kept.save(EXAMPLES)
    assert 'cannot be written' in kept.fault
    kept.path.parent.mkdir()
    kept.save(EXAMPLES)
    assert not kept.fault
    assert len(read(kept.path, MODEL)) == len(EXAMPLES)
