"""Lists of pictures and captions: both forms, and each way to get them wrong."""

import json

from csa_ros.training.errors import TrainingError
from csa_ros.training.pairs import read_pairs
import pytest


@pytest.fixture
def folder(tmp_path):
    """Return a folder with two files that stand for pictures; nothing here looks into them."""
    (tmp_path / 'below').mkdir()
    for name in ('a.png', 'below/b.jpg'):
        (tmp_path / name).write_bytes(b'')
    return tmp_path


def read(folder, text, suffix='.csv', **how):
    path = folder / f'captions{suffix}'
    path.write_text(text, **how) if isinstance(text, str) else path.write_bytes(text)
    return read_pairs(folder, path)


def lines(*objects):
    return '\n'.join(map(json.dumps, objects))


@pytest.mark.parametrize('suffix, text', [
    ('.csv', 'picture,caption\na.png,a car\nbelow/b.jpg,"a tree, a lawn"\na.png,a red car\n'),
    ('.csv', 'Picture, Caption 1, Caption 2\r\na.png,a car,a red car\r\nbelow/b.jpg,'
             '"a tree, a lawn",\r\n'),
    ('.CSV', '\ufefffilepath,title\na.png, a  car \na.png,a red car\n\nbelow/b.jpg,'
             '"a tree, a lawn"'),
    ('.jsonl', lines({'picture': 'a.png', 'captions': ['a car', 'a red car']},
                     {'picture': 'below/b.jpg', 'caption': 'a tree, a lawn'})),
    ('.jsonl', lines({'file_name': 'a.png', 'text': 'a car', 'id': 7}) + '\n\n'
     + lines({'file_name': 'a.png', 'text': 'a red car'},
             {'image': 'below/b.jpg', 'text': ['a tree, a lawn']}) + '\r\n'),
])
def test_lists_are_read(folder, suffix, text):
    """In either form, and with the names that others use."""
    pairs, repeated = read(folder, text, suffix, encoding='utf-8', newline='')
    assert [(pair.name, pair.captions) for pair in pairs] == [
        ('a.png', ('a car', 'a red car')), ('below/b.jpg', ('a tree, a lawn',))]
    assert pairs[1].picture == folder / 'below' / 'b.jpg'
    assert repeated == 0


def test_rows_that_repeat_count_once(folder):
    pairs, repeated = read(folder, 'picture,caption\n' + 3 * 'a.png,a car\n' + 'a.png,a bus\n')
    assert [pair.captions for pair in pairs] == [('a car', 'a bus')]
    assert repeated == 2


@pytest.mark.parametrize('suffix, text, words', [
    ('.csv', 'a.png,a car\n', ['line 1', "'a.png,a car' does not name the columns",
                               'picture,caption']),
    ('.csv', 'picture;caption\na.png;a car\n', ['line 1', 'with commas between']),
    ('.csv', 'picture,image,caption\n', ['line 1', 'does not name the columns']),
    ('.csv', '', ['line 1', 'does not name the columns']),
    ('.csv', 'picture,caption\n', ['lists no picture']),
    ('.csv', 'picture,caption\na.png,a car, a bus\n',
     ['line 2', '3 cells', '2 columns', 'quotes']),
    ('.csv', 'picture,caption\na.png\n', ['line 2', '1 cells']),
    ('.csv', 'picture,caption\na.png,a car\na.png,  \n', ['line 3', 'a.png is empty']),
    ('.csv', 'picture,caption\n,a car\n', ['line 2', 'name of the picture']),
    ('.csv', 'picture,caption\na.png,"a car\n', ['captions.csv']),
    ('.csv', b'picture,caption\na.png,caf\xe9\n', ['is no UTF-8, at byte 25']),
    ('.jsonl', lines({'picture': 'a.png', 'caption': 'a car'}) + '\n{"picture": ',
     ['line 2', 'is no JSON', '"captions"']),
    ('.jsonl', 'a.png a car', ['line 1', "'a.png a car' is no JSON"]),
    ('.jsonl', '["a.png", "a car"]', ['line 1', 'is no object']),
    ('.jsonl', lines({'picture': 'a.png'}), ['line 1', 'it has picture, and no caption']),
    ('.jsonl', '{}', ['line 1', 'it has nothing, and no caption']),
    ('.jsonl', lines({'picture': 3, 'caption': 'a car'}), ['line 1', 'name of the picture is 3']),
    ('.jsonl', lines({'picture': 'a.png', 'captions': []}), ['line 1', 'a.png has no caption']),
    ('.jsonl', lines({'picture': 'a.png', 'captions': ['a car', '']}), ['line 1', 'is empty']),
    ('.jsonl', lines({'picture': 'a.png', 'captions': ['a car', 5]}), ['line 1', 'is 5: write a']),
    ('.jsonl', lines({'picture': 'a.png', 'caption': None}), ['line 1', 'is None: write a text']),
    ('.jsonl', '', ['lists no picture']),
    ('.txt', 'a.png a car', ["ends in '.txt'", '.csv or .jsonl']),
    ('', 'a.png a car', ["ends in 'nothing'"]),
])
def test_bad_lists_are_refused(folder, suffix, text, words):
    """The message names the file, the line, the value and what to write."""
    with pytest.raises(TrainingError) as error:
        read(folder, text, suffix)
    for word in [*words, f'captions{suffix}']:
        assert word in str(error.value)


def test_pictures_that_are_missing_are_named(folder):
    with pytest.raises(TrainingError) as error:
        read(folder, 'picture,caption\na.png,a car\n' + ''.join(
            f'{number}.png,a car\n' for number in range(5)))
    assert '5 of the 6 pictures' in str(error.value)
    assert f'are not in {folder}: 0.png, 1.png, 2.png and 2 more' in str(error.value)


@pytest.mark.parametrize('name, reason', [
    ('nowhere', 'does not exist'), ('a.png', 'is no folder')])
def test_a_folder_that_is_none_is_refused(folder, name, reason):
    with pytest.raises(TrainingError, match=f'{name} {reason}: name the folder'):
        read_pairs(folder / name, folder / 'captions.csv')


@pytest.mark.parametrize('name', ['nowhere.csv', 'below.csv'])
def test_a_list_that_cannot_be_read_is_refused(folder, name):
    (folder / 'below.csv').mkdir()
    with pytest.raises(TrainingError, match=f'{name} cannot be read: (No such|Is a)'):
        read_pairs(folder, folder / name)
