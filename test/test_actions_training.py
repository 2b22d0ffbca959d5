"""Clips in folders, what is learned from them, what a break leaves, and how it is measured."""

import json
from types import SimpleNamespace

from csa_ros.actions import learning
from csa_ros.actions import model as learned
from csa_ros.actions import trial
from csa_ros.actions import words
from csa_ros.actions.choices import FRAMES
from csa_ros.actions.clips import find_clips
from csa_ros.actions.clips import read_clip
from csa_ros.actions.clips import Windows
from csa_ros.actions.episodes import draw
from csa_ros.actions.errors import ActionError
from csa_ros.actions.learning import Plan
from csa_ros.actions.learning import Training
from csa_ros.actions.trial import few_shot
from csa_ros.actions.trial import GROUPS
from csa_ros.demo import acting
from csa_ros.demo import action_lesson
from csa_ros.model.text import TextEncoder
from csa_ros.tools import train_actions
from csa_ros.tools.running import FAILED
from csa_ros.training.errors import TrainingError
import cv2
import numpy as np
import pytest
from safetensors.torch import load_file
import torch
import towers

SIDE = 32
ACTIONS = ('brighter', 'darker', 'still')


def pictures(action, seed, count=FRAMES):
    """Return grey pictures, (SIDE, SIDE, 3) uint8, in which only the order tells two actions."""
    random = np.random.default_rng((seed, ACTIONS.index(action)))
    levels = np.linspace(40, 200, count) if action != 'still' else np.full(count, 120)
    noise = random.integers(0, 30, (SIDE, SIDE, 3))
    clip = [np.uint8(level + noise) for level in levels]
    return clip[::-1] if action == 'darker' else clip


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Return a folder of clips: videos, and folders of pictures."""
    clips = tmp_path_factory.mktemp('clips')
    for action in ACTIONS[:2]:
        for seed in range(4):
            path = clips / action / f'{seed}'
            path.mkdir(parents=True)
            for place, rgb in enumerate(pictures(action, seed)):
                cv2.imwrite(str(path / f'{place:02d}.png'), rgb)
        video = cv2.VideoWriter(str(clips / action / 'video.avi'),
                                cv2.VideoWriter.fourcc(*'MJPG'), 8, (SIDE, SIDE))
        for rgb in pictures(action, 9, 3 * FRAMES):
            video.write(rgb)
        video.release()
    (clips / '.hidden').mkdir()
    return clips


# Clips

def test_clips_are_found_by_their_folders(folder):
    clips = find_clips(folder, 2)
    assert [clip.action for clip in clips] == ['brighter'] * 5 + ['darker'] * 5
    assert {clip.path.suffix for clip in clips} == {'', '.avi'}


def test_frames_are_the_middles_of_equal_parts(folder):
    frames = read_clip(folder / 'brighter' / 'video.avi', FRAMES, SIDE)
    assert frames.shape == (FRAMES, 3, SIDE, SIDE)
    levels = frames.float().mean((1, 2, 3))
    wanted = np.mean(pictures('brighter', 9, 3 * FRAMES), axis=(1, 2, 3))[1::3]
    np.testing.assert_allclose(levels, wanted, atol=4)
    frames = read_clip(folder / 'darker' / '0', FRAMES, SIDE)
    np.testing.assert_array_equal(
        frames[0].permute(1, 2, 0), pictures('darker', 0)[0][:, :, ::-1])


def test_clips_that_cannot_be_used_are_refused(folder, tmp_path):
    with pytest.raises(ActionError, match='there is no folder'):
        find_clips(tmp_path / 'nowhere', 2)
    with pytest.raises(ActionError, match='brighter has 5 clips: an action needs 6'):
        find_clips(folder, 6)
    (tmp_path / 'wave').mkdir()
    for count in (3, FRAMES):
        short = tmp_path / 'wave' / f'{count}'
        short.mkdir()
        for place in range(count):
            cv2.imwrite(str(short / f'{place}.png'), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ActionError, match='clips of 1 actions'):
        find_clips(tmp_path, 1)
    with pytest.raises(ActionError, match='3 has 3 frames: a clip needs 8'):
        read_clip(tmp_path / 'wave' / '3', FRAMES, SIDE)
    broken = tmp_path / 'wave' / '8' / '4.png'
    broken.write_bytes(b'no picture')
    with pytest.raises(ActionError, match='4.png cannot be read .* remove the clip'):
        read_clip(tmp_path / 'wave' / '8', FRAMES, SIDE)
    video = tmp_path / 'wave' / 'video.mp4'
    video.write_bytes(b'no video')
    with pytest.raises(ActionError, match='video.mp4 cannot be read as a video'):
        read_clip(video, FRAMES, SIDE)


# Episodes

def test_what_is_asked_about_was_not_shown():
    labels = np.repeat([4, 7, 9, 11], 5)
    for number in range(20):
        episode = draw(labels, 3, 2, 2, np.random.default_rng(number))
        assert episode.shown.shape == (3, 2)
        assert len({*episode.shown.flatten().tolist(), *episode.asked.tolist()}) == 12
        assert (labels[episode.shown] == episode.actions[:, None].numpy()).all()
        assert (labels[episode.asked] == episode.actions[episode.answers].numpy()).all()


def test_accuracy_is_that_of_the_distances(monkeypatch):
    monkeypatch.setattr(trial, 'EPISODES', 40)
    labels = np.repeat(np.arange(5), 2 * GROUPS)
    same = labels[:, None] == labels
    assert few_shot(1.0 - same, labels, 5) == (1, 0)
    assert few_shot(1.0 * same, labels, 5).share == 0
    random = np.random.default_rng(0).random(same.shape)
    chance = few_shot(random, labels, 5)
    assert abs(chance.share - 0.2) < 0.1
    assert 0 < chance.margin < 0.2
    # Of two actions that are told apart among others that are not.
    told = np.where(np.isin(labels, (1, 3))[:, None], 1.0 - same, random)
    assert few_shot(told, labels, 2, actions=(1, 3)).share == 1
    assert few_shot(told, labels, 2, actions=(0, 2)).share < 0.8


# Learning

@pytest.fixture(scope='module')
def backbone():
    return towers.make_backbone()


@pytest.fixture(scope='module')
def named(backbone, tmp_path_factory):
    text = TextEncoder(backbone, tmp_path_factory.mktemp('cache'))
    return words.encode(text, ACTIONS, '', backbone.embed_dim, backbone.device)


@pytest.fixture(scope='module')
def windows():
    pixels = [np.stack(pictures(action, seed)) for action in ACTIONS for seed in range(5)]
    return Windows(torch.from_numpy(np.stack(pixels)).permute(0, 1, 4, 2, 3),
                   torch.arange(len(ACTIONS)).repeat_interleave(5), ACTIONS)


def plan(method, episodes=4, **changes):
    return Plan(**{'method': method, 'episodes': episodes, 'way': 3, 'shot': 1, 'rate': 1e-3,
                   'held_out': 0.4, 'seed': 0, **changes})


@pytest.mark.parametrize('method, seconds, kept', [('clip-fsar', 0.0, 3), ('ma-clip', 100, 2)])
def test_a_training_goes_on_where_it_was_ended(backbone, named, windows, tmp_path, monkeypatch,
                                               method, seconds, kept):
    """What it leaves is, to the bit, what it would have left without a break."""
    monkeypatch.setattr(learning, 'REPORT', 2)
    monkeypatch.setattr(learning, 'SAVE_SECONDS', seconds)
    whole, broken = tmp_path / 'whole.safetensors', tmp_path / 'broken.safetensors'
    said = []
    Training(backbone, windows, named, plan(method), whole).run(said.append)
    assert [line.partition(',')[0] for line in said] == [
        'episode 0 of 4', 'episode 2 of 4', 'episode 4 of 4']
    assert all('held out:' in line for line in said)

    first = Training(backbone, windows, named, plan(method), broken)
    learn, calls = first._learn, []

    def interrupted(given):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(learn(given))
        return calls[-1]

    first._learn = interrupted
    with pytest.raises(KeyboardInterrupt):
        first.run(said.append)
    assert first.state_path.exists()
    with pytest.raises(TrainingError, match='rate was 0.001 and is now 0.01'):
        Training(backbone, windows, named, plan(method, rate=1e-2), broken).run(said.append)
    Training(backbone, windows, named, plan(method), broken).run(said.append)
    assert not first.state_path.exists()
    assert f'goes on from episode {kept} of 4' in said
    one, two = load_file(whole), load_file(broken)
    assert all(torch.equal(one[name], value) for name, value in two.items())
    one_report, two_report = (json.loads((tmp_path / f'{name}.safetensors.json').read_text())
                              for name in ('whole', 'broken'))
    assert one_report == two_report
    begun = learned.ActionModel.of(backbone, method).state_dict()
    assert any(not torch.equal(value, begun[name]) for name, value in one.items())
    learned.load(whole, backbone, method)
    with pytest.raises(TrainingError, match='is there already'):
        Training(backbone, windows, named, plan(method), whole).run(said.append)


def test_order_is_learnt(backbone, named, windows, tmp_path):
    """The loss falls, and the tower and its words stay what they are."""
    before = {name: value.clone() for name, value in backbone.clip.state_dict().items()}
    training = Training(backbone, windows, named, plan('clip-fsar', 15, held_out=0),
                        tmp_path / 'weights.safetensors')
    random = np.random.default_rng(0)
    episode = draw(windows.labels.numpy(), 3, 1, 1, random)

    def loss():
        training._comparison.eval()
        with torch.no_grad():
            return training._loss(episode).item()

    first = loss()
    training.run(lambda text: None)
    assert loss() < 0.9 * first
    assert all(torch.equal(value, before[name])
               for name, value in backbone.clip.state_dict().items())


def test_what_cannot_be_trained_is_refused(backbone, named, windows, tmp_path):
    out = tmp_path / 'weights.safetensors'
    with pytest.raises(TrainingError, match="'brighter' has 5 clips, of which 4 are held out: 2"):
        Training(backbone, windows, named, plan('clip-fsar', held_out=0.8), out)
    endless = Training(backbone, windows, named, plan('clip-fsar', rate=1e30), out)
    with pytest.raises(TrainingError, match=r'in episode \d: give a lower --rate than 1e\+30'):
        endless.run(lambda text: None)


# The tool

def test_the_tool(folder, tmp_path, capsys):
    out = tmp_path / 'weights.safetensors'
    arguments = ['--model', 'demo', '--clips', str(folder), '--out', str(out), '--device', 'cpu',
                 '--episodes', '2']
    assert train_actions.main(arguments) == train_actions.DONE
    printed = capsys.readouterr()
    assert f'method_weights:={out}' in printed.out
    assert 'train_actions: episode 2 of 2, loss' in printed.err
    assert train_actions.main(arguments) == FAILED
    assert 'is there already' in capsys.readouterr().err
    assert train_actions.main([*arguments, '--shot', '5']) == FAILED
    assert 'an action needs 6' in capsys.readouterr().err


@pytest.mark.parametrize('arguments, said', [
    (['--way', '1'], '--way is 1: it must be at least 2'),
    (['--episodes', '0'], '--episodes is 0'),
    (['--rate', '2'], '--rate is 2.0: it must be above 0'),
    (['--held-out', '1'], '--held-out is 1.0'),
    (['--out', 'weights.pt'], "ends in '.pt'"),
    (['--out', 'nowhere/weights.safetensors'], 'there is no folder nowhere'),
    (['--method', 'mean'], 'invalid choice')])
def test_arguments_that_cannot_be_used_are_refused(tmp_path, capsys, arguments, said):
    with pytest.raises(SystemExit) as error:
        train_actions.main(['--clips', 'clips', '--out', str(tmp_path / 'w.safetensors'),
                            *arguments])
    assert error.value.code == 2
    assert said in capsys.readouterr().err


# The demo's streets

def test_opposites_have_the_same_pictures_the_other_way_round():
    """But for what the camera moves meanwhile; the same seed gives the same pictures."""
    size = (32, 24)
    for one, other in acting.OPPOSITES.values():
        there = [acting.ActionStreet(7, one)._play(share) for share in (0, 0.3, 1)]
        back = [acting.ActionStreet(7, other)._play(1 - share) for share in (0, 0.3, 1)]
        assert there == back or [thing.x for thing in there] == [thing.x for thing in back]
        assert [thing.z for thing in there] == [thing.z for thing in back]
        assert [thing.look for thing in there] == [thing.look for thing in back]
    clip = list(acting.ActionStreet(7, acting.ACTIONS[0]).clip(size, 1))
    assert [rgb.shape for rgb in clip] == [(24, 32, 3)] * 2
    np.testing.assert_array_equal(
        clip, list(acting.ActionStreet(7, acting.ACTIONS[0]).clip(size, 1)))
    with pytest.raises(ValueError, match="no action 'a dance'"):
        acting.ActionStreet(7, 'a dance')


def test_cars_turn_to_both_sides_alike():
    left, right = (acting.ActionStreet(7, action)._play(1) for action in acting.TURNS)
    assert left.x == -right.x
    assert (left.z, right.x > 0) == (right.z, True)


def test_the_lesson_writes_clips_that_are_found(tmp_path, monkeypatch):
    street = SimpleNamespace(clip=lambda: pictures('brighter', 0))
    monkeypatch.setattr(action_lesson, 'ActionStreet', lambda seed, action: street)
    assert action_lesson.write(tmp_path, 2) == 2 * len(acting.ACTIONS)
    clips = find_clips(tmp_path, 2)
    assert sorted({clip.action for clip in clips}) == sorted(acting.ACTIONS)
    assert read_clip(clips[0].path, FRAMES, SIDE).shape == (FRAMES, 3, SIDE, SIDE)
