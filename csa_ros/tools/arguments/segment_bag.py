"""The command line of `segment_bag`."""

import argparse
from pathlib import Path

from csa_ros.tools.arguments.cluster import add_cluster
from csa_ros.tools.arguments.places import anywhere

DESCRIPTION = (
    'Segment recorded bags: a bag with labels, overlay and legend, or pictures, or videos.')
DONE, FAILED, IMAGES_LEFT_OUT = 0, 1, 3
_FORMATS = ('bag', 'png', 'mp4')
_PART_IMAGES = 200
_EPILOG = f"""
The same command goes on where an interrupted one was ended, and does nothing if there is nothing
left to do. With --shard it does its share, and whichever ends last puts the results together. Exit
status: {DONE} all is well, {FAILED} it failed (the command may be repeated), 2 bad arguments,
{IMAGES_LEFT_OUT} done, but some images could not be read and have no masks.
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog='segment_bag', description=DESCRIPTION, epilog=_EPILOG)
    parser.add_argument('bags', nargs='+', type=anywhere, metavar='IN',
                        help='folder of a rosbag2 recording, or a .mcap or .db3 file; or the URL '
                        'of one, such as s3://bucket/bag, or of several with * in it')
    parser.add_argument('out', type=anywhere, metavar='OUT',
                        help='new folder for the result; for several bags, for a folder of each; '
                        'or the URL of one')
    parser.add_argument('--topics', type=_list, default=(), metavar='T,T',
                        help='image topics to segment, raw or compressed; all if left out')
    parser.add_argument('--vocabulary', metavar='WORDS',
                        help='the words, as for the parameter of the node: "road, car|truck"')
    parser.add_argument('--find', action='append', metavar='PHRASE',
                        help='look for this too, as in "person on a bicycle", may be repeated: '
                        'OUT/found.jsonl has the hits, OUT/found.png shows the best, and a table '
                        'tells the times; the parameter find')
    parser.add_argument('--params-file', type=Path, metavar='YAML',
                        help='parameters as for the node')
    parser.add_argument('--model', help='as for the parameter of the node; demo is bundled')
    parser.add_argument('--device', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--examples', metavar='FILE',
                        help='file of what classes were taught by showing, as of '
                        '`ros2 run csa_ros teach` or the node; names in it join the vocabulary')
    parser.add_argument('--rate', type=float, metavar='HZ',
                        help='label at most so many images of a topic in a second of recording; '
                        'the parameter max_rate')
    parser.add_argument('--format', choices=_FORMATS, default=_FORMATS[0],
                        help='bag: with all that was recorded (default); png: one file for each '
                        'mask; mp4: a video for each topic, H.264 if PyAV is '
                        'installed')
    parser.add_argument('--outputs', type=_list, metavar='O,O',
                        help='of labels, overlay and confidence (default: labels,overlay; of mp4 '
                        'overlay, and nothing else)')
    parser.add_argument('--storage', choices=('mcap', 'sqlite3'), default='',
                        help='storage of the bag that is written; that of IN if left out')
    parser.add_argument('--name', default='segment',
                        help='name of the node: topics of the masks begin with it (default: '
                        '%(default)s)')
    parser.add_argument('--shard', default='0/1', metavar='I/N',
                        help='do the share of process I of N, counted from 0')
    add_cluster(parser, 'the parts')
    parser.add_argument('--part-images', type=int, default=_PART_IMAGES, metavar='N',
                        help='how many images an interruption can cost, and shards are '
                        'dealt at once; bags are split into files of so many (default: '
                        '%(default)s)')
    return parser


def _list(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (item.strip() for item in text.split(','))))
