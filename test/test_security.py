"""Nothing that is read runs code, and nothing that is named is written outside the cache."""

import multiprocessing
import os
import pickle
import random
import tarfile
import time
import zipfile

from csa_ros.model.backbone import load_backbone
from csa_ros.model.errors import ModelError
from csa_ros.model.text import PromptError
from csa_ros.model.text import TextEncoder
from csa_ros.parameters.table import PARAMETERS
from csa_ros.vocabulary import Vocabulary
import numpy as np
import pytest
import torch
from towers import make_backbone
from towers import make_clip
from towers import make_config

TIMEOUT = 40.0


class Trap:
    """Leaves a marker when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


class TrapModule(torch.nn.Module):
    """Leaves a marker when its TorchScript archive is loaded, without a method being called."""

    def __init__(self, marker: str):
        super().__init__()
        self.marker = marker

    @torch.jit.export
    def __getstate__(self):
        return self.marker, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.marker, self.training = state
        torch.save(state, self.marker)

    def forward(self):
        return 0


def as_state_dict(path, trap):
    torch.save({'state_dict': make_clip().state_dict(), 'optimizer': trap}, path)


def as_legacy_file(path, trap):
    torch.save({'visual.proj': trap}, path, _use_new_zipfile_serialization=False)


def as_plain_pickle(path, trap):
    path.write_bytes(pickle.dumps(trap))


def as_old_tar(path, trap):
    pickled = path.with_suffix('.pickle')
    pickled.write_bytes(pickle.dumps(trap))
    with tarfile.open(path, 'w') as archive:
        for name in 'sys_info', 'pickle', 'storages', 'tensors':
            archive.add(pickled, name)
    pickled.unlink()


def as_torchscript_data(path, trap):
    """Replace what a TorchScript archive pickles: its module, or its constants."""
    clip = make_clip(config=make_config(quick_gelu=True))
    torch.jit.trace(clip, (torch.randn(1, 3, 32, 32), torch.ones(1, 24, dtype=torch.long))
                    ).save(path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in files.items():
            pickled = name.endswith(('/data.pkl', '/constants.pkl'))
            archive.writestr(name, pickle.dumps(trap, 2) if pickled else content)


def as_torchscript_code(path, trap):
    torch.jit.script(TrapModule(str(trap.marker))).save(path)


KINDS = (as_state_dict, as_legacy_file, as_plain_pickle, as_old_tar, as_torchscript_data,
         as_torchscript_code)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Make tiny architectures known, and HOME a folder of the test's own."""
    import open_clip
    from towers import register
    monkeypatch.setattr(open_clip.factory, '_MODEL_CONFIG_PATHS',
                        list(open_clip.factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(open_clip.factory, '_MODEL_CONFIGS', {})
    (tmp_path / 'configs').mkdir()
    register(tmp_path / 'configs', 'Tiny')
    register(tmp_path / 'configs', 'Tiny-quickgelu', quick_gelu=True)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('suffix', ['.pt', '.bin', '.safetensors', ''])
@pytest.mark.parametrize('write', KINDS, ids=lambda kind: kind.__name__)
def test_checkpoints_cannot_run_code(tiny, tmp_path, write, suffix):
    marker = tmp_path / 'marker'
    path = tmp_path / f'weights{suffix}'
    write(path, Trap(marker))
    for architecture in 'Tiny', 'Tiny-quickgelu':
        with pytest.raises(ModelError):
            load_backbone(f'{architecture}:{path}', 'cpu')
    assert not marker.exists()


@pytest.mark.parametrize('model', ['{folder}', 'Tiny:{folder}', 'Tiny:{folder}/part.bin'])
def test_files_that_belong_together_cannot_run_code(tiny, tmp_path, model):
    folder = tmp_path / 'model'
    folder.mkdir()
    marker = tmp_path / 'marker'
    as_state_dict(folder / 'part.bin', Trap(marker))
    (folder / 'config.json').write_text('{"model_type": "clip"}')
    (folder / 'pytorch_model.bin.index.json').write_text(
        '{"weight_map": {"visual.proj": "part.bin"}}')
    with pytest.raises(ModelError, match='could run code'):
        load_backbone(model.format(folder=folder), 'cpu')
    assert not marker.exists()


@pytest.mark.filterwarnings('ignore')
def test_the_traps_work_where_they_are_let(tmp_path):
    """Without this, that no marker appears would prove nothing."""
    pickled, scripted = tmp_path / 'pickled', tmp_path / 'scripted'
    as_plain_pickle(tmp_path / 'weights', Trap(pickled))
    pickle.loads((tmp_path / 'weights').read_bytes())
    assert pickled.exists()
    as_torchscript_code(tmp_path / 'archive', Trap(scripted))
    torch.jit.load(tmp_path / 'archive')
    assert scripted.exists()


def listing(folder):
    return {path.relative_to(folder): path.stat().st_size
            for path in folder.rglob('*') if path.is_file()}


EVIL = ('../../evil', '/evil', '~/evil', '..\\evil', 'C:\\evil', 'evil\0', 'evil.npy',
        '%2e%2e/evil', '$HOME/evil', '`touch evil`', '; touch evil', '.' * 90)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Make a folder the home of what is called, and where it stands."""
    home = tmp_path / 'sandbox' / 'home'
    home.mkdir(parents=True)
    monkeypatch.setenv('HOME', str(home))
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.chdir(home)
    return home


@pytest.mark.parametrize('name', [
    *EVIL, *(f'Tiny/{name}' for name in EVIL), *(f'Tiny:{name}' for name in EVIL),
    *(f'{name}/tag' for name in EVIL), 'hf-hub:evil/evil', 'local-dir:/evil'])
def test_names_of_models_write_nothing(tiny, home, tmp_path, name):
    before = listing(tmp_path)
    with pytest.raises((ModelError, ValueError)):
        load_backbone(name, 'cpu')
    assert listing(tmp_path) == before


def test_words_and_prompts_write_within_the_cache_alone(home, tmp_path):
    encoder = TextEncoder(make_backbone())
    before = listing(tmp_path)
    for word in EVIL:
        try:
            queries = Vocabulary.parse([word]).queries
        except ValueError:
            continue
        for prompts in ('simple', [f'{word} {{}}']):
            try:
                encoder.encode(queries, prompts)
            except PromptError:
                pass
    new = set(listing(tmp_path)) - set(before)
    assert len(new) > len(EVIL)
    cache = (home / '.cache/csa_ros/text').relative_to(tmp_path)
    assert {path.parent for path in new} == {cache}
    assert all(len(path.stem) == 64 and set(path.stem) <= set('0123456789abcdef')
               and path.suffix == '.npy' for path in new)


def test_no_parameter_that_can_be_set_names_a_file_to_write():
    """Whoever adds a parameter with a path in it must think of this, and of docs/parameters.md."""
    paths = {item.name for item in PARAMETERS
             if isinstance(item.default, str) and not item.choices}
    assert paths == {'model', 'device', 'prompts', 'cameras', 'image_topic', 'depth_topic',
                     'camera_info_topic', 'mask_classes', 'find', 'object_classes', 'examples',
                     'teach_name', 'teach_region', 'teach_camera'}
    # Whoever starts the node names it.
    assert {item.name for item in PARAMETERS if item.read_only} >= {'examples'}


SHARED_WORDS = [f'word {number}' for number in range(8)]


def encode_again_and_again(folder):
    """Encode the same words as other processes do, each time as if for the first time."""
    backbone = make_backbone()
    while True:
        for path in (folder / 'text').glob('*.npy'):
            path.unlink(missing_ok=True)
        TextEncoder(backbone, folder).encode(SHARED_WORDS, 'simple')


def test_processes_share_a_cache_even_if_they_are_killed(tmp_path):
    """Whatever is read under the name of an entry is whole, at any time."""
    backbone = make_backbone()
    expected = TextEncoder(backbone, tmp_path / 'other').encode(SHARED_WORDS, 'simple')
    sound = {path.name: np.load(path) for path in (tmp_path / 'other').rglob('*.npy')}
    workers = multiprocessing.get_context('forkserver')
    workers.set_forkserver_preload(['csa_ros.ros.node'])
    rng = random.Random(0)
    processes = [None] * 2
    reads = kills = 0
    # A busy machine takes long to begin a process.
    ends = time.monotonic() + 5 * TIMEOUT
    try:
        while (reads < 150 or kills < 3) and time.monotonic() < ends:
            number = rng.randrange(2)
            if processes[number]:
                processes[number].kill()
                processes[number].join()
                kills += reads > 0
            processes[number] = workers.Process(target=encode_again_and_again, args=(tmp_path,))
            processes[number].start()
            killed_next = time.monotonic() + rng.uniform(0.1, 0.6)
            while time.monotonic() < killed_next:
                for path in (tmp_path / 'text').glob('*.npy'):
                    try:
                        array = np.load(path)
                    except FileNotFoundError:
                        continue
                    reads += 1
                    assert np.allclose(array, sound[path.name], atol=1e-5)
                time.sleep(0.001)
    finally:
        for process in filter(None, processes):
            process.kill()
            process.join()
    assert reads >= 150 and kills >= 3
    torch.testing.assert_close(
        TextEncoder(backbone, tmp_path).encode(SHARED_WORDS, 'simple'), expected)
