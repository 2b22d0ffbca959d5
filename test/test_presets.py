"""Vocabularies by name: what `@indoor` stands for, where it is found, and what is refused."""

import importlib.util
from itertools import permutations
from pathlib import Path
import shutil

from csa_ros import presets
from csa_ros.presets import preset_names
from csa_ros.presets import PresetError
from csa_ros.presets import read_preset
from csa_ros.vocabulary import DEFAULT_VOCABULARY
from csa_ros.vocabulary import Vocabulary
from csa_ros.vocabulary import VocabularyError
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / 'config/vocabularies').glob('*.yaml'))
INDOOR = tuple(yaml.safe_load((ROOT / 'config/vocabularies/indoor.yaml').read_text())[
    '/**']['ros__parameters']['vocabulary'])


def write(folder, name, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f'{name}.yaml').write_text(text)


def listing(*entries):
    return yaml.safe_dump({'/**': {'ros__parameters': {'vocabulary': list(entries)}}})


@pytest.fixture
def installed(tmp_path):
    """Return a function that loads the module from a place within an empty prefix."""
    def load(place):
        path = tmp_path / place / 'csa_ros/presets.py'
        path.parent.mkdir(parents=True)
        shutil.copy(presets.__file__, path)
        spec = importlib.util.spec_from_file_location('presets_elsewhere', path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    return load


def test_names_are_those_of_the_files():
    assert preset_names() == [path.stem for path in FILES]
    assert 'indoor' in preset_names()


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_preset_is_the_vocabulary_of_its_file(path):
    entries = yaml.safe_load(path.read_text())['/**']['ros__parameters']['vocabulary']
    assert Vocabulary.parse(f'@{path.stem}') == Vocabulary.parse(entries)


@pytest.mark.parametrize('spec, entries', [
    ('@indoor', INDOOR),
    (' @indoor ', INDOOR),
    (['@indoor'], INDOOR),
    (['@indoor', 'car'], (*INDOOR, 'car')),
    ('car, @indoor, bicycle|bike', ('car', *INDOOR, 'bicycle|bike')),
    ("['@indoor', 7]", (*INDOOR, '7')),
    # What YAML takes without quotes, as `ros2 param set` and `ros2 param load` read it.
    ('preset:indoor', INDOOR),
    (['car', 'preset:indoor'], ('car', *INDOOR)),
    ('[preset:indoor, 7]', (*INDOOR, '7')),
    ('preset: indoor , car', (*INDOOR, 'car')),
])
def test_presets_are_expanded_in_place(spec, entries):
    assert Vocabulary.parse(spec).spec == list(entries)


def test_what_was_expanded_is_written_back_without_presets():
    parsed = Vocabulary.parse('@indoor, car')
    assert Vocabulary.parse(parsed.spec) == parsed
    assert not any('@' in entry for entry in parsed.spec)


@pytest.mark.parametrize('spec, reason', [
    ('@indor', "there is no vocabulary '@indor'; use @indoor, "),
    ('@Off-Road', "no vocabulary '@Off-Road'; use @off_road, "),
    ('@coco', 'use @coco_(stuff, @coco_object|object, @coco_stuff), '),
    ('@zzz', f'use {", ".join("@" + path.stem for path in FILES)}$'),
    ('@', "there is no vocabulary '@'; use @"),
    ('@ indoor', "there is no vocabulary '@ indoor'; use @indoor, "),
    ('@@indoor', "there is no vocabulary '@@indoor'; use @indoor, "),
    ('@indoor.yaml', 'use @indoor, '),
    ('@../x', "there is no vocabulary '@../x'; use @"),
    ('@../vocabularies/indoor', 'there is no vocabulary'),
    ('@/etc/passwd', "there is no vocabulary '@/etc/passwd'; use @"),
    (['@indoor\x00'], 'there is no vocabulary'),
    ('@' + 'x' * 10000, r"there is no vocabulary '@x{57}\.\.\.'; use @"),
    ('@indoor|room', r"there is no vocabulary '@indoor\|room'; use @"),
    ('car|@indoor', "'@indoor' in entry .* an entry of its own"),
    ('room=@indoor', "'@indoor' in entry .* an entry of its own"),
    ('wall, wall, @indoor', "'wall' and 'wall' are both named 'wall'"),
    ('@indoor, furniture=table|chair', "'table' of entry .* is already in"),
    ('@indoor, furniture=table', "'table' of entry .* is already in"),
    ('preset:indor', "there is no vocabulary '@indor'; use @indoor, "),
    ('preset:', "there is no vocabulary '@'; use @"),
    ('car|preset:indoor', "'preset:indoor' in entry .* begins with preset:, .* of its own"),
    ('@indoor,', 'entry 2 of 2 is empty'),
    ('[@indoor, car]', 'write preset:indoor for @indoor, or leave the brackets out'),
])
def test_refusals_name_what_there_is(spec, reason):
    with pytest.raises(VocabularyError, match=reason) as refusal:
        Vocabulary.parse(spec)
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize('spec, entries', [
    ('@indoor, wall', INDOOR),
    ('@indoor, @indoor', INDOOR),
    ('@indoor, wall|tapestry', tuple(
        'wall|tapestry' if entry == 'wall' else entry for entry in INDOOR)),
    ('person|driver, @street', ('person|driver|pedestrian', *(
        entry for entry in DEFAULT_VOCABULARY if not entry.startswith('person')))),
])
def test_a_word_that_a_preset_shares_makes_one_class(spec, entries):
    parsed = Vocabulary.parse(spec)
    assert parsed.spec == list(entries)
    assert Vocabulary.parse(parsed.spec) == parsed


def test_classes_of_two_presets_keep_their_order_and_all_words():
    parsed = Vocabulary.parse('@street, @indoor')
    assert parsed.names[:len(DEFAULT_VOCABULARY)] == Vocabulary.parse('@street').names
    assert 'person|pedestrian|people' in parsed.spec
    assert len(parsed) == len(DEFAULT_VOCABULARY) + len(INDOOR) - 1
    # Of words that belong to several classes, what is left is a class of its own.
    parsed = Vocabulary.parse('@street, @autoware')
    assert 'VEHICLE=van' in parsed.spec
    assert 'bicycle|bike|motorcycle' in parsed.spec


@pytest.mark.parametrize('first, second', permutations(
    [path.stem for path in FILES if path.stem not in ('ade20k', 'coco_stuff')], 2))
def test_any_two_presets_go_together(first, second):
    parsed = Vocabulary.parse(f'@{first}, @{second}')
    queries = {query.casefold() for query in parsed.queries}
    for name in (first, second):
        alone = Vocabulary.parse(f'@{name}')
        taken = {entry.name.casefold() for entry in parsed.entries}
        assert {query.casefold() for query in alone.queries} <= queries | taken
    assert Vocabulary.parse(parsed.spec) == parsed


@pytest.mark.parametrize('spec, preset', [
    ('indoor', 'indoor'), (['indoor'], 'indoor'), ('Off-Road', 'off_road'),
    ('off road', 'off_road'), ('ADE20K', 'ade20k'), ('indoor.yaml', 'indoor'),
    ('"street"', 'street'),
])
def test_a_lone_word_that_is_the_name_of_a_preset_is_doubted(spec, preset):
    assert Vocabulary.parse(spec).doubt.endswith(f'set it to preset:{preset}')


@pytest.mark.parametrize('spec', ['@indoor', 'indoors', 'street, road', 'street|road', 'room'])
def test_other_vocabularies_are_not_doubted(spec):
    assert not Vocabulary.parse(spec).doubt


def test_hidden_files_and_folders_are_no_presets(monkeypatch, tmp_path):
    write(tmp_path, 'mine', listing('car'))
    for name in ('._mine', '.mine', '.hidden'):
        (tmp_path / f'{name}.yaml').write_bytes(b'\0\5\x16\7')
    (tmp_path / 'folder.yaml').mkdir()
    (tmp_path / 'Thumbs.db').write_bytes(b'')
    monkeypatch.setattr(presets, '_folder', lambda: tmp_path)
    assert preset_names() == ['mine']


def test_an_at_sign_within_a_word_is_text():
    assert Vocabulary.parse('gate @ B').names == ('gate @ B',)


@pytest.mark.parametrize('place', [
    'lib/python3.11/site-packages', 'local/lib/python3.12/dist-packages', '.'])
def test_installations_are_found_without_the_ament_index(installed, tmp_path, place):
    module = installed(place)
    with pytest.raises(module.PresetError, match='share/csa_ros/config/vocabularies .* install'):
        module.read_preset('indoor')
    write(tmp_path / 'share/csa_ros/config/vocabularies', 'indoor', listing('here'))
    assert module.read_preset('indoor') == ('here',)


def test_the_nearest_installation_is_that_of_the_module(installed, tmp_path):
    write(tmp_path / 'share/csa_ros/config/vocabularies', 'indoor', listing('underlay'))
    write(tmp_path / 'venv/share/csa_ros/config/vocabularies', 'indoor', listing('mine'))
    module = installed('venv/lib/python3.11/site-packages')
    assert module.read_preset('indoor') == ('mine',)


def test_a_link_to_the_sources_leads_to_their_presets(tmp_path):
    """As pip's editable and colcon's symlinked installations have it."""
    (tmp_path / 'csa_ros').symlink_to(ROOT / 'csa_ros')
    spec = importlib.util.spec_from_file_location(
        'presets_linked', tmp_path / 'csa_ros/presets.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.read_preset('indoor') == INDOOR


@pytest.mark.parametrize('text', [
    '', '[', 'words', '{}', '/**: {}', '/**: {ros__parameters: {}}',
    '/**: {ros__parameters: {vocabulary: wall}}', 'a: 1\nb: 2', '\xff'])
def test_a_broken_file_is_named(installed, tmp_path, text):
    write(tmp_path / 'share/csa_ros/config/vocabularies', 'mine', text)
    module = installed('lib/python3.11/site-packages')
    with pytest.raises(module.PresetError, match=r'vocabularies/mine\.yaml must set'):
        module.read_preset('mine')


def test_a_file_is_read_once(installed, tmp_path):
    folder = tmp_path / 'share/csa_ros/config/vocabularies'
    write(folder, 'mine', listing('before'))
    module = installed('lib/python3.11/site-packages')
    assert module.read_preset('mine') == ('before',)
    write(folder, 'mine', listing('after'))
    assert module.read_preset('mine') == ('before',)


def test_presets_do_not_nest(monkeypatch, tmp_path):
    write(tmp_path, 'outer', listing('car', '@indoor'))
    monkeypatch.setattr(presets, '_folder', lambda: tmp_path)
    with pytest.raises(VocabularyError, match='an entry of its own'):
        Vocabulary.parse('@outer')


def test_read_preset_raises_its_own_error():
    with pytest.raises(PresetError, match='there is no vocabulary'):
        read_preset('nowhere')
