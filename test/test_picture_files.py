"""Files of pictures: found without what is none, and read as the node reads a camera."""

import array

from csa_ros.evaluation.datasets.files import read_image
from csa_ros.evaluation.labelled_frames import find_pairs
from csa_ros.evaluation.labelled_frames import FrameError
from csa_ros.files import visible_files
from csa_ros.picture_files import orientation
from csa_ros.picture_files import PictureError
from csa_ros.picture_files import read_picture
from csa_ros.picture_files import SUFFIXES
from csa_ros.ros import compressed
from csa_ros.sample_range import SampleRange
from csa_ros.vocabulary import Vocabulary
import cv2
import numpy as np
from PIL import Image
import pytest
from sensor_msgs.msg import CompressedImage

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
LARGE = cv2.resize(RGB, (64, 48), interpolation=cv2.INTER_NEAREST)
VOCABULARY = Vocabulary.parse('road, sky')
# What Finder and Explorer leave in folders, and what only looks like a picture.
STRANGERS = ('._front.png', '._front.jpg', '.hidden.png', '.DS_Store', 'Thumbs.db', 'desktop.ini')


def exif(turn):
    tags = Image.Exif()
    if turn is not None:
        tags[0x0112] = turn
    return tags


def as_node(data):
    return compressed.to_rgb(CompressedImage(format='', data=array.array('B', data)))


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('turn', [None, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_pixels_are_as_they_are_stored_whatever_exif_says(tmp_path, turn, suffix):
    path = tmp_path / f'a{suffix}'
    plain = tmp_path / f'plain{suffix}'
    Image.fromarray(LARGE).save(path, exif=exif(turn), quality=95)
    Image.fromarray(LARGE).save(plain, quality=95)
    stored = np.asarray(Image.open(plain))
    for seen in (read_picture(path), read_image(path), as_node(path.read_bytes())):
        assert seen.shape == (48, 64, 3)
        assert np.abs(seen.astype(int) - stored).max() <= 3
        assert np.array_equal(seen, read_picture(plain))
    assert orientation(path) == (1 if turn is None else turn)
    assert orientation(tmp_path / 'missing') == 1


def test_pairs_follow_no_exif_and_say_so_where_the_mask_does(tmp_path):
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
    Image.fromarray(LARGE).save(tmp_path / 'images/a.jpg', exif=exif(6))
    mask = np.zeros((48, 64), np.uint8)
    Image.fromarray(mask).save(tmp_path / 'masks/a.png')
    pair, = find_pairs([tmp_path / 'images'], [tmp_path / 'masks'], VOCABULARY, ())[0]
    rgb, _ = pair.read()
    assert np.array_equal(rgb, read_picture(tmp_path / 'images/a.jpg'))
    Image.fromarray(mask.T.copy()).save(tmp_path / 'masks/a.png')
    with pytest.raises(FrameError, match='orientation 6, which is not followed.*mogrify'):
        pair.read()


@pytest.mark.parametrize('mode, expected', [
    ('RGB', RGB), ('RGBA', RGB), ('L', None), ('P', None), ('1', None), ('LA', None)])
def test_pictures_of_any_mode_have_three_channels(tmp_path, mode, expected):
    Image.fromarray(RGB).convert(mode).save(tmp_path / 'a.png')
    seen = read_picture(tmp_path / 'a.png')
    assert (seen.shape, seen.dtype) == ((6, 8, 3), np.uint8)
    wanted = np.asarray(Image.open(tmp_path / 'a.png').convert('RGB'))
    assert np.array_equal(seen, wanted if expected is None else expected)


def test_sixteen_bits_are_read_as_the_node_reads_them(tmp_path):
    samples = RGB.astype(np.uint16) * 16
    for path, stored in ((tmp_path / 'a.png', samples), (tmp_path / 'b.tiff', samples[..., 0])):
        cv2.imwrite(str(path), stored)
        assert read_picture(path).max() <= 16
        expected = np.abs(read_picture(path, SampleRange('auto')).astype(int)
                          - read_picture(path).astype(int) * 16).max()
        assert expected <= 16
        assert read_picture(path, SampleRange('auto')).max() > 240


@pytest.mark.parametrize('data, reason', [
    (b'', 'no such format'), (b'\0\5\x16\7', 'no such format'), (b'\xff\xd8', 'no such format')])
def test_what_is_no_picture_is_named(tmp_path, data, reason):
    (tmp_path / 'a.png').write_bytes(data)
    with pytest.raises(PictureError, match=rf'a\.png cannot be read as a picture: .*{reason}'):
        read_picture(tmp_path / 'a.png')
    with pytest.raises(PictureError, match=r'missing\.png cannot be read: No such file'):
        read_picture(tmp_path / 'missing.png')
    with pytest.raises(PictureError, match='cannot be read: Is a directory'):
        read_picture(tmp_path)


def test_samples_of_measurements_are_no_picture(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.tiff'), RGB.astype(np.float32))
    with pytest.raises(PictureError, match='its samples are float32'):
        read_picture(tmp_path / 'a.tiff')


def test_files_of_a_folder_are_those_that_are_seen_there(tmp_path):
    for name in ('front.png', 'REAR.JPG', 'notes.txt', *STRANGERS):
        (tmp_path / name).write_bytes(b'')
    (tmp_path / 'folder.png').mkdir()
    (tmp_path / 'broken.png').symlink_to(tmp_path / 'nowhere')
    (tmp_path / 'link.png').symlink_to(tmp_path / 'front.png')
    assert [path.name for path in visible_files(tmp_path, SUFFIXES)] == [
        'REAR.JPG', 'front.png', 'link.png']


def test_strangers_beside_pictures_and_masks_are_left_out(tmp_path):
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
        Image.fromarray(LARGE[..., 0] % 2).save(tmp_path / folder / 'front.png')
        for name in STRANGERS:
            (tmp_path / folder / name).write_bytes(b'\0\5\x16\7')
        (tmp_path / folder / 'folder.png').mkdir()
    pairs, left_out = find_pairs([tmp_path / 'images'], [tmp_path / 'masks'], VOCABULARY, ())
    assert [pair.image.name for pair in pairs] == ['front.png']
    assert left_out == 0
    assert pairs[0].read()[0].shape == (48, 64, 3)
