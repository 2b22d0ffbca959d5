"""Names of classes as they are drawn: in ASCII where that will do, else with a font."""

from csa_ros import draw
from csa_ros.drawing import lettering
import numpy as np
from PIL import features
import pytest

# DejaVu, which matplotlib brings, has Greek and Cyrillic.
GREEK, CYRILLIC, CHINESE, HEBREW = 'δρόμος', 'дорога', '道路', 'דרך'


@pytest.fixture
def no_fonts(monkeypatch):
    """Let this machine have no font."""
    monkeypatch.setattr(lettering, '_fonts_of_system', lambda letters: [])
    monkeypatch.setattr(lettering, '_font_files', lambda: iter(()))
    forget()
    yield
    forget()


def forget():
    for cached in lettering.spell, lettering.find_font, lettering.text_mask:
        cached.cache_clear()


def font_or_skip(text):
    if lettering.find_font(text) is None:
        pytest.skip(f'no font of this machine has the letters of {text}')


@pytest.mark.parametrize('name, text', [
    ('café', 'cafe'), ('Straße', 'Strasse'), ('Łódź', 'Lodz'), ('car', 'car'),
])
def test_latin_names_are_spelled_in_ascii(name, text):
    assert lettering.spell(name, 3) == text


@pytest.mark.parametrize('name', [GREEK, CYRILLIC, CHINESE, HEBREW, f'{CYRILLIC} 2'])
def test_names_in_other_scripts_are_drawn_where_a_font_has_them(name):
    font_or_skip(name)
    assert lettering.spell(name, 3) == name
    assert lettering.unspelled(['car', name]) == []
    mask = lettering.text_mask(name, 12)
    assert mask.shape[0] == lettering.pitch(12)
    assert mask.dtype == np.float32
    assert mask.max() > 0.9
    # No letter is the box that stands for a letter that the font lacks.
    font = lettering.ImageFont.truetype(str(lettering.find_font(name)), 16)
    boxes = [bytes(font.getmask(letter)) for letter in {*name.replace(' ', ''), '\U0010fffe'}]
    assert boxes.count(bytes(font.getmask('\U0010fffe'))) == 1


@pytest.mark.parametrize('name', [
    GREEK, CYRILLIC, CHINESE, HEBREW, '\u0301', 'ไทย', 'हिन्दी', '🚗'])
def test_names_that_no_font_has_are_shown_by_their_id(no_fonts, name):
    assert lettering.spell(name, 3) == '#3'
    assert lettering.unspelled(['car', name, 'café']) == [name]
    # Whoever asks for them all the same gets blank space.
    assert lettering.text_mask(name, 12).max() == 0


def test_letters_that_join_need_a_library(monkeypatch):
    font_or_skip('ABC')
    monkeypatch.setattr(features, 'check', lambda name: False)
    forget()
    assert lettering.spell(HEBREW, 3) == '#3'
    forget()


def test_files_that_are_no_fonts_are_passed_over(monkeypatch, tmp_path):
    (tmp_path / 'broken.ttf').write_bytes(b'no font')
    assert not lettering._has_letters(tmp_path / 'broken.ttf', ['a'])
    assert not lettering._has_letters(tmp_path / 'missing.ttf', ['a'])
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / '.fonts').mkdir()
    (tmp_path / '.fonts/own.TTF').write_bytes(b'')
    (tmp_path / '.fonts/own.txt').write_bytes(b'')
    found = [path.name for path in lettering._font_files()]
    assert 'own.TTF' in found
    assert 'own.txt' not in found


@pytest.mark.parametrize('cap', [7, 9, 20])
def test_key_with_names_in_another_script(cap):
    font_or_skip(CYRILLIC)
    names = [CYRILLIC, 'road', CYRILLIC * 20]
    picture = np.zeros((60 * cap, 80 * cap, 3), np.uint8)
    draw.draw_key(picture, names, draw.palette(names))
    colors = draw.palette(names)
    assert all((picture == color).all(axis=2).any() for color in colors)
    assert picture.max() >= 230
